"""Huge pictures: looked at part by part."""

from pydantic import Field, PositiveInt, model_validator

from ocr_pipeline.config.base import Config


class TilingConfig(Config):
    """When a detector is given a picture in tiles of its own size instead of shrunk as a whole.

    Less memory, and nothing is shrunk; but text that is larger than the overlap is cut. Measured
    with PP-OCRv6 tiny: nine pages of small print in one picture of 4960 x 6612 px, 426 of 426 lines
    found in tiles of 1536 px and 421 when shrunk to 4000 px, CER 0.66 against 0.61 %; 3308 x 4093
    px, at most 668 MB against 2,051, CER 0.43 against 0.46 %; large text on 1080 x 15360 px, CER
    0.57 against 0.00 %. So it is off unless asked for.
    """

    enabled: bool = False
    """False: a picture above the detector's ``max_side`` is shrunk to it."""
    above: PositiveInt = 4000
    """A picture whose longer side is above this is cut into tiles, px."""
    tile: int = Field(default=1024, ge=256, multiple_of=32)
    """Longest side of a tile, px."""
    overlap: PositiveInt = 128
    """Neighbouring tiles share at least this much, px; text much higher is cut in two."""

    @model_validator(mode="after")
    def _check_overlap(self) -> "TilingConfig":
        if self.overlap > self.tile // 2:
            raise ValueError(
                f"overlap {self.overlap} is more than half of tile {self.tile}; allowed: up to "
                f"{self.tile // 2}"
            )
        return self
