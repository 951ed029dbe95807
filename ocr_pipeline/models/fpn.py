"""Feature pyramids of the DB detectors: four maps in, one at stride 4 out."""

from typing import NamedTuple

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.models.layers import ConvNorm, FoldableConv, SqueezeExcite
from ocr_pipeline.models.reparam import Form, large_kernel_conv

_SLOPE = 0.2


class Pyramid(NamedTuple):
    """What a neck gives."""

    fused: Tensor
    """``[N, channels, H/4, W/4]``."""
    merged: list[Tensor]
    """The top-down sums, ``[N, channels, ...]``, strides 4, 8, 16: what auxiliary heads read."""


class Lateral(nn.Layer):
    """1x1 convolution to the neck's width, with a residual channel gate."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels, channels, 1, bias_attr=False)
        self.gate = SqueezeExcite(channels, slope=_SLOPE, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.conv(x))


class LargeKernelBranch(nn.Layer):
    """Large depthwise kernel, 1x1 convolution to a quarter of the width, residual channel gate."""

    def __init__(self, channels: int, kernel: int, *, form: Form) -> None:
        super().__init__()
        self.spread: FoldableConv = large_kernel_conv(channels, kernel, form=form)
        self.conv = nn.Conv2D(channels, channels // 4, 1, bias_attr=False)
        self.gate = SqueezeExcite(channels // 4, slope=_SLOPE, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.conv(self.spread(x)))


class PlainBranch(nn.Layer):
    """3x3 convolution to a quarter of the width, residual channel gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(channels, channels // 4, 3, padding=1, bias_attr=False)
        self.gate = SqueezeExcite(channels // 4, slope=_SLOPE, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.conv(x))


class FeaturePyramid(nn.Layer):
    """Laterals with gates, a top-down path, one output branch a level.

    Args:
        in_channels: of the four maps, finest first.
        channels: C of the result, divisible by 4.
        kernel: of the depthwise convolution in each output branch; None: a plain 3x3 (v4, v5).
        form: how the units are trained.
    """

    def __init__(
        self, in_channels: list[int], channels: int, kernel: int | None, *, form: Form
    ) -> None:
        super().__init__()
        self.laterals = nn.LayerList([Lateral(width, channels) for width in in_channels])
        self.branches = nn.LayerList(
            [
                PlainBranch(channels)
                if kernel is None
                else LargeKernelBranch(channels, kernel, form=form)
                for _ in in_channels
            ]
        )

    def forward(self, maps: list[Tensor]) -> Pyramid:
        """Args:
        maps: strides 4, 8, 16, 32.
        """
        merged = top_down([lateral(x) for lateral, x in coarse_first(self.laterals, maps)])
        outs = [branch(x) for branch, x in zip(self.branches[::-1], merged)]
        return Pyramid(join(outs), merged[:0:-1])


class ContextBlock(nn.Layer):
    """Square, vertical and horizontal convolutions of 7, 5 and 3 px in turn (I3CL,
    arXiv:2108.01343), added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.reduce = nn.Conv2D(channels, inner, 1)
        self.scales = nn.LayerList(
            [
                nn.LayerList([nn.Conv2D(inner, inner, k, padding=p) for k, p in _shapes(size)])
                for size in (7, 5, 3)
            ]
        )
        self.restore = nn.Conv2D(inner, channels, 1)
        self.norm = nn.BatchNorm2D(channels, momentum=0.9, epsilon=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        z = self.reduce(x)
        for square, vertical, horizontal in self.scales:
            z = square(z) + vertical(z) + horizontal(z)
        return x + F.relu(self.norm(self.restore(z)))


class SpreadConv(nn.Layer):
    """Large depthwise kernel, then a normalised 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, form: Form) -> None:
        super().__init__()
        self.spread: FoldableConv = large_kernel_conv(in_channels, 9, form=form)
        self.mix = ConvNorm(in_channels, out_channels, kernel=(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.spread(x))


class PathAggregation(nn.Layer):
    """Top-down path, then a bottom-up one, then context blocks: the neck of PP-OCRv6 medium.

    Structure as in PaddleOCR's public source; not checked against released weights.
    """

    def __init__(self, in_channels: list[int], channels: int, *, form: Form) -> None:
        super().__init__()
        quarter = channels // 4
        self.laterals = nn.LayerList(
            [nn.Conv2D(width, channels, 1, bias_attr=False) for width in in_channels]
        )
        self.inputs = nn.LayerList([SpreadConv(channels, quarter, form=form) for _ in in_channels])
        self.downs = nn.LayerList(
            [
                nn.Conv2D(quarter, quarter, 3, stride=2, padding=1, bias_attr=False)
                for _ in in_channels[1:]
            ]
        )
        self.outputs = nn.LayerList([SpreadConv(quarter, quarter, form=form) for _ in in_channels])
        self.contexts = nn.LayerList([ContextBlock(quarter) for _ in in_channels])

    def forward(self, maps: list[Tensor]) -> Pyramid:
        """Args:
        maps: strides 4, 8, 16, 32.
        """
        merged = top_down([lateral(x) for lateral, x in coarse_first(self.laterals, maps)])
        narrow = [unit(x) for unit, x in zip(self.inputs[::-1], merged)][::-1]  # finest first
        rising = [narrow[0]]
        for down, x in zip(self.downs, narrow[1:]):
            rising.append(x + down(rising[-1]))
        outs = [unit(x) for unit, x in zip(self.outputs, rising)]
        outs = [context(x) for context, x in coarse_first(self.contexts, outs)]
        return Pyramid(join(outs), merged[:0:-1])


def coarse_first(layers: nn.LayerList, maps: list[Tensor]) -> list[tuple[nn.Layer, Tensor]]:
    """Pair layers and maps from the coarsest on: the order of weights in released files."""
    return list(zip(layers[::-1], maps[::-1]))


def top_down(sides: list[Tensor]) -> list[Tensor]:
    """Add each map, coarsest first, to the enlarged sum of those before it."""
    merged = [sides[0]]
    for side in sides[1:]:
        merged.append(side + F.interpolate(merged[-1], scale_factor=2, mode="nearest"))
    return merged


def join(outs: list[Tensor]) -> Tensor:
    """Enlarge four maps (strides 32, 16, 8, 4) to stride 4 and put them together on channels."""
    enlarged = [
        F.interpolate(out, scale_factor=factor, mode="nearest") if factor > 1 else out
        for out, factor in zip(outs, (8, 4, 2, 1))
    ]
    return paddle.concat(enlarged, axis=1)


def _shapes(size: int) -> list[tuple[list[int], list[int]]]:
    """(kernel, padding) of the square, the vertical and the horizontal convolution."""
    half = size // 2
    return [([size, size], [half, half]), ([size, 1], [half, 0]), ([1, size], [0, half])]
