"""Text recognizers of the PP-OCR series: LCNet, SVTR-like neck (arXiv:2205.00159), CTC."""

from typing import NamedTuple

from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models import lcnet_v3, lcnet_v4
from ocr_pipeline.models.lcnet_v3 import LCNetV3
from ocr_pipeline.models.lcnet_v4 import BranchStem, LCNetV4, PlainStem
from ocr_pipeline.models.nrtr import NRTRBranch
from ocr_pipeline.models.reparam import Form
from ocr_pipeline.models.sequence_necks import ConvNeck, LightSVTRNeck, SVTRNeck

_LOW = (2, 1)
"""Halves the height, keeps the width."""


class CTCLogits(NamedTuple):
    """Logits of the recognizer."""

    logits: Tensor
    """``[N, T, K]`` float; softmax over K classes with blank at 0; T = W / 8 at height 48."""
    guide_logits: Tensor | None = None
    """``[N, L, K + 3]`` float of the guiding decoder, used by the loss only."""


class CTCRecognizer(nn.Layer):
    """Text-line recognizer.

    Args:
        family: ``ppocrv6``, ``ppocrv5`` or ``ppocrv4``.
        size: ``tiny``, ``small`` or ``medium`` (ppocrv6), ``mobile`` (ppocrv5, ppocrv4).
        classes: K, with blank and space.
        form: how the units are trained.
        guide: with the NRTR decoder, for training.

    Raises:
        WeightsError: a size that the family does not have.
    """

    TRAINING_ONLY = ("guide.",)
    """Prefixes of tensors that inference does not need."""

    def __init__(
        self,
        *,
        size: str,
        classes: int,
        family: str = "ppocrv6",
        form: Form = "calibrated",
        guide: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, decoder_width = _body(family, size, form)
        self.head = nn.Linear(self.neck.out_channels, classes)
        self.guide: NRTRBranch | None = None
        if guide:
            self.guide = NRTRBranch(
                in_channels=self.backbone.out_channels[-1],
                classes=classes,
                width=decoder_width,
                heads=decoder_width // 32,
                hidden=4 * decoder_width,
            )

    def predict(self, images: Tensor) -> Tensor:
        """CTC logits ``[N, T, K]`` of ``forward``, and nothing else."""
        return self.head(self.neck(self._features(images)))

    def forward(self, images: Tensor, tokens: Tensor | None = None) -> CTCLogits:
        """Args:
        images: ``[N, 3, H, W]`` float32, normalised by ``RecImageSpec``; W divisible by 8. H is 48;
            training may show other multiples of 16 too.
        tokens: ``[N, L]`` int64, what the guide has read so far at each place; None: no guiding.
        """
        features = self._features(images)
        guided = None if self.guide is None or tokens is None else self.guide(features, tokens)
        return CTCLogits(self.head(self.neck(features)), guided)

    def _features(self, images: Tensor) -> Tensor:
        features = self.backbone(images)[-1]  # [N, C, H/16, W/4]
        rows = features.shape[2]
        return F.avg_pool2d(features, kernel_size=[rows, 2], stride=[rows, 2])  # [N, C, 1, W/8]


def _body(family: str, size: str, form: Form) -> tuple[nn.Layer, nn.Layer, int]:
    """Backbone, neck, and the width of the guiding decoder."""
    if family == "ppocrv6" and size == "tiny":
        tiny = LCNetV4(PlainStem(24, 48), _V6_STAGES["tiny"], form=form)
        return tiny, ConvNeck(160, 80), 384
    if family == "ppocrv6" and size == "small":
        small = LCNetV4(BranchStem(48, 96), _V6_STAGES["small"], form=form)
        return small, LightSVTRNeck(384, 120, mlp_ratio=2), 384
    if family == "ppocrv6" and size == "medium":
        medium = LCNetV4(BranchStem(64, 128), _V6_STAGES["medium"], form=form)
        return medium, LightSVTRNeck(768, 192, mlp_ratio=4), 512
    if family in ("ppocrv5", "ppocrv4") and size == "mobile":
        return LCNetV3(_V3_STAGES, form=form), SVTRNeck(480), 384
    raise WeightsError(
        f"recognizer {family} {size!r}; allowed: ppocrv6 tiny, small, medium; ppocrv5 mobile; "
        "ppocrv4 mobile"
    )


def _v4(channels: int, *, low: bool = False, gate: bool = False) -> lcnet_v4.BlockSpec:
    return lcnet_v4.BlockSpec(channels, _LOW if low else (1, 1), gate)


_V6_STAGES = {
    "tiny": [
        [_v4(48, gate=True)],
        [_v4(48)],
        [_v4(96, low=True), _v4(96, gate=True), _v4(96)],
        [_v4(160, low=True), _v4(160, gate=True), _v4(160), _v4(160)],
    ],
    "small": [
        [_v4(96, gate=True)],
        [_v4(96), _v4(96)],
        [_v4(192, low=True), *[_v4(192, gate=True), _v4(192)] * 3],
        [_v4(384, low=True), _v4(384, gate=True), _v4(384)],
    ],
    "medium": [
        [_v4(128, gate=True)],
        [_v4(256), _v4(256), _v4(256, gate=True)],
        [_v4(512, low=True), *[_v4(512, gate=True), _v4(512)] * 3],
        [_v4(768, low=True), _v4(768, gate=True), _v4(768)],
    ],
}


def _v3(
    channels: int, kernel: int = 3, stride: tuple[int, int] = (1, 1), *, gate: bool = False
) -> lcnet_v3.BlockSpec:
    return lcnet_v3.BlockSpec(channels, kernel, stride, gate)


_V3_STAGES = [
    [_v3(32)],
    [_v3(64), _v3(64)],
    [_v3(128, stride=_LOW), _v3(128)],
    [_v3(240, stride=(1, 2)), *[_v3(240, 5)] * 4],
    [_v3(480, 5, _LOW, gate=True), _v3(480, 5, gate=True), _v3(480, 5, _LOW), _v3(480, 5)],
]
