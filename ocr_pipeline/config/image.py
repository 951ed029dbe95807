"""How a picture becomes network input, and a map becomes boxes: carried in every exported card."""

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ocr_pipeline.config.base import Config


class ImageLimits(Config):
    """What a picture may be. Checked on the header, before any pixel is allocated."""

    max_bytes: PositiveInt = 20 * 1024 * 1024
    """Encoded size, bytes."""
    max_pixels: PositiveInt = 40_000_000
    """Width times height, px."""
    max_side: int = Field(default=16_000, ge=1, le=2**20)
    """Longer side, px; OpenCV decodes no picture with a longer one than 2^20."""


class DetImageSpec(Config):
    """Input of a DB detector: BGR, ``(value / 255 - mean) / std`` a channel, sides multiples of 32.

    The mean and deviation are ImageNet's, applied to the channels in BGR order as they are: so the
    released PP-OCR detectors were trained.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)
    min_side: PositiveInt = 64
    """A picture whose shorter side is below this is enlarged to it, px."""
    max_side: PositiveInt = Field(default=4000, ge=32)
    """A picture whose longer side is above this is shrunk to it, px."""
    multiple: PositiveInt = Field(default=32, multiple_of=32)
    """Both sides are rounded to a multiple of this, px: the total stride of the network."""


class RecImageSpec(Config):
    """Input of a CTC recognizer: BGR, ``(value / 255 - 0.5) / 0.5``, fixed height, padded width.

    A line is scaled to ``height``, and padded on the right with mid-grey (0 after normalisation) to
    the next bucket. The bucket follows from the line alone, never from what else is in its batch.
    """

    height: PositiveInt = 48
    """Line height, px."""
    min_width: PositiveInt = 320
    """Narrowest bucket, px: what the released recognizers are used with."""
    width_step: PositiveInt = 64
    """Buckets are ``min_width + k * width_step``, px."""
    max_width: PositiveInt = 3200
    """Widest bucket, px; a longer line is squeezed into it."""
    time_stride: PositiveInt = 8
    """Columns of input per time step of output, px."""

    @model_validator(mode="after")
    def _check_widths(self) -> "RecImageSpec":
        if self.max_width < self.min_width:
            raise ValueError(
                f"max_width {self.max_width} is below min_width {self.min_width}; raise max_width"
            )
        return self


def with_changes(rule: RecImageSpec, changes: RecImageSpec | None) -> RecImageSpec:
    """Return ``rule`` with the fields that ``changes`` was given, and no others."""
    if changes is None:
        return rule
    values = {**rule.model_dump(), **changes.model_dump(exclude_unset=True)}
    return RecImageSpec.model_validate(values)


class DBDecodeSpec(Config):
    """From a probability map to text polygons (DB, arXiv:1911.08947, section 3.5)."""

    threshold: float = Field(default=0.3, gt=0, lt=1)
    """A pixel is text when its probability is above this."""
    min_score: float = Field(default=0.6, ge=0, lt=1)
    """A polygon whose mean probability is below this is dropped."""
    unclip_ratio: float = Field(default=1.5, gt=0)
    """Growth of the shrunk region: distance = area * ratio / perimeter."""
    reading_margin: float = Field(default=0.0, ge=0)
    """Added to ``unclip_ratio`` where lines are cut out to be read: many a recognizer wants more
    around a line than the outline that a detector is measured by."""
    min_side: PositiveFloat = 3.0
    """Shrunk regions with a shorter side below this are dropped, px of the map."""
    max_candidates: PositiveInt = 3000
    """At most so many regions are looked at; more is counted in the result."""
