"""Lines that stand upside-down in the picture."""

from pydantic import Field

from ocr_pipeline.config.base import Config


class OrientationConfig(Config):
    """When a line is read a second time, turned by 180 degrees, and which reading is taken.

    How the defaults were found: ``docs/orientation.md``.
    """

    enabled: bool = True
    """False: every line is read once, as it stands."""
    unsure_below: float = Field(default=0.9, ge=0, le=1)
    """A line whose confidence is below this is read the other way round too; in [0, 1]."""
    margin: float = Field(default=0.1, ge=0, lt=1)
    """The turned reading is taken where its confidence is higher by more than this."""
