"""Put records into a network: by order of execution, never by name."""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.layers import ConvNorm, FoldableConv, LearnableAffine, set_norm
from ocr_pipeline.weights.records import Array, Kind, Record

_KINDS: list[tuple[type[nn.Layer], Kind]] = [
    (nn.Conv2D, "conv"),
    (nn.Conv2DTranspose, "conv_transpose"),
    (nn.BatchNorm2D, "batch_norm"),
    (nn.LayerNorm, "layer_norm"),
    (nn.Linear, "linear"),
    (LearnableAffine, "affine"),
]


class PairingError(WeightsError):
    """The file's layers are not the network's.

    Attributes:
        used: how many records had fitted.
    """

    def __init__(self, message: str, used: int) -> None:
        super().__init__(message)
        self.used = used


def load_records(
    network: nn.Layer, records: Sequence[Record], input_shape: Sequence[int], *, source: str
) -> int:
    """Fill ``network`` with the released weights; it then says the same in evaluation mode.

    The network's ``predict`` is run once to learn the order of its layers. A unit whose
    normalisations the file has folded takes the folded kernel, whatever its training form; layers
    that ``predict`` does not pass (branches for training only) keep their fresh weights.

    Args:
        network: trainable form, either one.
        records: from a reader, in graph order.
        input_shape: of a small input, ``[N, C, H, W]``.
        source: name of the file, for messages.

    Returns:
        The number of records used: all of them.

    Raises:
        PairingError: a layer and its record differ in kind or shape, or one list is longer.
    """
    queue = _Queue(records, source)
    with paddle.no_grad():
        for name, layer, kind in _layers_in_order(network, input_shape):
            if isinstance(layer, FoldableConv):
                _fill_unit(name, layer, queue)
            elif kind == "batch_norm":
                _set_batch_norm(layer, queue.take(name, kind, layer.weight.shape), None)
            elif kind == "affine":
                record = queue.take(name, kind, [1])
                layer.scale.set_value(record.weight)
                layer.bias.set_value(queue.bias(name, record))
            else:
                _fill_plain(name, layer, queue.take(name, kind, layer.weight.shape), queue)
    queue.check_empty()
    return len(records)


class _Queue:
    """Records in order, each checked against the layer that takes it."""

    def __init__(self, records: Sequence[Record], source: str) -> None:
        self.records = records
        self.used = 0
        self.source = source

    def take(self, name: str, kind: Kind, shape: Sequence[int]) -> Record:
        expected = f"{name}: {kind} {list(shape)}"
        if self.used == len(self.records):
            raise self._error(f"no record left for {expected}; the file holds {self.used}")
        record = self.records[self.used]
        if record.kind != kind or _shape(record) != list(shape):
            raise self._error(
                f"record {self.used} does not fit: the network expects {expected}, the file has "
                f"{_describe(record)}. Is this another family, size or dictionary?"
            )
        self.used += 1
        return record

    def next_is(self, kind: Kind) -> bool:
        return self.used < len(self.records) and self.records[self.used].kind == kind

    def bias(self, name: str, record: Record) -> Array:
        if record.bias is None:
            raise self._error(f"{_describe(record)} for {name} has no bias")
        return record.bias

    def check_empty(self) -> None:
        if self.used != len(self.records):
            raise self._error(
                f"{len(self.records)} layers in the file, {self.used} in the network; first left "
                f"over: {_describe(self.records[self.used])}. Is this another family or size?"
            )

    def refuse_bias(self, name: str, record: Record) -> None:
        if record.bias is not None:
            raise self._error(f"{_describe(record)} for {name} has a bias; expected none")

    def _error(self, message: str) -> PairingError:
        return PairingError(f"{self.source}: {message}", self.used)


def _fill_unit(name: str, unit: FoldableConv, queue: _Queue) -> None:
    kind: Kind = "conv_transpose" if unit.transposed else "conv"
    record = queue.take(name, kind, unit.kernel_shape)
    weight = record.weight.reshape(unit.kernel_shape)
    if isinstance(unit, ConvNorm) and queue.next_is("batch_norm"):
        assert unit.norm is not None  # noqa: S101  (trainable form)
        norm = queue.take(f"{name}.norm", "batch_norm", unit.norm.weight.shape)
        unit.conv.weight.set_value(weight)
        _set_batch_norm(unit.norm, norm, record.bias)
    else:
        unit.set_folded(weight, queue.bias(name, record))


def _fill_plain(name: str, layer: nn.Layer, record: Record, queue: _Queue) -> None:
    layer.weight.set_value(record.weight.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.set_value(queue.bias(name, record))
    else:
        queue.refuse_bias(name, record)


def _layers_in_order(
    network: nn.Layer, input_shape: Sequence[int]
) -> list[tuple[str, nn.Layer, Kind]]:
    order: list[tuple[str, nn.Layer, Kind]] = []
    hooks = []
    for name, layer, kind in _weight_carriers(network, ""):
        entry = (name, layer, kind)
        hooks.append(
            layer.register_forward_post_hook(
                lambda _layer, _inputs, _outputs, entry=entry: order.append(entry)
            )
        )
    was_training = network.training
    network.eval()
    network.predict(paddle.zeros(list(input_shape)))
    if was_training:
        network.train()
    for hook in hooks:
        hook.remove()
    return order


def _weight_carriers(layer: nn.Layer, name: str) -> list[tuple[str, nn.Layer, Kind]]:
    """Units and layers that take records; what stands inside a unit is the unit's own matter."""
    if isinstance(layer, FoldableConv):
        return [(name, layer, "conv")]
    kind = next((kind for type_, kind in _KINDS if isinstance(layer, type_)), None)
    if kind is not None:
        return [(name, layer, kind)]
    found: list[tuple[str, nn.Layer, Kind]] = []
    for child_name, child in layer.named_children():
        found += _weight_carriers(child, f"{name}.{child_name}" if name else child_name)
    return found


def _set_batch_norm(norm: nn.Layer, record: Record, conv_bias: Array | None) -> None:
    if record.bias is None or record.mean is None or record.variance is None:
        raise WeightsError(f"{_describe(record)}: bias, mean and variance are needed")
    mean = record.mean if conv_bias is None else record.mean - conv_bias
    set_norm(norm, record.weight, record.bias, mean, record.variance)


def _shape(record: Record) -> list[int]:
    shape = list(record.weight.shape)
    # A 1-D convolution in the file is a 2-D one of height 1 here.
    if record.kind == "conv" and len(shape) == 3:
        shape.insert(2, 1)
    return [1] if record.kind == "affine" and np.prod(shape) == 1 else shape


def _describe(record: Record) -> str:
    return f"{record.kind} {list(record.weight.shape)} (node {record.node})"
