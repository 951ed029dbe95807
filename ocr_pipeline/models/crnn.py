"""CRNN (arXiv:1507.05717): convolutions, a bidirectional LSTM, CTC. Trained from scratch."""

from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.ctc_recognizer import CTCLogits
from ocr_pipeline.models.mobilenet_v3 import MobileNetV3
from ocr_pipeline.models.resnet_vd import ResNet34VD

TIME_STRIDE = 4
"""Columns of input per time step, px: what ``RecImageSpec.time_stride`` must be."""


class SequenceEncoder(nn.Layer):
    """Two bidirectional LSTM layers over the columns of a map."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(in_channels, hidden, num_layers=2, direction="bidirect")
        # nn.LSTM lists each weight twice, as its own and its sub-layers'; it computes with its own.
        # Without this a checkpoint would hold both.
        del self.lstm[:]
        self.out_channels = 2 * hidden

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, 1, T]`` to ``[N, T, out_channels]``."""
        sequence, _ = self.lstm(x.squeeze(2).transpose([0, 2, 1]))
        return sequence


class CRNN(nn.Layer):
    """Text-line recognizer with a recurrent neck.

    Convolutions start from Kaiming's normal distribution (arXiv:1502.01852), the LSTM from
    ``uniform(-1, 1) / sqrt(hidden)``, the linear layer from Xavier's uniform one, biases from 0.

    Args:
        backbone: ``mobile`` (MobileNetV3 small, half width; LSTM 48 a direction) or ``resnet``
            (ResNet-34-vd; LSTM 256 a direction).
        classes: K, with blank and space.

    Raises:
        WeightsError: another backbone.
    """

    TRAINING_ONLY: tuple[str, ...] = ()
    """Prefixes of tensors that inference does not need."""

    def __init__(self, *, backbone: str, classes: int) -> None:
        super().__init__()
        if backbone == "mobile":
            self.backbone: MobileNetV3 | ResNet34VD = MobileNetV3(size="small", scale=0.5)
            hidden = 48
        elif backbone == "resnet":
            self.backbone = ResNet34VD()
            hidden = 256
        else:
            raise WeightsError(f"CRNN backbone {backbone!r}; allowed: mobile, resnet")
        self.neck = SequenceEncoder(self.backbone.out_channels, hidden)
        self.head = nn.Linear(self.neck.out_channels, classes)
        start = nn.initializer.KaimingNormal()
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D):
                start(layer.weight)

    def forward(self, images: Tensor) -> CTCLogits:
        """Args:
        images: ``[N, 3, H, W]`` float32, normalised by ``RecImageSpec``; H divisible by 16 (the
            paper's is 32), W by 4.
        """
        return CTCLogits(self.predict(images))

    def predict(self, images: Tensor) -> Tensor:
        """Return what is served: logits ``[N, T, K]``, blank at 0; T = W / 4."""
        features = self.backbone(images)  # [N, C, H/16, W/2]
        window = [features.shape[2], 2]
        features = F.max_pool2d(features, kernel_size=window, stride=window)  # [N, C, 1, W/4]
        return self.head(self.neck(features))
