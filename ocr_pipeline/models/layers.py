"""Units shared by the networks. Layout NCHW, float32; BN epsilon 1e-5, momentum 0.9."""

from collections.abc import Iterator

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

Pair = tuple[int, int]


class ConvNorm(nn.Layer):
    """Convolution without bias, then batch normalisation; :meth:`fold` merges the two.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel: (height, width), px.
        stride: (height, width), px.
        groups: ``in_channels`` for a depthwise convolution.
        same: TensorFlow's rule for kernel 2, stride 1: one more column right, one more row below.
        transposed: a transposed convolution; kernel equals stride, no padding.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Pair = (3, 3),
        stride: Pair = (1, 1),
        groups: int = 1,
        same: bool = False,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        padding = [0, 1, 0, 1] if same else [(kernel[0] - 1) // 2, (kernel[1] - 1) // 2]
        self.transposed = transposed
        if transposed:
            self.conv: nn.Layer = nn.Conv2DTranspose(
                in_channels, out_channels, kernel, stride, bias_attr=False
            )
        else:
            self.conv = nn.Conv2D(
                in_channels, out_channels, kernel, stride, padding, groups=groups, bias_attr=False
            )
        self.norm: nn.BatchNorm2D | None = nn.BatchNorm2D(out_channels, momentum=0.9, epsilon=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)

    def fold(self) -> None:
        """Merge the normalisation into the convolution: the same function in evaluation mode."""
        if self.norm is None:
            return
        scale, shift = self.affine()
        weight = self.conv.weight
        shape = [1, -1, 1, 1] if self.transposed else [-1, 1, 1, 1]
        weight.set_value(weight * scale.reshape(shape))
        self.conv.bias = self.conv.create_parameter([scale.shape[0]], is_bias=True)
        self.conv.bias.set_value(shift)
        self.norm = None

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return (scale, shift), each ``[C]``: what the normalisation does in evaluation mode."""
        assert self.norm is not None  # noqa: S101  (only called before folding)
        scale = self.norm.weight / paddle.sqrt(self.norm._variance + self.norm._epsilon)
        return scale, self.norm.bias - self.norm._mean * scale

    def set_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Replace the running statistics (each ``[C]``) and keep the function in evaluation mode.

        With the statistics that the convolution's output really has, the unit also does the same in
        training mode, which is what makes folded weights trainable.
        """
        assert self.norm is not None  # noqa: S101
        scale, shift = self.affine()
        self.norm.weight.set_value(scale * paddle.sqrt(variance + self.norm._epsilon))
        self.norm.bias.set_value(shift + scale * mean)
        self.norm._mean.set_value(mean)
        self.norm._variance.set_value(variance)


def conv_norms(network: nn.Layer) -> Iterator[ConvNorm]:
    """All :class:`ConvNorm` units of a network, itself included."""
    layers = network.sublayers(include_self=True)
    return (layer for layer in layers if isinstance(layer, ConvNorm))


def fold(network: nn.Layer) -> None:
    """Fold every unit of ``network`` in place: its deploy form. It cannot be trained afterwards."""
    with paddle.no_grad():
        for unit in conv_norms(network):
            unit.fold()


class SqueezeExcite(nn.Layer):
    """Channel gate ``hard_sigmoid(W2 relu(W1 mean(x)))`` (arXiv:1709.01507), one gate per channel.

    Args:
        channels: C, divisible by 4.
        slope: of the hard sigmoid ``clip(slope * x + 0.5, 0, 1)``: 1/6 in backbones, 0.2 in necks.
        residual: return ``x + gated x`` instead of ``gated x``.
    """

    def __init__(self, channels: int, *, slope: float, residual: bool = False) -> None:
        super().__init__()
        self.reduce = nn.Conv2D(channels, channels // 4, 1)
        self.expand = nn.Conv2D(channels // 4, channels, 1)
        self.slope = slope
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        # Width, then height: one call over both loses precision on CPU (ten times the error).
        # A sum, not a mean: Paddle 3.2's oneDNN mean prints a line to stdout at every call.
        gate = x.sum(axis=3, keepdim=True).sum(axis=2, keepdim=True)  # [N, C, 1, 1]
        gate = gate / (x.shape[2] * x.shape[3])
        gate = self.expand(F.relu(self.reduce(gate)))
        gate = F.hardsigmoid(gate, slope=self.slope, offset=0.5)
        gated = x * gate
        return x + gated if self.residual else gated
