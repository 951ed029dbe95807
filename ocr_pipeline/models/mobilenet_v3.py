"""MobileNetV3 (arXiv:1905.02244) for text lines: it halves the width once, the height four times.

Against the paper's tables: the strides, no classifier, and every width times ``scale``.
"""

from typing import NamedTuple

from paddle import Tensor, nn

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.layers import ConvNorm, Pair, SqueezeExcite


class BottleneckSpec(NamedTuple):
    """One inverted residual block, before scaling."""

    kernel: int
    hidden: int
    channels: int
    gate: bool
    hard_swish: bool
    """ReLU otherwise."""
    stride: Pair = (1, 1)


_LOW: Pair = (2, 1)  # halves the height, keeps the width

_LARGE = (
    BottleneckSpec(3, 16, 16, gate=False, hard_swish=False),
    BottleneckSpec(3, 64, 24, gate=False, hard_swish=False, stride=_LOW),
    BottleneckSpec(3, 72, 24, gate=False, hard_swish=False),
    BottleneckSpec(5, 72, 40, gate=True, hard_swish=False, stride=_LOW),
    BottleneckSpec(5, 120, 40, gate=True, hard_swish=False),
    BottleneckSpec(5, 120, 40, gate=True, hard_swish=False),
    BottleneckSpec(3, 240, 80, gate=False, hard_swish=True),
    BottleneckSpec(3, 200, 80, gate=False, hard_swish=True),
    BottleneckSpec(3, 184, 80, gate=False, hard_swish=True),
    BottleneckSpec(3, 184, 80, gate=False, hard_swish=True),
    BottleneckSpec(3, 480, 112, gate=True, hard_swish=True),
    BottleneckSpec(3, 672, 112, gate=True, hard_swish=True),
    BottleneckSpec(5, 672, 160, gate=True, hard_swish=True, stride=_LOW),
    BottleneckSpec(5, 960, 160, gate=True, hard_swish=True),
    BottleneckSpec(5, 960, 160, gate=True, hard_swish=True),
)
_SMALL = (
    BottleneckSpec(3, 16, 16, gate=True, hard_swish=False),
    BottleneckSpec(3, 72, 24, gate=False, hard_swish=False, stride=_LOW),
    BottleneckSpec(3, 88, 24, gate=False, hard_swish=False),
    BottleneckSpec(5, 96, 40, gate=True, hard_swish=True, stride=_LOW),
    BottleneckSpec(5, 240, 40, gate=True, hard_swish=True),
    BottleneckSpec(5, 240, 40, gate=True, hard_swish=True),
    BottleneckSpec(5, 120, 48, gate=True, hard_swish=True),
    BottleneckSpec(5, 144, 48, gate=True, hard_swish=True),
    BottleneckSpec(5, 288, 96, gate=True, hard_swish=True, stride=_LOW),
    BottleneckSpec(5, 576, 96, gate=True, hard_swish=True),
    BottleneckSpec(5, 576, 96, gate=True, hard_swish=True),
)
_TABLES = {"large": _LARGE, "small": _SMALL}


class Bottleneck(nn.Layer):
    """1x1 to the hidden width, depthwise, channel gate, 1x1 without activation; shortcut.

    Where the hidden width is that of the input there is no first 1x1.
    """

    def __init__(self, in_channels: int, spec: BottleneckSpec) -> None:
        super().__init__()
        hidden, kernel = spec.hidden, (spec.kernel, spec.kernel)
        self.keeps_shape = in_channels == spec.channels and spec.stride == (1, 1)
        self.expand = (
            None if hidden == in_channels else ConvNorm(in_channels, hidden, kernel=(1, 1))
        )
        self.depthwise = ConvNorm(hidden, hidden, kernel=kernel, stride=spec.stride, groups=hidden)
        self.gate = SqueezeExcite(hidden, slope=1 / 6) if spec.gate else None
        self.project = ConvNorm(hidden, spec.channels, kernel=(1, 1))
        self.activation = nn.Hardswish() if spec.hard_swish else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.expand is None else self.activation(self.expand(x))
        out = self.activation(self.depthwise(out))
        if self.gate is not None:
            out = self.gate(out)
        out = self.project(out)
        return x + out if self.keeps_shape else out


class MobileNetV3(nn.Layer):
    """Backbone of a text-line recognizer.

    Args:
        size: ``large`` or ``small``, the paper's tables 1 and 2.
        scale: times every width, > 0; the results are multiples of 8.

    Attributes:
        out_channels: C of the map it returns.

    Raises:
        WeightsError: another size.
    """

    def __init__(self, *, size: str, scale: float = 0.5) -> None:
        super().__init__()
        if size not in _TABLES:
            raise WeightsError(f"MobileNetV3 size {size!r}; allowed: {', '.join(_TABLES)}")
        channels = scaled(16, scale)
        self.first = ConvNorm(3, channels, stride=(2, 2))
        blocks = []
        for row in _TABLES[size]:
            spec = row._replace(
                hidden=scaled(row.hidden, scale), channels=scaled(row.channels, scale)
            )
            blocks.append(Bottleneck(channels, spec))
            channels = spec.channels
        self.blocks = nn.Sequential(*blocks)
        self.out_channels = scaled(_TABLES[size][-1].hidden, scale)
        self.last = ConvNorm(channels, self.out_channels, kernel=(1, 1))
        self.activation = nn.Hardswish()

    def forward(self, images: Tensor) -> Tensor:
        """Args:
            images: ``[N, 3, H, W]`` float32; H divisible by 16, W by 2.

        Returns:
            ``[N, out_channels, H/16, W/2]``.
        """
        x = self.blocks(self.activation(self.first(images)))
        return self.activation(self.last(x))


def scaled(channels: int, scale: float) -> int:
    """Nearest multiple of 8, at least 8, never below nine tenths of ``channels * scale``."""
    wanted = channels * scale
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8
