"""Stage 1: label files and pictures to a dataset of checked samples."""

from ocr_pipeline.preprocess.prepare import prepare

__all__ = ["prepare"]
