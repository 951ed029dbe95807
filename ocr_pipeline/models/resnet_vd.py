"""ResNet-34-vd for text lines: it halves the width once, the height four times.

ResNet-34 (arXiv:1512.03385) with three convolutions in the stem and an average pool in the shortcut
(arXiv:1812.01187, "ResNet-D"); the stem works at full resolution, later strides are (2, 1).
"""

from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.models.layers import ConvNorm, Pair

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # (channels, blocks)


class PooledShortcut(nn.Layer):
    """Average pool for the stride, then a 1x1 convolution for the channels."""

    def __init__(self, in_channels: int, channels: int, stride: Pair) -> None:
        super().__init__()
        self.stride = stride
        self.conv = ConvNorm(in_channels, channels, kernel=(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.avg_pool2d(x, kernel_size=self.stride, stride=self.stride))


class BasicBlock(nn.Layer):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: Pair) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, channels, stride=stride)
        self.second = ConvNorm(channels, channels)
        same = in_channels == channels and stride == (1, 1)
        self.shortcut = None if same else PooledShortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second(F.relu(self.first(x)))
        skip = x if self.shortcut is None else self.shortcut(x)
        return F.relu(skip + out)


class ResNet34VD(nn.Layer):
    """Backbone of a text-line recognizer.

    Attributes:
        out_channels: C of the map it returns, 512.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem1 = ConvNorm(3, 32)
        self.stem2 = ConvNorm(32, 32)
        self.stem3 = ConvNorm(32, 64)
        blocks = []
        channels = 64
        for number, (width, count) in enumerate(_STAGES):
            for position in range(count):
                stride = (2, 1) if number > 0 and position == 0 else (1, 1)
                blocks.append(BasicBlock(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.out_channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Args:
            images: ``[N, 3, H, W]`` float32; H divisible by 16, W by 2.

        Returns:
            ``[N, 512, H/16, W/2]``.
        """
        x = F.relu(self.stem1(images))
        x = F.relu(self.stem3(F.relu(self.stem2(x))))  # [N, 64, H, W]
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)  # [N, 64, H/2, W/2]
        return self.blocks(x)
