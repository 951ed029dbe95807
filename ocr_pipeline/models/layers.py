"""Units shared by the networks. Layout NCHW, float32; BN epsilon 1e-5, momentum 0.9."""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.nn import functional as F

Pair = tuple[int, int]
Kernel = NDArray[np.float64]


class FoldableConv(nn.Layer):
    """A convolution with normalisations, which in evaluation mode is one convolution with a bias.

    Folding is done in float64, so that only the rounding of its result remains.
    """

    kernel_shape: list[int]
    """Folded: ``[out, in/groups, kh, kw]``, transposed ``[in, out/groups, kh, kw]``."""
    transposed = False

    @abstractmethod
    def fold(self) -> None:
        """Become the one convolution, in place: the deploy form. No way back to training."""

    @abstractmethod
    def folded(self) -> tuple[Kernel, Kernel]:
        """Return kernel (``kernel_shape``) and bias ``[out]`` of the one convolution, float64."""

    @abstractmethod
    def set_folded(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Take over a folded kernel (``kernel_shape``) and bias ``[out]``: the same function."""


class ConvNorm(FoldableConv):
    """Convolution without bias, then batch normalisation.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel: (height, width), px.
        stride: (height, width), px.
        groups: ``in_channels`` for a depthwise convolution.
        dilation: distance of the kernel's taps, px.
        same: TensorFlow's rule for kernel 2, stride 1: one more column right, one more row below.
        transposed: a transposed convolution; kernel equals stride, no padding.
        scale, shift: the normalisation's at the start.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: Pair = (3, 3),
        stride: Pair = (1, 1),
        groups: int = 1,
        dilation: int = 1,
        same: bool = False,
        transposed: bool = False,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        super().__init__()
        self.transposed = transposed
        if transposed:
            self.conv: nn.Layer = nn.Conv2DTranspose(
                in_channels, out_channels, kernel, stride, bias_attr=False
            )
        else:
            sides = [dilation * (size - 1) // 2 for size in kernel]
            self.conv = nn.Conv2D(
                in_channels,
                out_channels,
                kernel,
                stride,
                padding=[0, 1, 0, 1] if same else sides,
                dilation=dilation,
                groups=groups,
                bias_attr=False,
            )
        self.kernel_shape = list(self.conv.weight.shape)
        self.norm: nn.BatchNorm2D | None = batch_norm(out_channels, scale=scale, bias=shift)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)

    def fold(self) -> None:
        if self.norm is None:
            return
        weight, bias = self.folded()
        self.conv.weight.set_value(weight.astype(np.float32))
        self.conv.bias = self.conv.create_parameter([len(bias)], is_bias=True)
        self.conv.bias.set_value(bias.astype(np.float32))
        self.norm = None

    def folded(self) -> tuple[Kernel, Kernel]:
        assert self.norm is not None  # noqa: S101  (only called before folding)
        scale, shift = affine(self.norm)
        shape = [1, -1, 1, 1] if self.transposed else [-1, 1, 1, 1]
        return self.conv.weight.numpy().astype(np.float64) * scale.reshape(shape), shift

    def set_folded(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        assert self.norm is not None  # noqa: S101
        self.conv.weight.set_value(weight)
        set_identity(self.norm, bias)


class LearnableAffine(nn.Layer):
    """``scale * x + bias`` with two scalars; they learn at a tenth of the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self._scalar(1.0)
        self.bias = self._scalar(0.0)

    def _scalar(self, value: float) -> Tensor:
        return self.create_parameter(
            [1],
            attr=paddle.ParamAttr(learning_rate=0.1),
            default_initializer=nn.initializer.Constant(value),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.bias


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


def batch_norm(channels: int, *, scale: float = 1.0, bias: float = 0.0) -> nn.BatchNorm2D:
    """Batch normalisation with the project's epsilon and momentum."""
    return nn.BatchNorm2D(
        channels,
        momentum=0.9,
        epsilon=1e-5,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(scale)),
        bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(bias)),
    )


def affine(norm: nn.BatchNorm2D) -> tuple[Kernel, Kernel]:
    """Return (scale, shift), each ``[C]`` float64: what ``norm`` does in evaluation mode."""
    weight, bias, mean, variance = (
        tensor.numpy().astype(np.float64)
        for tensor in (norm.weight, norm.bias, norm._mean, norm._variance)
    )
    scale = weight / np.sqrt(variance + norm._epsilon)
    return scale, bias - mean * scale


def set_statistics(
    norm: nn.BatchNorm2D, mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> None:
    """Replace the running statistics (each ``[C]``) and keep the function in evaluation mode.

    With the statistics that its input really has, the normalisation also does the same in training
    mode, which is what makes folded weights trainable.
    """
    scale, shift = affine(norm)
    set_norm(norm, scale * np.sqrt(variance + norm._epsilon), shift + scale * mean, mean, variance)


def set_identity(norm: nn.BatchNorm2D, bias: NDArray[np.floating] | float = 0.0) -> None:
    """Make ``norm`` add ``bias`` (``[C]``) and do nothing else, in evaluation mode."""
    one = np.ones(norm.weight.shape[0])
    set_norm(norm, np.sqrt(1 + norm._epsilon) * one, bias * one, 0 * one, one)


def set_silent(norm: nn.BatchNorm2D) -> None:
    """Make ``norm`` return 0, in evaluation and in training mode."""
    one = np.ones(norm.weight.shape[0])
    set_norm(norm, 0 * one, 0 * one, 0 * one, one)


def set_norm(
    norm: nn.BatchNorm2D,
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    mean: NDArray[np.floating],
    variance: NDArray[np.floating],
) -> None:
    """Set all four tensors of a normalisation, each ``[C]``."""
    for tensor, value in (
        (norm.weight, weight),
        (norm.bias, bias),
        (norm._mean, mean),
        (norm._variance, variance),
    ):
        tensor.set_value(value.astype(np.float32))


def named_units(layer: nn.Layer, name: str = "") -> Iterator[tuple[str, FoldableConv]]:
    """All foldable units below ``layer`` (itself included) with their names.

    A unit inside a unit is the outer one's own matter.
    """
    if isinstance(layer, FoldableConv):
        yield name, layer
        return
    for child_name, child in layer.named_children():
        yield from named_units(child, f"{name}.{child_name}" if name else child_name)


def fold(network: nn.Layer) -> None:
    """Fold every unit of ``network`` in place: its deploy form. It cannot be trained afterwards."""
    with paddle.no_grad():
        for _, unit in list(named_units(network)):
            unit.fold()
