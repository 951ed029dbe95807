"""Stage 3: freeze a checkpoint, and prove that it still says the same."""

from ocr_pipeline.export.static import export_static

__all__ = ["export_static"]
