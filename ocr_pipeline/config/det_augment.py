"""Changes of pages for training a detector, and what the detector shall say to them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ocr_pipeline.config.base import Config

DetPreset = Literal["fine_tune", "v6", "v4"]


class CopyPasteConfig(Config):
    """Text cut out of another page is put where this one has none."""

    probability: float = Field(default=0.3, ge=0, le=1)
    """Share of the pages that get some."""
    ratio: float = Field(default=0.2, ge=0, le=1)
    """Share of the other page's texts that is taken; at least one."""
    max_count: NonNegativeInt = 30
    """At most so many texts are taken."""
    max_angle: float = Field(default=30.0, ge=0, le=180)
    """Each is turned by up to this, degrees to either side."""
    tries: PositiveInt = 50
    """Places looked at for each text; it is left out where all of them are taken."""


class ColourConfig(Config):
    """Brightness, contrast, saturation and hue, in random order."""

    probability: float = Field(default=0.5, ge=0, le=1)
    """Share of the pages that are changed."""
    brightness: float = Field(default=0.3, ge=0, lt=1)
    """Factor of 1 ± this."""
    contrast: float = Field(default=0.3, ge=0, lt=1)
    """Distance from the mean grey: factor of 1 ± this."""
    saturation: float = Field(default=0.4, ge=0, le=1)
    """Distance from the pixel's own grey: factor of 1 ± this."""
    hue: float = Field(default=0.05, ge=0, le=0.5)
    """Turn of the colours, up to ± this part of the circle."""


class RotationConfig(Config):
    """Turn about the middle of the page."""

    probability: float = Field(default=0.5, ge=0, le=1)
    """Share of the pages that are turned."""
    max_angle: float = Field(default=10.0, ge=0, le=180)
    """Up to this, degrees to either side."""


class ResizeConfig(Config):
    """Size of the page before its crop is fit into the network's input.

    As the fit decides the final size, a page that was made smaller has lost detail, and one that
    was made larger is what it was.
    """

    probability: float = Field(default=0.3, ge=0, le=1)
    """Share of the pages that are resized."""
    smallest: float = Field(default=0.5, gt=0, le=1)
    """Least factor."""
    largest: float = Field(default=1.0, ge=1)
    """Greatest factor."""


class PerspectiveConfig(Config):
    """Shear and perspective; the canvas grows so that nothing is cut off."""

    probability: float = Field(default=0.3, ge=0, le=1)
    """Share of the pages that are seen from the side."""
    max_shear: float = Field(default=5.0, ge=0, le=40)
    """Up to this along each axis, degrees to either side."""
    strength: float = Field(default=0.1, ge=0, le=0.45)
    """At the middle of an edge things are up to 1 / (1 ± this) times as large as in the middle."""


class CropConfig(Config):
    """A part of the page that cuts through no text and holds at least one."""

    probability: float = Field(default=0.8, ge=0, le=1)
    """Share of the pages that are cropped."""
    tries: PositiveInt = 50
    """Crops looked at; the whole page is taken where none of them will do."""
    min_side: float = Field(default=0.1, ge=0, le=1)
    """Shortest side of a crop, as share of the page's."""


_RECIPES: dict[DetPreset, dict[str, Any]] = {
    "fine_tune": {},
    "v6": {
        "copy_paste": {"probability": 1.0, "max_angle": 180.0},
        "colour": {
            "probability": 1.0,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.7,
            "hue": 0.1,
        },
        "flip": 0.5,
        "rotation": {"probability": 0.5, "max_angle": 45.0},
        "resize": {"probability": 1.0, "smallest": 0.1, "largest": 2.0},
        # 0.001 a pixel, on a page of 640 px
        "perspective": {"probability": 0.3, "max_shear": 20.0, "strength": 0.32},
        "crop": {"probability": 1.0},
        "grow_canvas": False,
    },
    "v4": {
        "copy_paste": {"probability": 1.0, "max_angle": 180.0},
        "colour": {"probability": 0.0},
        "flip": 0.5,
        "rotation": {"probability": 1.0, "max_angle": 10.0},
        "resize": {"probability": 1.0, "smallest": 0.5, "largest": 3.0},
        "perspective": {"probability": 0.0},
        "crop": {"probability": 1.0},
        "grow_canvas": False,
    },
}


class DetAugmentConfig(Config):
    """Changes of one page, in the order of the fields. May be written as a preset's name alone."""

    preset: DetPreset = "fine_tune"
    """What the fields that are not given are set to. fine_tune: mild, text is not mirrored. v6, v4:
    what the released PP-OCR detectors were trained with."""
    size: int = Field(default=640, ge=32, multiple_of=32)
    """Sides of the network's input in training, px."""
    copy_paste: CopyPasteConfig = CopyPasteConfig()
    colour: ColourConfig = ColourConfig()
    flip: float = Field(default=0.0, ge=0, le=1)
    """Share of the pages that are mirrored left to right, the text with them."""
    rotation: RotationConfig = RotationConfig()
    resize: ResizeConfig = ResizeConfig()
    perspective: PerspectiveConfig = PerspectiveConfig()
    crop: CropConfig = CropConfig()
    grow_canvas: bool = True
    """A turned page keeps its corners; else it is cut to the frame it had."""
    min_visible: float = Field(default=0.3, ge=0, le=1)
    """A region of which less than this share is left in the picture is neither text nor not."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"preset": value}
        if not isinstance(value, Mapping):
            return value
        for name, recipe in _RECIPES.items():
            if value.get("preset", "fine_tune") == name:
                return _merged(recipe, value)
        return value


class DBTargetConfig(Config):
    """Training targets of a DB detector (arXiv:1911.08947, section 3.4)."""

    min_side: PositiveFloat = 8.0
    """Shorter side in the network's input below which a region is left out of the loss, px."""
    threshold_low: float = Field(default=0.3, ge=0, lt=1)
    """Threshold map away from outlines."""
    threshold_high: float = Field(default=0.7, gt=0, le=1)
    """Threshold map on outlines."""
    shrink_start: float = Field(default=0.4, gt=0, lt=1)
    """Shrink ratio r at the start; the inset is area * (1 - r * r) / perimeter."""
    shrink_end: float = Field(default=0.6, gt=0, lt=1)
    """Shrink ratio at the end of training; it grows evenly."""

    @model_validator(mode="after")
    def _check_thresholds(self) -> "DBTargetConfig":
        if self.threshold_high <= self.threshold_low:
            raise ValueError(
                f"threshold_high {self.threshold_high} is not above threshold_low "
                f"{self.threshold_low}; raise threshold_high"
            )
        return self


def _merged(recipe: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``recipe`` with what was given instead, one level of mappings deep."""
    merged = {**recipe, **given}
    for name, values in recipe.items():
        change = given.get(name)
        if isinstance(values, Mapping) and isinstance(change, Mapping):
            merged[name] = {**values, **change}
    return merged
