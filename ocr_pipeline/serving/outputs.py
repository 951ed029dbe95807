"""Forms of an answer."""

from typing import Literal

from ocr_pipeline.formats import document
from ocr_pipeline.inference.reader import PageText

PlainOutput = Literal["text", "hocr", "alto"]
Output = Literal["json", "text", "hocr", "alto"]
KINDS: dict[Output, str] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "hocr": "application/xhtml+xml; charset=utf-8",
    "alto": "application/xml; charset=utf-8",
}
"""Their media types."""


def written(page: PageText, output: PlainOutput) -> str:
    """Return what was read on a page, in a form that is not JSON."""
    return f"{page.text}\n" if output == "text" else document([page], output)
