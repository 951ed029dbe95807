"""Changes to an OpenVINO graph that leave what it computes as it is, and make it cheaper."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIDE = 2
"""Of each of the two transposed convolutions that a DB head ends in."""
_BLOCK = _STRIDE * _STRIDE
"""Side of the square of probabilities that comes from one place of the feature map."""


def without_last_softmax(graph: Any) -> bool:
    """Let a recognizer's graph end in logits; False where it does not end in a softmax.

    Over thousands of classes it costs a tenth of the time, and few time steps need it.
    """
    result = graph.get_results()[0]
    last = result.input_value(0).get_node()
    if last.get_type_name() != "Softmax":
        return False
    result.input(0).replace_source_output(last.input_value(0))
    graph.validate_nodes_and_infer_types()
    return True


def shuffle_last_upsampling(graph: Any) -> bool:
    """Compute the end of a DB detector at the resolution of its features, not of its map.

    A transposed convolution of stride 2 with a kernel of 2 x 2 gives each place of its input a
    square of its own, so it is a pointwise convolution to four times the channels and a move of
    channels to places. The two that a DB head ends in (arXiv 1911.08947, figure 3; two of stride 2
    in place of one of stride 4) become two pointwise convolutions and one such move, after the
    sigmoid. The products summed up are the same. OpenVINO computes these in the precision of the
    rest and in fewer passes: an eighth to a sixth of the time of a whole page's detection less, and
    no map of many channels in memory.

    Returns:
        False, with the graph as it was, where it does not end so: a quantised one, for instance.
    """
    from openvino import opset13 as ops

    result = graph.get_results()[0]
    sigmoid = result.input_value(0).get_node()
    if sigmoid.get_type_name() != "Sigmoid":
        return False
    last = _upsampling(sigmoid.input_value(0))
    if last is None:
        return False
    relu = _passed(last.source).get_node()
    if relu.get_type_name() != "Relu":
        return False
    first = _upsampling(relu.input_value(0))
    if first is None or last.weights.shape[1] != 1:
        return False

    inner, outer = _pointwise(first), _pointwise_of_squares(last)
    features = ops.relu(_convolved(ops, first.source, inner, np.tile(first.bias, _BLOCK)))
    # One value a channel, as NNCF needs it.
    shift = np.repeat(last.bias, len(outer))
    probs = ops.sigmoid(_convolved(ops, features.output(0), outer, shift))
    placed = ops.depth_to_space(probs, "blocks_first", _BLOCK)
    result.input(0).replace_source_output(placed.output(0))
    graph.validate_nodes_and_infer_types()
    return True


@dataclass(frozen=True)
class _Upsampling:
    """A transposed convolution of stride 2, kernel 2 x 2, with its bias.

    Attributes:
        source: output that it is computed from.
        weights: ``[C_in, C_out, 2, 2]`` float32.
        bias: ``[C_out]`` float32.
    """

    source: Any
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


def _upsampling(output: Any) -> _Upsampling | None:
    """What gives this output, if it is one; its bias may be missing."""
    node = _passed(output).get_node()
    bias = None
    if node.get_type_name() == "Add":
        bias = _constant(node.input_value(1))
        if bias is None:
            return None
        node = _passed(node.input_value(0)).get_node()
    if node.get_type_name() != "ConvolutionBackpropData" or node.get_input_size() != 2:
        return None
    weights = _constant(node.input_value(1))
    if weights is None or weights.shape[2:] != (_STRIDE, _STRIDE):
        return None
    attributes = node.get_attributes()
    plain = {
        "strides": [_STRIDE] * 2,
        "dilations": [1, 1],
        "pads_begin": [0, 0],
        "pads_end": [0, 0],
    }
    if any(list(attributes[name]) != value for name, value in plain.items()):
        return None
    if any(attributes["output_padding"]):
        return None
    channels = weights.shape[1]
    if bias is None:
        bias = np.zeros(channels, np.float32)
    if bias.size not in (1, channels):
        return None
    return _Upsampling(node.input_value(0), weights, np.broadcast_to(bias.reshape(-1), channels))


def _pointwise(up: _Upsampling) -> NDArray[np.float32]:
    """``[4 * C_out, C_in, 1, 1]``; the channels of the upper left place come first, then right."""
    inner, outer = up.weights.shape[:2]
    return up.weights.transpose(2, 3, 1, 0).reshape(_BLOCK * outer, inner, 1, 1)


def _pointwise_of_squares(up: _Upsampling) -> NDArray[np.float32]:
    """``[16, 4 * C_in, 1, 1]``: from four places, channels of each, to 4 x 4 values by row."""
    channels = up.weights.shape[0]
    weights = np.zeros((_STRIDE, _STRIDE, _STRIDE, _STRIDE, _BLOCK, channels), np.float32)
    kernel = up.weights[:, 0].transpose(1, 2, 0)
    for y in range(_STRIDE):
        for x in range(_STRIDE):
            # Rows of the map: place above, then row within it; columns alike.
            weights[y, :, x, :, _STRIDE * y + x] = kernel
    return weights.reshape(_BLOCK * _BLOCK, _BLOCK * channels, 1, 1)


def _convolved(
    ops: Any, source: Any, weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> Any:
    """A pointwise convolution with its bias."""
    kernel = ops.constant(np.ascontiguousarray(weights))
    values = ops.constant(np.ascontiguousarray(bias.reshape(1, -1, 1, 1)))
    product = ops.convolution(source, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.add(product, values)


def _passed(output: Any) -> Any:
    """The output that this one is a copy of."""
    while output.get_node().get_type_name() == "Identity":
        output = output.get_node().input_value(0)
    return output


def _constant(output: Any) -> NDArray[np.float32] | None:
    """Values that are in the graph, perhaps given another shape."""
    node = _passed(output).get_node()
    if node.get_type_name() == "Reshape":
        node = _passed(node.input_value(0)).get_node()
    if node.get_type_name() != "Constant":
        return None
    return np.asarray(node.get_data(), dtype=np.float32)
