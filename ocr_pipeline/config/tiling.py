"""Huge pictures: looked at part by part."""

from pydantic import Field, PositiveInt, model_validator

from ocr_pipeline.config.base import Config


class TilingConfig(Config):
    """When a detector is given a picture in tiles of its own size instead of shrunk as a whole.

    PP-OCRv6 tiny on nine pages in one picture of 4960 x 6612 px: 426 of 426 lines found, 421 when
    shrunk to 4000 px, in the same time. On four pages of 3308 x 4093 px the process held at most
    782 MB instead of 2051 MB.
    """

    enabled: bool = True
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
