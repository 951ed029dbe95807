"""Head of Differentiable Binarization (arXiv:1911.08947): from stride 4 to input resolution."""

from math import sqrt

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.models.layers import ConvNorm

_NORM_BIAS = 1e-4


class DBHead(nn.Layer):
    """3x3 convolution and two transposed ones to one map of logits, four times as large.

    Args:
        channels: C of the neck, divisible by 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.conv = ConvNorm(channels, quarter, shift=_NORM_BIAS)
        self.up1 = ConvNorm(
            quarter, quarter, kernel=(2, 2), stride=(2, 2), transposed=True, shift=_NORM_BIAS
        )
        bound = 1 / sqrt(quarter)
        self.up2 = nn.Conv2DTranspose(
            quarter,
            1,
            2,
            stride=2,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingUniform()),
            bias_attr=paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound)),
        )
        nn.initializer.KaimingUniform()(self.up1.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels, h, w]`` to logits ``[N, 1, 4 h, 4 w]``."""
        return self.up2(F.relu(self.up1(F.relu(self.conv(x)))))
