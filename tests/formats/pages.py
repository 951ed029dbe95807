"""Pages made by hand."""

import numpy as np

from ocr_pipeline.inference.reader import LinePart, PageText, ReadLine
from ocr_pipeline.ops.geometry import Points


def box(left: float, top: float, right: float, bottom: float) -> Points:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array(corners, dtype=np.float32)


def part(text: str, confidence: float, points: Points) -> LinePart:
    return LinePart(text, confidence, points)


def line(
    text: str,
    points: Points,
    *,
    confidence: float = 0.5,
    row: int = 0,
    words: tuple[LinePart, ...] | None = None,
) -> ReadLine:
    return ReadLine(text, confidence, points, 0.9, row, words=words)


def page(*lines: ReadLine, width: int = 200, height: int = 100) -> PageText:
    return PageText(list(lines), width, height, {}, {})


def mixed_line() -> ReadLine:
    """A line with spaces beside some of its words only."""
    words = (
        part("No.", 0.876, box(10, 20, 40, 40)),
        part("金", 1.0, box(50, 20, 70, 40)),
        part("额", 0.5, box(70, 20, 90, 40)),
        part("12", 0.0, box(100, 20, 120, 40)),
    )
    return line("No. 金额 12", box(10, 20, 120, 40), confidence=0.75, words=words)


def three_cells() -> PageText:
    """Two rows; the second part of the first one is read before the second row."""
    return page(
        line("left", box(10, 10, 60, 20), row=0),
        line("right", box(120, 8, 180, 18), row=0),
        line("below", box(10, 40, 60, 50), row=1),
    )


HOSTILE = "a<b & \"c\" 'd' ]]> 中文"
CONTROLLED = "a\x00b\x0bc\x1fd\ufffee\ud800f\x85\U0001f600"
"""Five characters that XML 1.0 does not allow, and two that it does."""
CLEANED = "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\x85\U0001f600"
