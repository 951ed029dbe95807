"""What the formats share: text that XML allows, boxes in whole pixels, words and their spaces."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.ops.geometry import Points

_REPLACEMENT = "\ufffd"
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no ``Char`` of XML 1.0: most control characters, halves of surrogate pairs, U+FFFE/F."""
_BREAK = re.compile("[\t\n\r]")
_NOISE_DIGITS = 2
"""Places are rounded so before they are rounded outward: float32 must not cost a whole pixel."""
_LEVEL = 1.0
"""A line is level where no corner is further than this from those of its box, px per axis."""


@dataclass(frozen=True)
class Box:
    """Edges of an upright box in whole px of the picture; ``right`` and ``bottom`` exclusive."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Piece:
    """A word where it stands; a whole line where its words were not read.

    Attributes:
        text: never empty; legal in XML.
        confidence: in [0, 1].
        points: ``[4, 2]`` px of the picture, in the order of the line's own.
        spaced: white space stands before it.
    """

    text: str
    confidence: float
    points: Points
    spaced: bool


@dataclass(frozen=True)
class Word:
    """A piece of a line as it is written out.

    Attributes:
        text: never empty; legal in XML.
        confidence: in [0, 1].
        box: inside the page.
        spaced: white space stands before it.
    """

    text: str
    confidence: float
    box: Box
    spaced: bool


def legal_text(text: str) -> str:
    """The text with U+FFFD for each character that XML 1.0 does not allow.

    Tabs and line breaks, which XML would not keep as they are, become spaces.
    """
    return _BREAK.sub(" ", _ILLEGAL.sub(_REPLACEMENT, text))


def box_of(points: Points, page: PageText) -> Box:
    """The smallest box of whole pixels around ``[4, 2]`` points, as far as it is on the page."""
    across, down = ([round(value, _NOISE_DIGITS) for value in axis] for axis in _axes(points, page))
    return Box(floor(min(across)), floor(min(down)), ceil(max(across)), ceil(max(down)))


def box_around(boxes: Sequence[Box]) -> Box:
    """The smallest box around at least one."""
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def outline(points: Points, page: PageText) -> str:
    """``x y x y ...`` of the points in whole px, in their order, each clipped to the page."""
    corners = zip(*_axes(points, page), strict=True)
    return " ".join(f"{round(x)} {round(y)}" for x, y in corners)


def is_slanted(points: Points, page: PageText) -> bool:
    """Whether the part on the page is anything but an upright box, by more than a pixel."""
    return any(
        min(value - min(axis), max(axis) - value) > _LEVEL
        for axis in _axes(points, page)
        for value in axis
    )


def words_of(line: ReadLine, page: PageText) -> list[Word]:
    """The pieces of a line, at least one, in its order, in whole pixels."""
    return [
        Word(piece.text, piece.confidence, box_of(piece.points, page), piece.spaced)
        for piece in pieces_of(line)
    ]


def pieces_of(line: ReadLine) -> list[Piece]:
    """The words of a line, at least one, in its order.

    The whole line is one piece where words were not read, or where they are not all of its text.
    """
    text = legal_text(line.text)
    parts = [(legal_text(part.text).strip(), part) for part in line.words or ()]
    parts = [(said, part) for said, part in parts if said]
    if not parts or _solid("".join(said for said, _ in parts)) != _solid(text):
        return [Piece(text, _share(line.confidence), line.points, spaced=False)]
    gaps, pieces, passed = _gaps(text), [], 0
    for said, part in parts:
        pieces.append(Piece(said, _share(part.confidence), part.points, spaced=passed in gaps))
        passed += len(_solid(said))
    return pieces


def _gaps(text: str) -> set[int]:
    """Numbers of printed characters after which white space follows."""
    gaps, passed = set(), 0
    for piece in text.split()[:-1]:
        passed += len(piece)
        gaps.add(passed)
    return gaps


def _solid(text: str) -> str:
    """The text without white space."""
    return "".join(text.split())


def _share(confidence: float) -> float:
    return min(1.0, max(0.0, float(confidence)))


def _axes(points: Points, page: PageText) -> tuple[list[float], list[float]]:
    """All x and all y, px, each clipped to the page."""
    corners = points.tolist()
    return (
        [min(max(x, 0.0), float(page.width)) for x, _ in corners],
        [min(max(y, 0.0), float(page.height)) for _, y in corners],
    )
