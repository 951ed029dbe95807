"""Stage 2: fine-tune from released weights, prove the gain."""

from ocr_pipeline.training.det_run import train_detector
from ocr_pipeline.training.rec_run import train_recognizer

__all__ = ["train_detector", "train_recognizer"]
