"""What a model is: network, input and output rules. Travels in every checkpoint and export."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.image import DBDecodeSpec, DetImageSpec, RecImageSpec

Size = Literal["tiny", "small", "medium", "mobile", "resnet"]
Form = Literal["calibrated", "multi_branch"]

_SIZES: dict[str, tuple[Size, ...]] = {
    "ppocrv6": ("tiny", "small", "medium"),
    "ppocrv5": ("mobile",),
    "ppocrv4": ("mobile",),
    "crnn": ("mobile", "resnet"),
}


class DetModelSpec(Config):
    """A DB text detector."""

    task: Literal["det"] = "det"
    family: Literal["ppocrv6", "ppocrv5", "ppocrv4"] = "ppocrv6"
    """Series of the released networks."""
    size: Size
    """Size within the series: tiny, small, medium (ppocrv6); mobile (ppocrv5, ppocrv4)."""
    form: Form = "calibrated"
    """While training: one convolution and normalisation a unit, or all branches of the released
    training."""
    threshold: bool = False
    """With the branch of the local threshold; for training only."""
    auxiliary: bool = False
    """With heads on three levels of the neck, as PP-OCRv6 was trained; for training only."""
    image: DetImageSpec = DetImageSpec()
    decode: DBDecodeSpec = DBDecodeSpec()

    @model_validator(mode="after")
    def _check(self) -> "DetModelSpec":
        _check_size(self.family, self.size)
        if self.auxiliary and self.family != "ppocrv6":
            raise ValueError(f"auxiliary: only ppocrv6 was trained with it, not {self.family}")
        return self

    def deployed(self) -> "DetModelSpec":
        """The same model without what only training needs."""
        return self.model_copy(update={"threshold": False, "auxiliary": False})


class RecModelSpec(Config):
    """A CTC text recognizer."""

    task: Literal["rec"] = "rec"
    family: Literal["ppocrv6", "ppocrv5", "ppocrv4", "crnn"] = "ppocrv6"
    """Series of the released networks; crnn is trained from scratch."""
    size: Size
    """Size within the series: tiny, small, medium (ppocrv6); mobile (ppocrv5, ppocrv4); mobile,
    resnet (crnn)."""
    classes: int = Field(ge=3)
    """Number of outputs, blank and space included."""
    form: Form = "calibrated"
    """While training: one convolution and normalisation a unit, or all branches of the released
    training."""
    guide: bool = False
    """With the NRTR decoder (arXiv:1806.00926) that guides the CTC features; for training only."""
    image: RecImageSpec = RecImageSpec()

    @model_validator(mode="after")
    def _check(self) -> "RecModelSpec":
        _check_size(self.family, self.size)
        _check_rec_image(self.family, self.image)
        if self.family == "crnn" and (self.guide or self.form != "calibrated"):
            raise ValueError("crnn has one training form and no guide: leave form and guide out")
        return self

    def deployed(self) -> "RecModelSpec":
        """The same model without what only training needs."""
        return self.model_copy(update={"guide": False})


def _check_rec_image(family: str, image: RecImageSpec) -> None:
    stride = 4 if family == "crnn" else 8
    if image.time_stride != stride:
        raise ValueError(f"image.time_stride {image.time_stride}: {family} has {stride} px")
    if family != "crnn" and image.height != 48:
        raise ValueError(f"image.height {image.height}: {family} reads lines of 48 px")
    if image.height % 16:
        raise ValueError(f"image.height {image.height}: crnn needs a multiple of 16 px")


def _check_size(family: str, size: str) -> None:
    allowed = _SIZES[family]
    if size not in allowed:
        raise ValueError(f"family {family} has no size {size}; allowed: {', '.join(allowed)}")


ModelSpec = Annotated[DetModelSpec | RecModelSpec, Field(discriminator="task")]
