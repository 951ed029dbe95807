"""A released model's weights as a flat list, in the order in which the graph uses them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.errors import WeightsError

Kind = Literal["conv", "conv_transpose", "batch_norm", "layer_norm", "linear", "affine"]
Array = NDArray[np.float32]
Constants = Callable[[str], NDArray[Any] | None]

OperatorKind = Literal[
    "conv",
    "conv_transpose",
    "batch_norm",
    "layer_norm",
    "matmul",
    "multiply",
    "add",
    "clip",
    "reshape",
    "pass",
    "other",
]


@dataclass(frozen=True)
class Record:
    """The tensors of one layer.

    Attributes:
        kind: what layer it is; ``affine`` is ``y = weight * x + bias`` with one value each.
        node: name of the node in the file, for messages.
        weight: convolution ``[out, in/groups, kh, kw]``, transposed ``[in, out/groups, kh, kw]``,
            linear ``[in, out]``, normalisation scale ``[C]``, affine ``[1]``.
        bias: ``[out]``; None where the file has none.
        mean, variance: ``[C]``, batch normalisation only.
    """

    kind: Kind
    node: str
    weight: Array
    bias: Array | None = None
    mean: Array | None = None
    variance: Array | None = None


@dataclass(frozen=True)
class Operator:
    """One node of a graph, in words that all file formats share.

    Attributes:
        kind: ``pass`` hands its first input on unchanged; ``reshape`` does so for a constant.
        node: name of the node in the file, for messages.
        inputs: names of values. Convolution: x, kernel, bias. ``batch_norm``: x, scale, bias, mean,
            variance. ``layer_norm``: x, scale, bias. ``matmul``: x, kernel. Absent ones: "".
        output: name of the value that later nodes read.
        groups: of a convolution, >= 1.
        transposed: the kernel of a ``matmul`` is stored ``[out, in]``.
    """

    kind: OperatorKind
    node: str
    inputs: tuple[str, ...]
    output: str
    groups: int = 1
    transposed: bool = False

    def operand(self, index: int) -> str:
        """Name of an input; "" where the node has none there."""
        return self.inputs[index] if index < len(self.inputs) else ""


def collect_records(
    operators: Sequence[Operator],
    constants: Constants,
    *,
    source: str,
    parameters: Iterable[str] = (),
) -> list[Record]:
    """Group the constants of a graph by the layers that use them, in graph order.

    A bias may be an input of its layer or a following ``add``. A layer normalisation may be
    written out: then its last ``multiply`` and ``add`` carry the values ``[C]``. A ``multiply`` by
    one value with an ``add`` of one value is an affine block; without it, it is a fixed scale
    (attention), and with a ``clip`` after it a hard sigmoid written out. Values without dimensions
    are never weights.

    Args:
        operators: sorted so that a value is made before it is used.
        constants: gives the stored value of a name, None where it is computed.
        source: name of the file, for messages.
        parameters: names of stored values; those of float32 and more than one element must all
            end up in a record.

    Raises:
        WeightsError: a layer whose weights are computed, are not float32 or do not fit together; or
            parameters that no known layer uses (all named).
    """
    collector = _Collector(operators, constants, source)
    records = [record for record in map(collector.record, operators) if record is not None]
    left = [name for name in parameters if collector.is_left_over(name)]
    if left:
        users = [f"{name} ({collector.describe_users(name)})" for name in left[:5]]
        raise WeightsError(
            f"{source}: {len(left)} parameters belong to layers that are not known here: "
            f"{', '.join(users)}; only convolutions, normalisations, linear layers and affine "
            "blocks can be read"
        )
    if not records:
        raise WeightsError(
            f"{source}: no layer with weights among its {len(operators)} nodes; is this the model?"
        )
    return records


class _Collector:
    def __init__(self, operators: Sequence[Operator], constants: Constants, source: str) -> None:
        self.constants = constants
        self.source = source
        self.used: set[str] = set()
        self.origins: dict[str, str] = {}
        self.users: dict[str, list[Operator]] = defaultdict(list)
        for operator in operators:
            first = operator.operand(0)
            if operator.kind == "pass" or (
                operator.kind == "reshape" and self._constant(first) is not None
            ):
                self.origins[operator.output] = self._origin(first)
            else:
                for name in operator.inputs:
                    self.users[self._origin(name)].append(operator)
        self.readers: dict[str, Callable[[Operator], Record | None]] = {
            "conv": self._convolution,
            "conv_transpose": self._convolution,
            "batch_norm": self._batch_norm,
            "layer_norm": self._layer_norm,
            "matmul": self._linear,
            "multiply": self._scale,
        }

    def record(self, operator: Operator) -> Record | None:
        reader = self.readers.get(operator.kind)
        return reader(operator) if reader else None

    def is_left_over(self, name: str) -> bool:
        value = self._constant(name)
        is_weight = value is not None and value.dtype == np.float32 and value.size > 1
        return is_weight and name not in self.used

    def describe_users(self, name: str) -> str:
        return ", ".join(f"node {user.node}" for user in self.users[name][:3]) or "unused"

    def _convolution(self, operator: Operator) -> Record:
        weight = self._weight(operator, 1)
        if weight.ndim not in (3, 4):
            raise self._fault(
                operator, f"its kernel has shape {list(weight.shape)}, not 3-D or 4-D"
            )
        kind: Kind = "conv" if operator.kind == "conv" else "conv_transpose"
        channels = weight.shape[0] if kind == "conv" else weight.shape[1] * operator.groups
        if self._origin(operator.operand(2)):
            bias: Array | None = self._weight(operator, 2).ravel()
        else:
            bias = self._added_after(operator, channels)
        if bias is not None and bias.size != channels:
            raise self._fault(
                operator, f"{bias.size} values of bias for a kernel {list(weight.shape)}"
            )
        return Record(kind, operator.node, weight, bias)

    def _batch_norm(self, operator: Operator) -> Record:
        scale, bias, mean, variance = (self._weight(operator, index) for index in range(1, 5))
        shapes = [list(array.shape) for array in (scale, bias, mean, variance)]
        if scale.ndim != 1 or any(shape != shapes[0] for shape in shapes):
            raise self._fault(operator, f"scale, bias, mean, variance of shapes {shapes}, not [C]")
        return Record("batch_norm", operator.node, scale, bias, mean, variance)

    def _layer_norm(self, operator: Operator) -> Record | None:
        if not self._origin(operator.operand(1)):
            return None
        bias = self._weight(operator, 2) if self._origin(operator.operand(2)) else None
        return Record("layer_norm", operator.node, self._weight(operator, 1), bias)

    def _linear(self, operator: Operator) -> Record | None:
        kernel = self._constant(operator.operand(1))
        if kernel is None or kernel.ndim != 2:
            return None
        kernel = self._weight(operator, 1)
        weight = np.ascontiguousarray(kernel.T) if operator.transposed else kernel
        return Record("linear", operator.node, weight, self._added_after(operator, weight.shape[1]))

    def _scale(self, operator: Operator) -> Record | None:
        scale = self._float_operand(operator)
        if scale is None:
            return None
        name, values = scale
        if values.size > 1:
            if values.ndim != 1:
                return None
            self.used.add(name)
            bias = self._added_after(operator, values.size)
            return Record("layer_norm", operator.node, values, bias)
        add = self._only_user(operator)
        if add is None or self._is_clipped(add):
            return None
        bias = self._added_after(operator, 1)
        if bias is None:
            return None
        self.used.add(name)
        return Record("affine", operator.node, values.ravel(), bias)

    def _added_after(self, operator: Operator, channels: int) -> Array | None:
        """The constant of ``channels`` values that the only user of a node adds, as ``[C]``."""
        add = self._only_user(operator)
        added = self._float_operand(add) if add is not None and add.kind == "add" else None
        if added is None or added[1].size != channels:
            return None
        self.used.add(added[0])
        return added[1].ravel()

    def _is_clipped(self, operator: Operator) -> bool:
        user = self._only_user(operator)
        return user is not None and user.kind == "clip"

    def _only_user(self, operator: Operator) -> Operator | None:
        users = self.users[operator.output]
        return users[0] if len(users) == 1 and operator.output else None

    def _float_operand(self, operator: Operator) -> tuple[str, Array] | None:
        """Name and value of the first float32 constant with dimensions among the inputs."""
        for name in map(self._origin, operator.inputs):
            value = self._constant(name)
            if value is not None and value.ndim > 0 and value.dtype == np.float32:
                return name, value
        return None

    def _weight(self, operator: Operator, index: int) -> Array:
        name = self._origin(operator.operand(index))
        value = self._constant(name)
        if value is None:
            raise self._fault(
                operator,
                f"its input {index} ({name or 'absent'}) is computed, not stored in the file; "
                "quantised and dynamic layers cannot be trained, give the float32 model",
            )
        if value.dtype != np.float32:
            raise self._fault(
                operator, f"{name} is {value.dtype}; float32 weights are needed to train"
            )
        self.used.add(name)
        return value

    def _constant(self, name: str) -> NDArray[Any] | None:
        origin = self._origin(name)
        return self.constants(origin) if origin else None

    def _origin(self, name: str) -> str:
        return self.origins.get(name, name)

    def _fault(self, operator: Operator, what: str) -> WeightsError:
        return WeightsError(f"{self.source}: {operator.kind} {operator.node}: {what}")
