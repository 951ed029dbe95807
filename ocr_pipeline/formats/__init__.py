"""What was read, in the formats that archives and viewers take."""

from ocr_pipeline.formats.alto import alto
from ocr_pipeline.formats.document import DocumentForm, document
from ocr_pipeline.formats.hocr import hocr

__all__ = ["DocumentForm", "alto", "document", "hocr"]
