"""Read the layers of an ONNX file: initialisers grouped by the node that uses them."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.records import Array, Kind, Record

_TRANSPARENT = ("Identity", "Cast", "Dropout")


def read_onnx(path: Path) -> list[Record]:
    """Return the weight-carrying layers of an ONNX model, in graph order.

    A bias may be an input of the node or a following ``Add`` of a constant; a layer normalisation
    may be one node or written out (its last ``Mul`` and ``Add`` carry the constants).

    Args:
        path: the file; weights inside it (no external data), float32.

    Raises:
        WeightsError: not an ONNX file, external data, or weights of another type than float32.
    """
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise WeightsError(f"{path}: not a readable ONNX model ({error})") from None
    return _GraphReader(path, model.graph).records()


class _GraphReader:
    def __init__(self, path: Path, graph: onnx.GraphProto) -> None:
        self.path = path
        self.nodes = list(graph.node)
        self.constants: dict[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}
        self.source: dict[str, str] = {}
        self.users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            if node.op_type == "Constant":
                value = next((a.t for a in node.attribute if a.name == "value"), None)
                if value is not None:
                    self.constants[node.output[0]] = value
            elif node.op_type in _TRANSPARENT:
                self.source[node.output[0]] = node.input[0]
            else:
                for name in node.input:
                    self.users[self._origin(name)].append(node)

    def records(self) -> list[Record]:
        found = (self._record(node) for node in self.nodes)
        return [record for record in found if record is not None]

    def _record(self, node: onnx.NodeProto) -> Record | None:
        constants = [self._constant(name) for name in node.input]
        if node.op_type in ("Conv", "ConvTranspose") and constants[1] is not None:
            return self._convolution(node, constants)
        if node.op_type == "BatchNormalization":
            scale, bias, mean, variance = constants[1:5]
            if scale is None or bias is None or mean is None or variance is None:
                raise WeightsError(f"{self.path}: {node.name}: its statistics are not constants")
            return Record("batch_norm", node.name, scale, bias, mean, variance)
        if node.op_type == "MatMul" and constants[1] is not None and constants[1].ndim == 2:
            bias = self._added_after(node, constants[1].shape[1])
            return Record("linear", node.name, constants[1], bias)
        if node.op_type == "LayerNormalization" and constants[1] is not None:
            return Record("layer_norm", node.name, constants[1], constants[2])
        if node.op_type == "Mul":
            scale = next((c for c in constants if c is not None), None)
            if scale is not None and scale.ndim == 1 and scale.size > 1:
                return Record("layer_norm", node.name, scale, self._added_after(node, scale.size))
        return None

    def _convolution(self, node: onnx.NodeProto, constants: list[Array | None]) -> Record:
        weight, bias = constants[1], constants[2] if len(constants) > 2 else None
        assert weight is not None  # noqa: S101  (the caller looked)
        kind: Kind = "conv" if node.op_type == "Conv" else "conv_transpose"
        if bias is None:
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            channels = weight.shape[0] if kind == "conv" else weight.shape[1] * groups
            bias = self._added_after(node, channels)
        return Record(kind, node.name, weight, bias)

    def _origin(self, name: str) -> str:
        while name in self.source:
            name = self.source[name]
        return name

    def _constant(self, name: str) -> Array | None:
        tensor = self.constants.get(self._origin(name))
        if tensor is None:
            return None
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(
                f"{self.path}: {tensor.name} is stored outside the file; give a single-file model"
            )
        if tensor.data_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16):
            raise WeightsError(
                f"{self.path}: {tensor.name} is half precision; float32 weights are needed to train"
            )
        return np.asarray(numpy_helper.to_array(tensor))

    def _added_after(self, node: onnx.NodeProto, channels: int) -> Array | None:
        """The constant of ``channels`` values that the only user of a node adds, as ``[C]``."""
        users = self.users[node.output[0]]
        if len(users) != 1 or users[0].op_type != "Add":
            return None
        constants = [self._constant(name) for name in users[0].input]
        bias = next((c for c in constants if c is not None), None)
        # A 0-d constant is no bias: GELU and the like add one.
        is_bias = bias is not None and bias.ndim > 0 and bias.size == channels
        return bias.ravel() if is_bias and bias is not None else None
