"""Necks of the CTC recognizers: from a map of height 1 to a sequence."""

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.models.layers import ConvNorm
from ocr_pipeline.models.transformer import TransformerBlock

_HEADS = 8
_BLOCKS = 2
_SVTR_WIDTH = 120


class LightSVTRNeck(nn.Layer):
    """PP-OCRv6 small and medium: local mixing by a (1, 7) convolution, global by two transformer
    blocks, and a shortcut.

    Args:
        in_channels: C of the map.
        width: of the sequence, divisible by 8.
        mlp_ratio: hidden width of the blocks, in multiples of ``width``.
    """

    def __init__(self, in_channels: int, width: int, *, mlp_ratio: int) -> None:
        super().__init__()
        self.skip = ConvNorm(in_channels, width, kernel=(1, 1))
        self.reduce = ConvNorm(in_channels, width, kernel=(1, 1))
        self.local = ConvNorm(width, width, kernel=(1, 7), groups=width)
        self.blocks = _blocks(width, mlp_ratio)
        self.norm = nn.LayerNorm(width, epsilon=1e-6)
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, 1, T]`` to ``[N, T, width]``."""
        skip = F.silu(self.skip(x))
        z = F.silu(self.reduce(x))
        z = z + F.silu(self.local(z))
        z = to_sequence(z)
        for block in self.blocks:
            z = block(z)
        return self.norm(z) + to_sequence(skip)


class ConvNeck(nn.Layer):
    """PP-OCRv6 tiny: two 1-D convolutions and a linear layer; no attention."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.local = ConvNorm(in_channels, in_channels, kernel=(1, 5), groups=in_channels)
        self.mix = ConvNorm(in_channels, in_channels, kernel=(1, 1))
        self.project = nn.Linear(in_channels, width)
        self.out_channels = width

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, 1, T]`` to ``[N, T, width]``."""
        x = F.hardswish(self.mix(F.hardswish(self.local(x))))
        return self.project(to_sequence(x))


class SVTRNeck(nn.Layer):
    """PP-OCRv4 and v5 mobile: two transformer blocks between convolutions, joined with the input.

    The released training detaches the input, so that CTC alone would teach neck and head only;
    here the gradient goes through.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        narrow = in_channels // 8
        self.local = ConvNorm(in_channels, narrow, kernel=(1, 3))
        self.widen = ConvNorm(narrow, _SVTR_WIDTH, kernel=(1, 1))
        self.blocks = _blocks(_SVTR_WIDTH, 2)
        self.norm = nn.LayerNorm(_SVTR_WIDTH, epsilon=1e-6)
        self.restore = ConvNorm(_SVTR_WIDTH, in_channels, kernel=(1, 1))
        self.join = ConvNorm(2 * in_channels, narrow, kernel=(1, 3))
        self.mix = ConvNorm(narrow, _SVTR_WIDTH, kernel=(1, 1))
        self.out_channels = _SVTR_WIDTH

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, 1, T]`` to ``[N, T, 120]``."""
        z = to_sequence(F.silu(self.widen(F.silu(self.local(x)))))
        for block in self.blocks:
            z = block(z)
        z = self.norm(z).transpose([0, 2, 1]).unsqueeze(2)  # [N, 120, 1, T]
        z = F.silu(self.restore(z))
        z = F.silu(self.join(paddle.concat([x, z], axis=1)))
        return to_sequence(F.silu(self.mix(z)))


def to_sequence(x: Tensor) -> Tensor:
    """``[N, C, 1, T]`` to ``[N, T, C]``."""
    return x.squeeze(2).transpose([0, 2, 1])


def _blocks(width: int, mlp_ratio: int) -> nn.LayerList:
    return nn.LayerList(
        [TransformerBlock(width, heads=_HEADS, mlp_ratio=mlp_ratio) for _ in range(_BLOCKS)]
    )
