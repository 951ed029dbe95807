"""Put records into a network: by order of execution, never by name."""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.records import Array, Kind, Record

_KINDS: list[tuple[type[nn.Layer], Kind]] = [
    (nn.Conv2D, "conv"),
    (nn.Conv2DTranspose, "conv_transpose"),
    (nn.BatchNorm2D, "batch_norm"),
    (nn.LayerNorm, "layer_norm"),
    (nn.Linear, "linear"),
]


def load_records(
    network: nn.Layer, records: Sequence[Record], input_shape: Sequence[int], *, source: str
) -> int:
    """Fill ``network`` with the released weights; it then says the same in evaluation mode.

    The network is run once to learn the order of its layers. A batch normalisation that the file
    has folded into its convolution becomes an identity that carries the convolution's bias.

    Args:
        network: trainable form.
        records: from a reader, in graph order.
        input_shape: of a small input, ``[N, C, H, W]``.
        source: name of the file, for messages.

    Returns:
        The number of records used: all of them.

    Raises:
        WeightsError: a layer and its record differ in kind or shape, or one list is longer.
    """
    pending_bias: Array | None = None
    used = 0
    with paddle.no_grad():
        for name, layer, kind in _layers_in_order(network, input_shape):
            record = records[used] if used < len(records) else None
            if kind == "batch_norm":
                if record is not None and record.kind == "batch_norm":
                    _set_batch_norm(name, layer, record, pending_bias, source)
                    used += 1
                else:
                    _set_identity(layer, pending_bias)
                pending_bias = None
                continue
            if pending_bias is not None:
                raise WeightsError(f"{source}: the layer before {name} has a bias; expected none")
            record = _check(name, layer, kind, record, used, source)
            layer.weight.set_value(record.weight.reshape(layer.weight.shape))
            if layer.bias is None:
                pending_bias = record.bias
            elif record.bias is None:
                raise WeightsError(f"{source}: record {used} ({record.node}) for {name}: no bias")
            else:
                layer.bias.set_value(record.bias)
            used += 1
    if used != len(records):
        raise WeightsError(
            f"{source}: {len(records)} layers in the file, {used} in the network; first left over: "
            f"{_describe(records[used])}. Is this another family or size?"
        )
    return used


def _layers_in_order(
    network: nn.Layer, input_shape: Sequence[int]
) -> list[tuple[str, nn.Layer, Kind]]:
    order: list[tuple[str, nn.Layer, Kind]] = []
    hooks = []
    for name, layer in network.named_sublayers():
        kind = next((kind for type_, kind in _KINDS if isinstance(layer, type_)), None)
        if kind is not None:
            entry = (name, layer, kind)
            hooks.append(
                layer.register_forward_post_hook(
                    lambda _layer, _inputs, _outputs, entry=entry: order.append(entry)
                )
            )
    was_training = network.training
    network.eval()
    network(paddle.zeros(list(input_shape)))
    if was_training:
        network.train()
    for hook in hooks:
        hook.remove()
    return order


def _check(
    name: str, layer: nn.Layer, kind: Kind, record: Record | None, number: int, source: str
) -> Record:
    expected = f"{name}: {kind} {list(layer.weight.shape)}"
    if record is None:
        raise WeightsError(f"{source}: no record left for {expected}; the file holds {number}")
    shape = list(record.weight.shape)
    # A 1-D convolution in the file is a 2-D one of height 1 here.
    if record.kind == "conv" and len(shape) == 3:
        shape.insert(2, 1)
    if record.kind != kind or shape != list(layer.weight.shape):
        raise WeightsError(
            f"{source}: record {number} does not fit: the network expects {expected}, the file has "
            f"{_describe(record)}. Is this another family, size or dictionary?"
        )
    return record


def _set_batch_norm(
    name: str, layer: nn.Layer, record: Record, conv_bias: Array | None, source: str
) -> None:
    if record.weight.shape != tuple(layer.weight.shape):
        raise WeightsError(f"{source}: {name} {layer.weight.shape} against {_describe(record)}")
    assert record.mean is not None  # noqa: S101  (a batch_norm record is complete)
    layer.weight.set_value(record.weight)
    layer.bias.set_value(record.bias)
    layer._mean.set_value(record.mean if conv_bias is None else record.mean - conv_bias)
    layer._variance.set_value(record.variance)


def _set_identity(layer: nn.Layer, conv_bias: Array | None) -> None:
    channels = layer.weight.shape[0]
    layer._mean.set_value(np.zeros(channels, np.float32))
    layer._variance.set_value(np.ones(channels, np.float32))
    layer.weight.set_value(np.full(channels, np.sqrt(1 + layer._epsilon), np.float32))
    layer.bias.set_value(np.zeros(channels, np.float32) if conv_bias is None else conv_bias)


def _describe(record: Record) -> str:
    return f"{record.kind} {list(record.weight.shape)} (node {record.node})"
