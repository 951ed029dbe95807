"""What was read, in the formats that archives and viewers take."""

from ocr_pipeline.formats.alto import alto
from ocr_pipeline.formats.document import DocumentForm, document
from ocr_pipeline.formats.hocr import hocr
from ocr_pipeline.formats.pdf import PdfPage, searchable_pdf

__all__ = ["DocumentForm", "PdfPage", "alto", "document", "hocr", "searchable_pdf"]
