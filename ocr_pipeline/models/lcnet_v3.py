"""Backbone of the PP-OCRv4 and PP-OCRv5 networks: depthwise and 1x1 convolutions in turn."""

from collections.abc import Sequence
from typing import NamedTuple

from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.models.layers import ConvNorm, LearnableAffine, Pair, SqueezeExcite
from ocr_pipeline.models.reparam import Form, rep_conv

STEM_CHANNELS = 16


class BlockSpec(NamedTuple):
    """One block: output channels, kernel, stride (height, width), with channel gate or not."""

    channels: int
    kernel: int = 3
    stride: Pair = (1, 1)
    gate: bool = False


class RepUnit(nn.Layer):
    """Convolution, affine, then (unless ``linear``) hard-swish and another affine."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: Pair = (1, 1),
        groups: int = 1,
        linear: bool = False,
        form: Form,
    ) -> None:
        super().__init__()
        self.conv = rep_conv(
            in_channels, out_channels, kernel=kernel, stride=stride, groups=groups, form=form
        )
        self.before = LearnableAffine()
        self.after = None if linear else LearnableAffine()

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(self.conv(x))
        return x if self.after is None else self.after(F.hardswish(x))


class Block(nn.Layer):
    """Depthwise unit, optional gate, 1x1 unit.

    A depthwise unit of stride (2, 2) has no activation: so were the released detectors made.
    """

    def __init__(self, in_channels: int, spec: BlockSpec, *, form: Form) -> None:
        super().__init__()
        self.depthwise = RepUnit(
            in_channels,
            in_channels,
            kernel=spec.kernel,
            stride=spec.stride,
            groups=in_channels,
            linear=spec.stride == (2, 2),
            form=form,
        )
        self.gate = SqueezeExcite(in_channels, slope=1 / 6) if spec.gate else None
        self.pointwise = RepUnit(in_channels, spec.channels, form=form)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(x)
        if self.gate is not None:
            x = self.gate(x)
        return self.pointwise(x)


class LCNetV3(nn.Layer):
    """Stem of stride 2 and stages of blocks.

    Args:
        stages: the blocks of each stage.
        form: how the units are trained.
    """

    def __init__(self, stages: Sequence[Sequence[BlockSpec]], *, form: Form) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, stride=(2, 2))  # no activation
        self.stages = nn.LayerList()
        self.out_channels: list[int] = []
        channels = STEM_CHANNELS
        for blocks in stages:
            layers = []
            for spec in blocks:
                layers.append(Block(channels, spec, form=form))
                channels = spec.channels
            self.stages.append(nn.Sequential(*layers))
            self.out_channels.append(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` to one map a stage."""
        maps = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class DetLCNetV3(nn.Layer):
    """The backbone with a 1x1 projection of each map that the neck reads."""

    def __init__(self, backbone: LCNetV3, widths: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        sources = backbone.out_channels[-len(widths) :]
        self.projections = nn.LayerList(
            [nn.Conv2D(source, width, 1) for source, width in zip(sources, widths)]
        )
        self.out_channels = list(widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` to maps of strides 4, 8, 16, 32."""
        maps = self.backbone(images)[-len(self.out_channels) :]
        return [project(x) for project, x in zip(self.projections, maps)]
