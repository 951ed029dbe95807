"""Exported models at work: engines behind one protocol; detector, recognizer, reader."""

from ocr_pipeline.inference.reader import OcrReader

__all__ = ["OcrReader"]
