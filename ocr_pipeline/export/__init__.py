"""Stage 3: freeze a checkpoint, and prove that it still says the same."""

from ocr_pipeline.export.report import parity_table
from ocr_pipeline.export.run import export_model

__all__ = ["export_model", "parity_table"]
