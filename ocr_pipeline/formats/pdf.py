"""PDF whose pages are pictures, with what was read on them as text that is not seen.

Text rendering mode 3 of ISO 32000-1, 9.3.6. The font is made here and has no shapes, only
boxes and the table that says which character each stands for: some bytes a character.
"""

import io
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables._g_l_y_f import Glyph
from fpdf import FPDF
from fpdf.drawing_primitives import Transform
from fpdf.enums import TextMode
from numpy.typing import NDArray

import ocr_pipeline
from ocr_pipeline.formats.parts import Piece, legal_text, pieces_of
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.ops.geometry import Points, is_vertical

_POINTS = 72
_DPI = 150.0
"""Of a picture that does not say: an A4 page of 1240 x 1754 px. Scans have more, screens less; only
the printed size depends on it."""
_SIDES = (3, 14_400)
"""Least and greatest side of a page, points (ISO 32000-1, annex C.2)."""
_EM = 1000
_FULL, _HALF = _EM, _EM // 2
"""Advance widths of full-width and other characters."""
_FONT = "unseen"
_MOST_SIGNS = 65_000
_LEAST = 1e-3
"""A piece is at least so long and high, points: a matrix must not be singular."""
_LEFTWARDS = -0.7
"""Cosine of the angle from which words of a line, one by one, would be put in order from left to
right by PDFium (seen from 145 degrees on)."""


@dataclass(frozen=True)
class PdfPage:
    """A page of a searchable PDF.

    Attributes:
        text: what was read, best with words.
        jpeg: the picture that it was read on, as a JPEG file; its resolution is free.
        dpi: dots per inch of the picture that was read; None: unknown, taken as 150.
    """

    text: PageText
    jpeg: bytes
    dpi: float | None = None


@dataclass(frozen=True)
class _Run:
    """Text along a straight baseline.

    Attributes:
        text: never empty.
        start: ``[2]`` where the baseline begins, points from the upper left corner of the page.
        along: ``[2]`` from there to its end.
        up: ``[2]`` from the foot of the characters to their head.
    """

    text: str
    start: NDArray[np.float64]
    along: NDArray[np.float64]
    up: NDArray[np.float64]


def searchable_pdf(pages: Sequence[PdfPage], *, created: datetime | None = None) -> bytes:
    """Write pages as pictures with their text, which can be found, selected and copied.

    Each word is stretched over its box, in the direction in which it is read; a line without words
    or upside-down over its own, its characters by their usual widths. The text has the spaces of
    the lines: where none stands between two words they meet in the middle of the gap, so that no
    reader takes it for one. Lines are in reading order.

    Args:
        pages: in the order of the document; at least one.
        created: put into the file; None: now.

    Returns:
        A PDF file; the same pages and time give the same bytes. Control characters and halves of
        surrogate pairs are U+FFFD.

    Raises:
        ValueError: no page, or more different characters than a font can hold (65,000).
    """
    if not pages:
        raise ValueError("no page: a PDF has at least one; give the pages that were read")
    name = f"ocr_pipeline {ocr_pipeline.__version__}"
    pdf = FPDF(unit="pt")
    pdf.set_producer(name)
    pdf.set_creator(name)
    if created is not None:
        pdf.set_creation_date(created)
    pdf.set_margin(0)
    pdf.set_auto_page_break(False)
    with tempfile.TemporaryDirectory() as folder:
        font = Path(folder) / f"{_FONT}.ttf"
        font.write_bytes(_font(set().union(*(_signs(page.text) for page in pages))))
        pdf.add_font(_FONT, fname=font)
        for page in pages:
            _add_page(pdf, page)
        return bytes(pdf.output())


def _add_page(pdf: FPDF, page: PdfPage) -> None:
    width, height = page.text.width, page.text.height
    scale = _POINTS / (page.dpi or _DPI)
    scale = max(scale, _SIDES[0] / min(width, height))
    scale = min(scale, _SIDES[1] / max(width, height))
    pdf.add_page(format=(width * scale, height * scale))
    pdf.image(io.BytesIO(page.jpeg), x=0, y=0, w=pdf.w, h=pdf.h)
    pdf.text_mode = TextMode.INVISIBLE
    # What fpdf2 draws at the lower left corner lies at the origin of the PDF.
    flip = Transform.scaling(1, -1).translate(0, pdf.h)
    for line in page.text.lines:
        for run in _runs(line, scale):
            size = float(np.hypot(*run.up))
            (a, b), (c, d) = run.along / _advance(run.text) * _EM / size, run.up / size
            e, f = run.start
            pdf.set_font(_FONT, size=size)
            placed = Transform(a, -b, c, -d, e, pdf.h - f)
            with pdf.transform(flip @ placed @ flip):
                pdf.text(0, pdf.h, run.text)


def _runs(line: ReadLine, scale: float) -> list[_Run]:
    """The words of a line, and the spaces between them; one that runs to the left stays whole."""
    turned = is_vertical(line.points)
    whole = Piece(legal_text(line.text), line.confidence, line.points, spaced=False)
    line_run = _run(whole, scale, turned=turned)
    if line_run.along[0] < _LEFTWARDS * np.hypot(*line_run.along):
        return [line_run]
    pieces = pieces_of(line)
    runs = [_run(piece, scale, turned=turned) for piece in pieces]
    for place, piece in enumerate(pieces[1:]):
        before, after = runs[place], runs[place + 1]
        direction = before.along / np.hypot(*before.along)
        gap = float((after.start - before.start - before.along) @ direction)
        half = gap / 2 * direction
        if piece.spaced:
            runs[place] = _with_space(before)
        elif gap > 0:
            runs[place] = replace(before, along=before.along + half)
            runs[place + 1] = replace(after, start=after.start - half, along=after.along + half)
    return runs


def _with_space(run: _Run) -> _Run:
    """The run and a space behind it, its characters where they were."""
    text = f"{run.text} "
    return replace(run, text=text, along=run.along * _advance(text) / _advance(run.text))


def _run(piece: Piece, scale: float, *, turned: bool) -> _Run:
    """Of a piece, as an affine map comes nearest to its four corners."""
    corners: Points = np.roll(piece.points, -1, axis=0) if turned else piece.points
    top_left, top_right, bottom_right, bottom_left = corners.astype(np.float64) * scale
    along = (top_right - top_left + bottom_right - bottom_left) / 2
    up = (top_left - bottom_left + top_right - bottom_right) / 2
    if np.hypot(*along) < _LEAST:
        along = np.array([_LEAST, 0.0])
    if np.hypot(*up) < _LEAST:
        up = np.array([0.0, -_LEAST])
    middle = corners.astype(np.float64).mean(axis=0) * scale
    return _Run(piece.text, middle - along / 2 - up / 2, along, up)


def _signs(page: PageText) -> set[str]:
    return {sign for line in page.lines for sign in legal_text(line.text)}


def _advance(text: str) -> int:
    return sum(_width(sign) for sign in text)


def _width(sign: str) -> int:
    return _FULL if unicodedata.east_asian_width(sign) in "WF" else _HALF


def _blank(width: int) -> Glyph:
    """A glyph with a box and no area: PDFium drops text whose glyphs have no box."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((width, _EM))
    pen.closePath()
    return pen.glyph()


def _font(signs: set[str]) -> bytes:
    """A TrueType font of blank glyphs, one for each character and the space."""
    if len(signs) > _MOST_SIGNS:
        raise ValueError(
            f"{len(signs):,} different characters; allowed in one PDF: {_MOST_SIGNS:,}. Write its "
            "pages into several"
        )
    glyphs = {f"u{ord(sign):X}": sign for sign in sorted({*signs, " "})}
    builder = FontBuilder(_EM, isTTF=True)
    builder.setupHead(unitsPerEm=_EM)  # without the time, which the builder puts in
    builder.setupGlyphOrder([".notdef", *glyphs])
    builder.setupCharacterMap({ord(sign): name for name, sign in glyphs.items()})
    widths = {".notdef": _EM, **{name: _width(sign) for name, sign in glyphs.items()}}
    shapes = {width: _blank(width) for width in (_FULL, _HALF)}
    builder.setupGlyf({name: shapes[width] for name, width in widths.items()})
    builder.setupHorizontalMetrics({name: (width, 0) for name, width in widths.items()})
    builder.setupHorizontalHeader(ascent=_EM, descent=0)
    builder.setupOS2(sTypoAscender=_EM, sTypoDescender=0, usWinAscent=_EM, usWinDescent=0)
    builder.setupNameTable({"familyName": "Unseen", "styleName": "Regular", "fullName": "Unseen"})
    builder.setupPost(keepGlyphNames=False)
    stream = io.BytesIO()
    builder.save(stream)
    return stream.getvalue()
