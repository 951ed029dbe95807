"""Stage 3."""

from pydantic import PositiveFloat

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.engine import EngineConfig


class ExportConfig(Config):
    """How a checkpoint is frozen, and how close the result must be."""

    rec_tolerance: PositiveFloat = 1e-3
    """Largest difference of a probability allowed for a recognizer.

    Single precision alone gave up to 2.8e-4 between PP-OCRv6 small and its export, on 70 lines.
    """
    det_tolerance: PositiveFloat = 1e-3
    """The same for a detector, px by px."""
    engine: EngineConfig = EngineConfig()
    """What the exported model is checked with."""
