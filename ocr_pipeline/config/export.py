"""Stage 3."""

from pydantic import PositiveFloat

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.engine import EngineConfig


class ExportConfig(Config):
    """How a checkpoint is frozen, and how close the result must be."""

    rec_tolerance: PositiveFloat = 1e-4
    """Largest difference of a probability allowed for a recognizer."""
    det_tolerance: PositiveFloat = 1e-3
    """The same for a detector, px by px; its sigmoid steepens float noise."""
    engine: EngineConfig = EngineConfig()
    """What the exported model is checked with."""
