"""One call for every format, with this program's name in it."""

from collections.abc import Sequence
from typing import Literal

import ocr_pipeline
from ocr_pipeline.formats.alto import alto
from ocr_pipeline.formats.hocr import hocr
from ocr_pipeline.inference.reader import PageText

DocumentForm = Literal["hocr", "alto"]


def document(pages: Sequence[PageText], form: DocumentForm) -> str:
    """Return all pages as one document; read them with ``words=True`` for boxes of words.

    Raises:
        ValueError: there is no page.
    """
    name, version = "ocr_pipeline", ocr_pipeline.__version__
    if form == "hocr":
        return hocr(pages, system=f"{name} {version}")
    return alto(pages, system=name, version=version)
