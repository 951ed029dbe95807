"""Stage 2: fine-tune from released weights, prove the gain."""

from ocr_pipeline.training.det_task import train_detector
from ocr_pipeline.training.rec_task import train_recognizer

__all__ = ["train_detector", "train_recognizer"]
