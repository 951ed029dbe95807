"""Text detectors of the PP-OCR series: backbone, feature pyramid, DB head (arXiv:1911.08947)."""

from typing import NamedTuple

from paddle import Tensor, nn

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models import lcnet_v3, lcnet_v4
from ocr_pipeline.models.db_head import DBHead
from ocr_pipeline.models.fpn import FeaturePyramid, PathAggregation, Pyramid
from ocr_pipeline.models.lcnet_v3 import DetLCNetV3, LCNetV3
from ocr_pipeline.models.lcnet_v4 import BranchStem, LCNetV4
from ocr_pipeline.models.reparam import Form

_AUXILIARY_LEVELS = 3


class AuxiliaryMaps(NamedTuple):
    """Logits from one level of the neck, each ``[N, 1, h, w]``."""

    prob_logits: Tensor
    threshold_logits: Tensor


class DBMaps(NamedTuple):
    """Logits of the detector."""

    prob_logits: Tensor
    """``[N, 1, H, W]`` float at input resolution; sigmoid: probability of a shrunk text region."""
    threshold_logits: Tensor | None = None
    """The same shape; sigmoid: local threshold, used by the loss only."""
    auxiliary: tuple[AuxiliaryMaps, ...] = ()
    """At H, H/2 and H/4, used by the loss only."""


class AuxiliaryHead(nn.Layer):
    """Probability and threshold from one level of the neck."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.prob = DBHead(channels)
        self.threshold = DBHead(channels)

    def forward(self, x: Tensor) -> AuxiliaryMaps:
        return AuxiliaryMaps(self.prob(x), self.threshold(x))


class DBDetector(nn.Layer):
    """Differentiable Binarization detector.

    Args:
        family: ``ppocrv6``, ``ppocrv5`` or ``ppocrv4``.
        size: ``tiny``, ``small`` or ``medium`` (ppocrv6), ``mobile`` (ppocrv5, ppocrv4).
        form: how the units are trained.
        threshold: with the branch of the local threshold, for training.
        auxiliary: with heads on three levels of the neck, for training.

    Raises:
        WeightsError: a size that the family does not have.
    """

    TRAINING_ONLY = ("threshold.", "auxiliary.")
    """Prefixes of tensors that inference does not need."""

    def __init__(
        self,
        *,
        size: str,
        family: str = "ppocrv6",
        form: Form = "calibrated",
        threshold: bool = False,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, channels = _body(family, size, form)
        self.head = DBHead(channels)
        self.threshold = DBHead(channels) if threshold else None
        levels = range(_AUXILIARY_LEVELS if auxiliary else 0)
        self.auxiliary = nn.LayerList([AuxiliaryHead(channels) for _ in levels])

    def predict(self, images: Tensor) -> Tensor:
        """Probability logits ``[N, 1, H, W]`` of ``forward``, and nothing else."""
        return self.head(self._pyramid(images).fused)

    def forward(self, images: Tensor) -> DBMaps:
        """Args:
        images: ``[N, 3, H, W]`` float32, normalised by ``DetImageSpec``; H, W divisible by 32.
        """
        pyramid = self._pyramid(images)
        return DBMaps(
            self.head(pyramid.fused),
            None if self.threshold is None else self.threshold(pyramid.fused),
            tuple(head(x) for head, x in zip(self.auxiliary, pyramid.merged)),
        )

    def _pyramid(self, images: Tensor) -> Pyramid:
        return self.neck(self.backbone(images))


def _body(family: str, size: str, form: Form) -> tuple[nn.Layer, nn.Layer, int]:
    """Backbone, neck, and the neck's width."""
    if family == "ppocrv6" and size in _V6:
        mid, widths, neck, kernel = _V6[size]
        backbone = _lcnet_v4(mid, widths, form)
        if kernel is None:
            return backbone, PathAggregation(backbone.out_channels, neck, form=form), neck
        return backbone, FeaturePyramid(backbone.out_channels, neck, kernel, form=form), neck
    if family in ("ppocrv5", "ppocrv4") and size == "mobile":
        v3 = DetLCNetV3(LCNetV3(_V3_STAGES, form=form), (12, 18, 42, 360))
        return v3, FeaturePyramid(v3.out_channels, 96, None, form=form), 96
    raise WeightsError(
        f"detector {family} {size!r}; allowed: ppocrv6 tiny, small, medium; ppocrv5 mobile; "
        "ppocrv4 mobile"
    )


_V6: dict[str, tuple[int, tuple[int, int, int, int], int, int | None]] = {
    "tiny": (16, (32, 48, 64, 160), 64, 5),
    "small": (24, (48, 96, 192, 384), 96, 7),
    "medium": (64, (128, 256, 512, 896), 256, None),
}
"""Middle of the stem, width of the stages, width of the neck, its kernel (None: medium's neck)."""


def _lcnet_v4(mid: int, widths: tuple[int, int, int, int], form: Form) -> LCNetV4:
    def block(channels: int, *, down: bool = False, gate: bool = False) -> lcnet_v4.BlockSpec:
        return lcnet_v4.BlockSpec(channels, (2, 2) if down else (1, 1), gate)

    a, b, c, d = widths
    return LCNetV4(
        BranchStem(mid, a),
        [
            [block(a, gate=True), block(a)],
            [block(b, down=True), block(b, gate=True), block(b)],
            [block(c, down=True), *[block(c, gate=True), block(c)] * 2],
            [block(d, down=True), block(d, gate=True), block(d)],
        ],
        form=form,
    )


_DOWN = (2, 2)
_V3_STAGES = [
    [lcnet_v3.BlockSpec(32)],
    [lcnet_v3.BlockSpec(48, stride=_DOWN), lcnet_v3.BlockSpec(48)],
    [lcnet_v3.BlockSpec(96, stride=_DOWN), lcnet_v3.BlockSpec(96)],
    [lcnet_v3.BlockSpec(192, stride=_DOWN), *[lcnet_v3.BlockSpec(192, 5)] * 4],
    [
        lcnet_v3.BlockSpec(384, 5, _DOWN, gate=True),
        lcnet_v3.BlockSpec(384, 5, gate=True),
        *[lcnet_v3.BlockSpec(384, 5)] * 2,
    ],
]
