"""Run as a script in a process of its own: open a PDF with PDFium, count its pages or draw one.

``pdf_worker.py REQUEST``, the request as JSON, the PDF on stdin. Answer on stdout: one line of
JSON, and the rows of the picture after it. PDFium takes a file's word for how large its pictures
are, and reads what anybody has sent: here it can end nobody but itself, and a thread that watches
its memory and time does that. Beside the standard library this file imports only pypdfium2.

Measured with PDFium 159.0.8149 at 200 dpi: plain pictures are read row by row (20,000 x 20,000 px,
1.2 GB of pixels: 130 MB, 0.8 s); progressive JPEG (30,000 x 30,000 px, a file of 3.5 MB: 1.8 GB,
10 s), masks and JPEG 2000 are decoded whole; a picture of 4 GiB or more of pixels is left out
without a word, hence ``MAX_PICTURE_PIXELS``. Masks and JPEG headers do not show before drawing.
"""

import json
import os
import sys
import threading
import time
from math import isfinite, sqrt
from pathlib import Path
from typing import Any, NoReturn

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from pypdfium2.version import PDFIUM_INFO

OVER_MEMORY, OVER_TIME = 3, 4
"""Exit codes."""
MAX_PICTURE_PIXELS = 2**30
"""PDFium draws no picture of 4 bytes a pixel that has as many."""
LEAST_DPI = 18
"""Below a quarter of a screen's resolution no text can be read."""
_POINTS = 72
_LOOK_EVERY_S = 0.01
_ENCRYPTED = (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)
_STATM = Path("/proc/self/statm")


class Refusal(Exception):  # noqa: N818  (a class of errors.py cannot be imported here)
    """Why there is no answer; the arguments are a key and values for the message."""

    def __init__(self, fault: str, **values: Any) -> None:
        super().__init__(fault)
        self.answer = {"fault": fault, **values}


def watch(memory_mib: int, seconds: float) -> None:
    """End this process once it holds more memory, or lives longer."""
    deadline = time.monotonic() + seconds
    page = os.sysconf("SC_PAGE_SIZE")

    def look() -> None:
        while time.monotonic() < deadline:
            if int(_STATM.read_text().split()[1]) * page > memory_mib * 2**20:
                os._exit(OVER_MEMORY)
            time.sleep(_LOOK_EVERY_S)
        os._exit(OVER_TIME)

    threading.Thread(target=look, daemon=True).start()


def open_document(content: bytes) -> pdfium.PdfDocument:
    """Open it without a password; with its forms, whose fields PDFium draws only then.

    The released pypdfium2 has no engine for scripts. Where one was built in, forms stay away.
    """
    try:
        document = pdfium.PdfDocument(content)
        if not {"V8", "XFA"} & set(PDFIUM_INFO.flags):
            document.init_forms()
        return document
    except pdfium.PdfiumError as error:
        refusal = "encrypted" if error.err_code in _ENCRYPTED else "damaged"
        raise Refusal(refusal, detail=str(error)) from None


def draw(document: pdfium.PdfDocument, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The page on white paper, with its annotations: what to say of it, and its rows (BGR)."""
    if request["page"] >= len(document):
        raise Refusal("page", pages=len(document))
    try:
        page = document[request["page"]]
        check_pictures(page)
    except pdfium.PdfiumError as error:
        raise Refusal("damaged", detail=str(error)) from None
    wide, high = page.get_size()
    width, height, dpi = size(wide, high, request)
    bitmap = pdfium.PdfBitmap.new_native(width, height, pdfium_c.FPDFBitmap_BGR)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
    flags = pdfium_c.FPDF_ANNOT
    place = (bitmap, page, 0, 0, width, height, 0, flags)
    pdfium_c.FPDF_RenderPageBitmap(*place)
    if page.formenv:
        pdfium_c.FPDF_FFLDraw(page.formenv, *place)
    told = {"width": width, "height": height, "stride": bitmap.stride, "dpi": dpi}
    rows = bytes(bitmap.buffer)
    bitmap.close()
    page.close()
    return told, rows


def check_pictures(page: pdfium.PdfPage) -> None:
    """Refuse what PDFium would leave out."""
    for picture in page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE]):
        width, height = picture.get_px_size()
        if width * height >= MAX_PICTURE_PIXELS:
            raise Refusal("picture", width=width, height=height, allowed=MAX_PICTURE_PIXELS)


def size(width: float, height: float, request: dict[str, Any]) -> tuple[int, int, float]:
    """(width, height) px and dots per inch of a page of so many points."""
    if not (isfinite(width) and isfinite(height) and width > 0 and height > 0):
        raise Refusal("size", width=width, height=height)
    scale = min(
        request["dpi"] / _POINTS,
        sqrt(request["max_pixels"] / (width * height)),
        request["max_side"] / max(width, height),
    )
    # Sides are float32: 230.4 points are a little less.
    across, down = (int(side * scale + 1e-3) for side in (width, height))
    if across < 1 or down < 1:
        raise Refusal("size", width=width, height=height)
    across = min(across, request["max_pixels"] // down)
    if scale * _POINTS < LEAST_DPI:
        raise Refusal("too large", width=width, height=height, dpi=scale * _POINTS)
    return across, down, scale * _POINTS


def main(argument: str) -> NoReturn:
    """Answer one request."""
    request = json.loads(argument)
    watch(request["memory_mib"], request["seconds"])
    content = sys.stdin.buffer.read()
    rows = b""
    try:
        with open_document(content) as document:
            if request["page"] is None:
                told: dict[str, Any] = {"pages": len(document)}
            else:
                told, rows = draw(document, request)
    except Refusal as refusal:
        told = refusal.answer
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n")
    sys.stdout.buffer.write(rows)
    sys.stdout.flush()
    os._exit(0)  # PDFium has nothing to put in order, and the watching thread would go on


if __name__ == "__main__":
    main(sys.argv[1])
