"""Stage 4: the HTTP service."""

from ocr_pipeline.serving.app import create_app

__all__ = ["create_app"]
