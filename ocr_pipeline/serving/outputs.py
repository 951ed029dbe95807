"""Forms of an answer."""

from collections.abc import Sequence
from typing import Literal

from ocr_pipeline.formats import PdfPage, document, searchable_pdf
from ocr_pipeline.serving.messages import PageReading

OtherOutput = Literal["text", "hocr", "alto", "pdf"]
Output = Literal["json", "text", "hocr", "alto", "pdf"]
KINDS: dict[Output, str] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "hocr": "application/xhtml+xml; charset=utf-8",
    "alto": "application/xml; charset=utf-8",
    "pdf": "application/pdf",
}
"""Their media types."""
PAGE_BREAK = "\f"
"""Between the texts of two pages."""


def text_of(pages: Sequence[PageReading]) -> str:
    """Return the text of all pages."""
    return PAGE_BREAK.join(page.text.text for page in pages)


def written(pages: Sequence[PageReading], output: OtherOutput) -> bytes:
    """Return what was read, in a form that is not JSON; a PDF needs the pages' pictures."""
    if output == "pdf":
        return searchable_pdf([PdfPage(p.text, p.picture or b"", p.dpi) for p in pages])
    if output == "text":
        return f"{text_of(pages)}\n".encode()
    return document([page.text for page in pages], output).encode()
