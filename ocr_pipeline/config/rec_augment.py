"""Changes of text lines for training a recognizer."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from ocr_pipeline.config.base import Config

RecPreset = Literal["fine_tune", "released"]

_RECIPES: dict[RecPreset, dict[str, Any]] = {
    "fine_tune": {},
    "released": {
        "concat": 0.5,
        "distort": 0.15,
        "stretch": 0.2,
        "perspective": 0.15,
        "crop": 0.1,
        "blur": 1.5,
        "invert": True,
    },
}


class RecChances(Config):
    """How often each kind of change happens; null: ``probability`` of :class:`RecAugmentConfig`."""

    bend: float | None = Field(default=None, ge=0, le=1)
    """Distort, stretch and perspective, together."""
    crop: float | None = Field(default=None, ge=0, le=1)
    blur: float | None = Field(default=None, ge=0, le=1)
    light: float | None = Field(default=None, ge=0, le=1)
    shift: float | None = Field(default=None, ge=0, le=1)
    noise: float | None = Field(default=None, ge=0, le=1)
    invert: float | None = Field(default=None, ge=0, le=1)


class RecAugmentConfig(Config):
    """Changes of one training line, in the order of the fields.

    May be written as a preset's name alone.
    """

    preset: RecPreset = "fine_tune"
    """What the fields that are not given are set to. fine_tune: mild. released: about what the
    released PP-OCR recognizers were trained with, for training from scratch."""
    probability: float = Field(default=0.4, ge=0, le=1)
    """Of each kind of change, independently; joining lines has its own."""
    chances: RecChances = RecChances()
    """Probabilities of single kinds."""
    concat: float = Field(default=0.0, ge=0, le=1)
    """Probability that further lines are joined to the right of a line."""
    concat_lines: NonNegativeInt = 2
    """At most so many are joined, as far as they fit."""
    turn: float = Field(default=0.0, ge=0, le=1)
    """Probability that a line is turned by 180 degrees, for pictures that come both ways up. Some
    texts are others then: 1S and S1, 69."""
    distort: float = Field(default=0.05, ge=0, le=0.3)
    """Points of the outline move by up to this share of the height."""
    stretch: float = Field(default=0.1, ge=0, le=0.4)
    """Borders between 3 to 6 segments move along the line by up to this share of a segment."""
    perspective: float = Field(default=0.04, ge=0, lt=0.5)
    """Corners move inwards by up to this share of the height."""
    crop: float = Field(default=0.06, ge=0, lt=0.3)
    """Up to this share of the height is cut off top and bottom."""
    blur: NonNegativeFloat = 1.0
    """Largest sigma of a Gaussian blur, px at a line height of 48."""
    light: float = Field(default=0.25, ge=0, lt=1)
    """Contrast and brightness change by up to this share."""
    shift: NonNegativeFloat = Field(default=1.0, le=4)
    """The line moves by up to this along both axes, px at a line height of 48."""
    noise: NonNegativeFloat = 8.0
    """Largest standard deviation of added noise, of 255."""
    invert: bool = False
    """Also show lines as negatives."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"preset": value}
        if not isinstance(value, Mapping):
            return value
        for name, recipe in _RECIPES.items():
            if value.get("preset", "fine_tune") == name:
                return {**recipe, **value}
        return value

    def chance(self, kind: str) -> float:
        """Probability of one kind of change, by its name in :class:`RecChances`."""
        own: float | None = getattr(self.chances, kind)
        return self.probability if own is None else own
