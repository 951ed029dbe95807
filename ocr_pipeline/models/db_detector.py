"""PP-OCRv6 text detector: LCNetV4, large-kernel feature pyramid, DB head (arXiv:1911.08947)."""

from typing import NamedTuple

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.layers import ConvNorm, SqueezeExcite
from ocr_pipeline.models.lcnet_v4 import BlockSpec, BranchStem, LCNetV4

_NECK_SLOPE = 0.2


class DBMaps(NamedTuple):
    """Logits of the detector."""

    prob_logits: Tensor
    """``[N, 1, H, W]`` float at input resolution; sigmoid: probability of a shrunk text region."""


class Lateral(nn.Layer):
    """1x1 convolution to the neck's width, with a residual channel gate."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels, channels, 1, bias_attr=False)
        self.gate = SqueezeExcite(channels, slope=_NECK_SLOPE, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.conv(x))


class OutputBranch(nn.Layer):
    """Large depthwise kernel, 1x1 convolution to a quarter of the width, residual channel gate."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.spread = ConvNorm(channels, channels, kernel=(kernel, kernel), groups=channels)
        self.conv = nn.Conv2D(channels, channels // 4, 1, bias_attr=False)
        self.gate = SqueezeExcite(channels // 4, slope=_NECK_SLOPE, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.conv(self.spread(x)))


class LargeKernelFPN(nn.Layer):
    """Top-down pyramid over four maps; the results are joined at stride 4."""

    def __init__(self, in_channels: list[int], channels: int, kernel: int) -> None:
        super().__init__()
        self.laterals = nn.LayerList([Lateral(width, channels) for width in in_channels])
        self.branches = nn.LayerList([OutputBranch(channels, kernel) for _ in in_channels])

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Args:
            maps: strides 4, 8, 16, 32.

        Returns:
            ``[N, channels, H/4, W/4]``.
        """
        # Coarsest first: the order of execution is the order of weights in released files.
        sides = [lateral(x) for lateral, x in zip(self.laterals[::-1], maps[::-1])]
        merged = [sides[0]]
        for side in sides[1:]:
            merged.append(side + F.interpolate(merged[-1], scale_factor=2, mode="nearest"))
        outs = [branch(x) for branch, x in zip(self.branches[::-1], merged)]
        enlarged = [
            F.interpolate(out, scale_factor=factor, mode="nearest") if factor > 1 else out
            for out, factor in zip(outs, (8, 4, 2, 1))
        ]
        return paddle.concat(enlarged, axis=1)


class DBHead(nn.Layer):
    """From stride 4 to one map at input resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.conv = ConvNorm(channels, quarter)
        self.up1 = ConvNorm(quarter, quarter, kernel=(2, 2), stride=(2, 2), transposed=True)
        self.up2 = nn.Conv2DTranspose(quarter, 1, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up2(F.relu(self.up1(F.relu(self.conv(x)))))


class DBDetector(nn.Layer):
    """Differentiable Binarization detector of the PP-OCRv6 series.

    Args:
        size: ``tiny`` or ``small``.

    Raises:
        WeightsError: another size.
    """

    def __init__(self, *, size: str) -> None:
        super().__init__()
        if size == "small":
            stem, widths, neck, kernel = BranchStem(24, 48), (48, 96, 192, 384), 96, 7
        elif size == "tiny":
            stem, widths, neck, kernel = BranchStem(16, 32), (32, 48, 64, 160), 64, 5
        else:
            raise WeightsError(f"detector size {size!r}; allowed: tiny, small")
        a, b, c, d = widths
        down = (2, 2)
        self.backbone = LCNetV4(
            stem,
            [
                [BlockSpec(a, gate=True), BlockSpec(a)],
                [BlockSpec(b, down), BlockSpec(b, gate=True), BlockSpec(b)],
                [BlockSpec(c, down), *[BlockSpec(c, gate=True), BlockSpec(c)] * 2],
                [BlockSpec(d, down), BlockSpec(d, gate=True), BlockSpec(d)],
            ],
        )
        self.neck = LargeKernelFPN(self.backbone.out_channels, neck, kernel)
        self.head = DBHead(neck)

    def forward(self, images: Tensor) -> DBMaps:
        """Args:
        images: ``[N, 3, H, W]`` float32, normalised by ``DetImageSpec``; H, W divisible by 32.
        """
        return DBMaps(self.head(self.neck(self.backbone(images))))
