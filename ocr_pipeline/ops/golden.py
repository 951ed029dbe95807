"""Pictures drawn by cv2 alone, for models that come without data: the same on every machine."""

from collections.abc import Sequence

import cv2
import numpy as np

from ocr_pipeline.ops.decode import BGRImage

_LINES = ("No. 20260317-0042", "TOTAL 1,280.50", "PaddleOCR", "6222 0210 0117 3345 908")


def golden_lines() -> list[BGRImage]:
    """Text lines of several widths, 48 px high, dark on light."""
    return [_draw([text], width=max(96, 26 * len(text)), height=48) for text in _LINES]


def golden_pages() -> list[BGRImage]:
    """One page with four lines and one with a single line."""
    return [_draw(_LINES, width=640, height=320), _draw(_LINES[:1], width=480, height=128)]


def _draw(lines: Sequence[str], *, width: int, height: int) -> BGRImage:
    page = np.full((height, width, 3), 245, dtype=np.uint8)
    pitch = height // len(lines)
    for number, text in enumerate(lines):
        baseline = number * pitch + pitch // 2 + 12
        cv2.putText(page, text, (16, baseline), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (40, 40, 40), 2)
    return page
