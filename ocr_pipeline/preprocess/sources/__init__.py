"""Readers of label formats: each turns its files into raw samples, one at a time."""

from ocr_pipeline.preprocess.sources.raw import RawRegion, RawSample
from ocr_pipeline.preprocess.sources.source import OpenSource, open_source

__all__ = ["OpenSource", "RawRegion", "RawSample", "open_source"]
