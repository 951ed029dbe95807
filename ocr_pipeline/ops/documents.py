"""Documents to pages: a picture is one, a TIFF has its frames, a PDF is drawn by PDFium."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocr_pipeline.config.documents import DocumentLimits
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import (
    ConfigError,
    ImageError,
    ImageTooLargeError,
    OcrPipelineError,
    UnsupportedImageError,
)
from ocr_pipeline.ops import pdf_worker
from ocr_pipeline.ops.decode import (
    FORMATS,
    BGRImage,
    check_bytes,
    count_frames,
    decode_frame,
    decode_image,
    open_picture,
)

KINDS = (*FORMATS, "PDF")
_PDF = b"%PDF-"
_PDF_WITHIN = 1024
"""Bytes within which a PDF begins (ISO 32000-1, annex H.3, note 13)."""
_TIFF = (b"II", b"MM")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"RIFF", *_TIFF)
"""How pictures begin: one whose first bytes mention PDF is still a picture."""
_START_S = 30.0
_MAX_TEXT = 1000
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True)
class DecodedPage:
    """A page as it is read.

    Attributes:
        pixels: ``[H, W, 3]`` uint8 BGR.
        dpi: dots per inch that a PDF page was drawn at; None for pictures.
    """

    pixels: BGRImage
    dpi: float | None


def count_pages(content: bytes, limits: ImageLimits, documents: DocumentLimits) -> int:
    """Say how many pages a file has; no pixel is decoded.

    Args:
        content: a whole picture, TIFF or PDF file.
        limits: bytes allowed of anything but a PDF.
        documents: pages allowed, bytes of a PDF, and what PDFium may take.

    Returns:
        At least 1.

    Raises:
        ImageTooLargeError: more bytes or pages than allowed.
        UnsupportedImageError: neither a picture of an accepted format nor a PDF.
        ImageError: empty; a PDF that is damaged, encrypted or without pages.
    """
    if _is_pdf(content):
        pages = int(_ask_pdfium(content, None, limits, documents)[0]["pages"])
        known = f"{pages:,}"
    else:
        check_bytes(content, limits, KINDS)
        with open_picture(content, limits, KINDS) as picture:
            if picture.format != "TIFF":
                return 1
        pages = count_frames(content, documents.max_pages + 1)
        known = f"more than {documents.max_pages:,}"
    if pages > documents.max_pages:
        raise ImageTooLargeError(
            f"the document has {known} pages; allowed: {documents.max_pages:,}. "
            "Split it, or raise documents.max_pages"
        )
    if pages < 1:
        raise ImageError("the document has no page; send one with pages")
    return pages


def decode_page(
    content: bytes, page: int, limits: ImageLimits, documents: DocumentLimits
) -> DecodedPage:
    """Decode one page as a person sees it.

    Pictures are decoded by :func:`~ocr_pipeline.ops.decode.decode_image`, each frame of a TIFF the
    same way. A PDF page is drawn on white with its annotations; forms, scripts and links do
    nothing. PDFium draws in a process of its own, within ``documents.pdf_memory_mib`` and
    ``pdf_timeout_s``; that costs about a tenth of a second a page.

    Args:
        content: a whole picture, TIFF or PDF file.
        page: from 0.
        limits: what the page may be. A PDF page is drawn smaller to keep within.
        documents: resolution, and what PDFium may take.

    Raises:
        ImageTooLargeError: more bytes or pixels than ``limits`` allow; a PDF page that cannot be
            drawn within ``limits`` at 18 dpi, or not within the memory.
        UnsupportedImageError: neither a picture of an accepted format nor a PDF.
        ImageError: no such page; empty, cut off, damaged or encrypted; not drawn in time.
    """
    if _is_pdf(content):
        return _drawn(*_ask_pdfium(content, page, limits, documents))
    check_bytes(content, limits, KINDS)
    with open_picture(content, limits, KINDS) as picture:
        frames = count_frames(content, documents.max_pages) if picture.format == "TIFF" else 1
    if not 0 <= page < frames:
        raise ImageError(_no_such_page(page, frames))
    pixels = decode_image(content, limits) if frames == 1 else decode_frame(content, page, limits)
    return DecodedPage(pixels, None)


def is_one_page(content: bytes) -> bool:
    """Tell by its first bytes that a file is neither a PDF nor a TIFF, so that it has one page."""
    return not _is_pdf(content) and not content.startswith(_TIFF)


def parse_pages(text: str, count: int) -> list[int]:
    """Read a choice of pages such as ``1-3,7``.

    Args:
        text: numbers and ranges from 1, between commas; spaces are allowed.
        count: pages of the document.

    Returns:
        Numbers from 0, in the order of the document, each once; at least one.

    Raises:
        ConfigError: not of that form, a range that goes backwards, or a page that is not there.
    """
    chosen: set[int] = set()
    for part in text.split(",") if len(text) <= _MAX_TEXT else [""]:
        found = _RANGE.fullmatch(part.strip())
        if not found:
            raise ConfigError(
                f"pages {text[:40]!r}: not a choice of pages; allowed: numbers and ranges, at most "
                f"{_MAX_TEXT} characters, e.g. 1-3,7"
            )
        first = int(found[1])
        last = int(found[2] or first)
        if not 1 <= first <= last <= count:
            raise ConfigError(
                f"pages {part.strip()!r}: the document has {count} "
                f"page{'s' if count > 1 else ''}; choose from 1 to {count}, ranges upwards"
            )
        chosen.update(range(first - 1, last))
    return sorted(chosen)


def _is_pdf(content: bytes) -> bool:
    found = content.find(_PDF, 0, _PDF_WITHIN + len(_PDF))
    return found == 0 or (found > 0 and not content.startswith(_PICTURES))


def _ask_pdfium(
    content: bytes, page: int | None, limits: ImageLimits, documents: DocumentLimits
) -> tuple[dict[str, Any], bytes]:
    """What :mod:`ocr_pipeline.ops.pdf_worker` says of a page or, without one, of the document."""
    if page is not None and page < 0:
        raise ImageError(f"page {page + 1}: pages are counted from 1; choose another")
    if len(content) > documents.pdf_max_bytes:
        raise ImageTooLargeError(
            f"the PDF has {len(content):,} bytes; allowed: {documents.pdf_max_bytes:,}. "
            "Split it, or raise documents.pdf_max_bytes"
        )
    if b"%%EOF" not in content:
        raise ImageError("the PDF is cut off or damaged (its end is missing); send the whole file")
    request = {
        "page": page,
        "dpi": documents.pdf_dpi,
        "max_pixels": limits.max_pixels,
        "max_side": limits.max_side,
        "memory_mib": documents.pdf_memory_mib,
        "seconds": documents.pdf_timeout_s,
    }
    # -P: beside the worker are modules that are named like the packages it imports.
    worker = [sys.executable, "-P", "-W", "ignore", str(Path(pdf_worker.__file__))]
    what = "the PDF" if page is None else f"page {page + 1} of the PDF"
    try:
        done = subprocess.run(
            [*worker, json.dumps(request)],
            input=content,
            capture_output=True,
            timeout=documents.pdf_timeout_s + _START_S,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(_too_slow(what, documents)) from None
    if done.returncode:
        raise _ended(done, what, documents)
    line, _, rows = done.stdout.partition(b"\n")
    told = json.loads(line)
    if "fault" in told:
        raise _refused(told, what, page or 0, limits)
    return told, rows


def _drawn(told: dict[str, Any], rows: bytes) -> DecodedPage:
    width, height, stride = told["width"], told["height"], told["stride"]
    padded = np.frombuffer(rows, dtype=np.uint8).reshape(height, stride)
    pixels = padded[:, : width * 3].reshape(height, width, 3)
    return DecodedPage(np.array(pixels, order="C"), told["dpi"])


def _ended(
    done: subprocess.CompletedProcess[bytes], what: str, documents: DocumentLimits
) -> OcrPipelineError:
    """Why the worker gave no answer."""
    if done.returncode == pdf_worker.OVER_MEMORY:
        return ImageTooLargeError(
            f"{what} takes more than {documents.pdf_memory_mib:,} MiB of memory to draw; make its "
            "pictures smaller, or raise documents.pdf_memory_mib"
        )
    if done.returncode == pdf_worker.OVER_TIME:
        return ImageError(_too_slow(what, documents))
    if done.returncode < 0:
        return ImageError(
            f"{what} is damaged: PDFium was ended by signal {-done.returncode}; save it anew with "
            "another program"
        )
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return OcrPipelineError(
        f"PDFium cannot be run: {said[-1] if said else 'it said nothing'}; install pypdfium2"
    )


def _refused(told: dict[str, Any], what: str, page: int, limits: ImageLimits) -> ImageError:
    """The error for a fault that the worker names."""
    fault = told["fault"]
    if fault == "encrypted":
        return UnsupportedImageError(f"{what} is encrypted; save it without a password")
    if fault == "page":
        return ImageError(_no_such_page(page, told["pages"]))
    if fault == "picture":
        return ImageTooLargeError(
            f"{what} holds a picture of {told['width']} x {told['height']} px; allowed: less than "
            f"{told['allowed']:,} px. Make it smaller"
        )
    if fault == "size":
        return ImageError(
            f"{what} is {told['width']:g} x {told['height']:g} points: nothing to draw; give it a "
            "size of paper"
        )
    if fault == "too large":
        return ImageTooLargeError(
            f"{what} is {told['width']:g} x {told['height']:g} points; {limits.max_pixels:,} px "
            f"and {limits.max_side:,} px a side leave it {told['dpi']:.1f} dpi, at least "
            f"{pdf_worker.LEAST_DPI} are needed. Cut it into parts"
        )
    return ImageError(f"{what} is cut off or damaged ({told['detail']}); send the complete file")


def _no_such_page(page: int, pages: int) -> str:
    return f"page {page + 1}: the document has {pages}; choose from 1 to {pages}"


def _too_slow(what: str, documents: DocumentLimits) -> str:
    return (
        f"{what} was not drawn after {documents.pdf_timeout_s:g} s; make it simpler, or raise "
        "documents.pdf_timeout_s"
    )
