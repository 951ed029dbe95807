"""PP-OCRv6 text recognizers: LCNetV4, a neck of the SVTR family (arXiv:2205.00159), CTC."""

from typing import NamedTuple

from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.layers import ConvNorm
from ocr_pipeline.models.lcnet_v4 import BlockSpec, BranchStem, LCNetV4, PlainStem
from ocr_pipeline.models.transformer import TransformerBlock


class CTCLogits(NamedTuple):
    """Logits of the recognizer."""

    logits: Tensor
    """``[N, T, K]`` float; softmax over K classes with blank at 0; T = W / 8 at height 48."""


class LightSVTRNeck(nn.Layer):
    """Local mixing by a (1, 7) convolution, global by two transformer blocks, and a shortcut."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.skip = ConvNorm(in_channels, width, kernel=(1, 1))
        self.reduce = ConvNorm(in_channels, width, kernel=(1, 1))
        self.local = ConvNorm(width, width, kernel=(1, 7), groups=width)
        self.blocks = nn.LayerList([TransformerBlock(width, heads=8) for _ in range(2)])
        self.norm = nn.LayerNorm(width, epsilon=1e-6)
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, 1, T]`` to ``[N, T, width]``."""
        skip = F.silu(self.skip(x))
        z = F.silu(self.reduce(x))
        z = z + F.silu(self.local(z))
        z = _to_sequence(z)
        for block in self.blocks:
            z = block(z)
        return self.norm(z) + _to_sequence(skip)


class ConvNeck(nn.Layer):
    """Two 1-D convolutions and a linear layer; no attention."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.local = ConvNorm(in_channels, in_channels, kernel=(1, 5), groups=in_channels)
        self.mix = ConvNorm(in_channels, in_channels, kernel=(1, 1))
        self.project = nn.Linear(in_channels, width)
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, 1, T]`` to ``[N, T, width]``."""
        x = F.hardswish(self.mix(F.hardswish(self.local(x))))
        return self.project(_to_sequence(x))


class CTCRecognizer(nn.Layer):
    """Text-line recognizer of the PP-OCRv6 series.

    Args:
        size: ``tiny`` or ``small``.
        classes: K, with blank and space.

    Raises:
        WeightsError: another size.
    """

    def __init__(self, *, size: str, classes: int) -> None:
        super().__init__()
        low = (2, 1)  # halves the height, keeps the width
        gate = True
        if size == "small":
            self.backbone = LCNetV4(
                BranchStem(48, 96),
                [
                    [BlockSpec(96, gate=gate)],
                    [BlockSpec(96), BlockSpec(96)],
                    [BlockSpec(192, low), *[BlockSpec(192, gate=gate), BlockSpec(192)] * 3],
                    [BlockSpec(384, low), BlockSpec(384, gate=gate), BlockSpec(384)],
                ],
            )
            self.neck: LightSVTRNeck | ConvNeck = LightSVTRNeck(384, 120)
        elif size == "tiny":
            self.backbone = LCNetV4(
                PlainStem(24, 48),
                [
                    [BlockSpec(48, gate=gate)],
                    [BlockSpec(48)],
                    [BlockSpec(96, low), BlockSpec(96, gate=gate), BlockSpec(96)],
                    [
                        BlockSpec(160, low),
                        BlockSpec(160, gate=gate),
                        BlockSpec(160),
                        BlockSpec(160),
                    ],
                ],
            )
            self.neck = ConvNeck(160, 80)
        else:
            raise WeightsError(f"recognizer size {size!r}; allowed: tiny, small")
        self.head = nn.Linear(self.neck.out_channels, classes)

    def forward(self, images: Tensor) -> CTCLogits:
        """Args:
        images: ``[N, 3, 48, W]`` float32, normalised by ``RecImageSpec``; W divisible by 8.
        """
        features = self.backbone(images)[-1]  # [N, C, 3, W/4]
        features = F.avg_pool2d(features, kernel_size=[3, 2], stride=[3, 2])  # [N, C, 1, W/8]
        return CTCLogits(self.head(self.neck(features)))


def _to_sequence(x: Tensor) -> Tensor:
    """``[N, C, 1, T]`` to ``[N, T, C]``."""
    return x.squeeze(2).transpose([0, 2, 1])
