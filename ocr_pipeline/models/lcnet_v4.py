"""Backbone of the PP-OCRv6 networks: tokens mixed by depthwise 3x3, channels by 1x1."""

from collections.abc import Sequence
from typing import NamedTuple

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.models.layers import ConvNorm, Pair, SqueezeExcite
from ocr_pipeline.models.reparam import Form, token_conv


class BlockSpec(NamedTuple):
    """One block: output channels, stride (height, width), with channel gate or not."""

    channels: int
    stride: Pair = (1, 1)
    gate: bool = False


class BranchStem(nn.Layer):
    """Stride 4 with two paths: a max-pool and two 2x2 convolutions, joined on channels."""

    def __init__(self, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        m = mid_channels
        self.first = ConvNorm(3, m, stride=(2, 2))
        self.left = ConvNorm(m, m // 2, kernel=(2, 2), same=True)
        self.right = ConvNorm(m // 2, m, kernel=(2, 2), same=True)
        self.join = ConvNorm(2 * m, m, stride=(2, 2))
        self.last = ConvNorm(m, out_channels, kernel=(1, 1))
        self.channels = out_channels

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.first(images))  # [N, m, H/2, W/2]
        convolved = F.relu(self.right(F.relu(self.left(x))))
        pooled = F.max_pool2d(x, 2, stride=1, padding=[0, 1, 0, 1])
        x = F.relu(self.join(paddle.concat([pooled, convolved], axis=1)))  # [N, m, H/4, W/4]
        return F.relu(self.last(x))


class PlainStem(nn.Layer):
    """Stride 4 with two 3x3 convolutions; nothing after the second."""

    def __init__(self, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(3, mid_channels, stride=(2, 2))
        self.second = ConvNorm(mid_channels, out_channels, stride=(2, 2))
        self.channels = out_channels

    def forward(self, images: Tensor) -> Tensor:
        return self.second(F.gelu(self.first(images)))


class Block(nn.Layer):
    """Token mixing (depthwise 3x3), optional gate, channel mixing (1x1, GELU, 1x1; 2x as wide)."""

    def __init__(self, in_channels: int, spec: BlockSpec, *, form: Form) -> None:
        super().__init__()
        self.keeps_shape = in_channels == spec.channels and spec.stride == (1, 1)
        if self.keeps_shape:
            self.mix_tokens = token_conv(in_channels, form=form)
        else:
            self.mix_tokens = ConvNorm(
                in_channels, in_channels, stride=spec.stride, groups=in_channels
            )
        self.gate = SqueezeExcite(in_channels, slope=1 / 6) if spec.gate else None
        self.widen = ConvNorm(in_channels, 2 * in_channels, kernel=(1, 1))
        self.narrow = ConvNorm(
            2 * in_channels, spec.channels, kernel=(1, 1), scale=0.0 if self.keeps_shape else 1.0
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix_tokens(x)
        if self.gate is not None:
            mixed = self.gate(mixed)
        out = self.narrow(F.gelu(self.widen(mixed)))
        # The shortcut starts after the token mixing, not before it.
        return mixed + out if self.keeps_shape else out


class LCNetV4(nn.Layer):
    """Stem and stages of blocks.

    Args:
        stem: of total stride 4.
        stages: the blocks of each stage.
        form: how the units are trained.
    """

    def __init__(
        self,
        stem: BranchStem | PlainStem,
        stages: Sequence[Sequence[BlockSpec]],
        *,
        form: Form = "calibrated",
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.LayerList()
        self.out_channels: list[int] = []
        channels = stem.channels
        for blocks in stages:
            layers = []
            for spec in blocks:
                layers.append(Block(channels, spec, form=form))
                channels = spec.channels
            self.stages.append(nn.Sequential(*layers))
            self.out_channels.append(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Args:
            images: ``[N, 3, H, W]`` float32.

        Returns:
            One map a stage; with strides of 2 in stages 2 to 4: strides 4, 8, 16, 32.
        """
        maps = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
