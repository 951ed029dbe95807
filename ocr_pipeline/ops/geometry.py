"""Quadrilaterals: corner order, cutting a line out of a page, reading order."""

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.decode import BGRImage

Points = NDArray[np.float32]
"""``[4, 2]`` float32 (x, y) px, clockwise from top-left, unless said otherwise."""

_VERTICAL_RATIO = 1.5
"""A crop at least this much taller than wide is turned: a vertical line (PP-OCR's rule)."""
_MIN_COLUMN_LINES = 5
"""A column has at least so many lines."""
_MAX_CROSSING = 0.2
"""At most this share of the lines crosses the gutter."""
_MIN_COLUMN_ASPECT = 8.0
"""The median line of a column is at least this many times as wide as high."""
_MIN_COLUMN_RATIO = 0.6
"""The narrower column has at least this share of the wider one's line width."""
_MAX_GUTTER = 0.3
"""The gutter is at most this share of a column's line width."""


def order_corners(points: Points) -> Points:
    """Order four corners clockwise from top-left, as a reader of level text sees them."""
    by_x = points[np.argsort(points[:, 0], kind="stable")]
    left = by_x[:2][np.argsort(by_x[:2, 1], kind="stable")]
    right = by_x[2:][np.argsort(by_x[2:, 1], kind="stable")]
    return np.array([left[0], right[0], right[1], left[1]], dtype=np.float32)


def crop_line(image: BGRImage, points: Points) -> BGRImage:
    """Cut a quadrilateral out of a picture and straighten it.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        points: four corners inside the picture.

    Returns:
        ``[h, w, 3]`` uint8 BGR, at least 1 px a side; a crop much taller than wide is turned by 90
        degrees counter-clockwise.
    """
    width, height = _crop_size(points)
    transform = cv2.getPerspectiveTransform(points, _frame(width, height))
    crop = cv2.warpPerspective(
        image,
        transform,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if is_vertical(points):
        crop = cv2.rotate(crop, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.asarray(crop, dtype=np.uint8)


def line_parts(points: Points, spans: Sequence[tuple[float, float]]) -> list[Points]:
    """Parts of a line in the picture that :func:`crop_line` cut it out of.

    Args:
        points: as given to ``crop_line``.
        spans: (start, end) of each part along the width of the crop, in [0, 1].

    Returns:
        Four corners a part, from the one that ``points`` begin at, over the whole height of the
        crop; those of (0, 1) are ``points``.
    """
    width, height = _crop_size(points)
    shares = np.asarray(spans, dtype=np.float32).reshape(-1, 2)
    if not len(shares):
        return []
    frame = np.tile(_frame(width, height), (len(shares), 1, 1))  # [N, 4, 2]
    if is_vertical(points):
        frame[:, :2, 1], frame[:, 2:, 1] = shares[:, :1] * height, shares[:, 1:] * height
    else:
        frame[:, ::3, 0], frame[:, 1:3, 0] = shares[:, :1] * width, shares[:, 1:] * width
    transform = cv2.getPerspectiveTransform(_frame(width, height), points)
    return list(np.asarray(cv2.perspectiveTransform(frame, transform), dtype=np.float32))


def is_vertical(points: Points) -> bool:
    """Whether :func:`crop_line` turns what it cuts out."""
    width, height = _crop_size(points)
    return height >= _VERTICAL_RATIO * width


def _crop_size(points: Points) -> tuple[int, int]:
    """(width, height) of a straightened line before it is turned, px."""
    width = max(1, ceil(max(_distance(points, 0, 1), _distance(points, 3, 2))))
    height = max(1, ceil(max(_distance(points, 0, 3), _distance(points, 1, 2))))
    return width, height


def _frame(width: int, height: int) -> Points:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)


def reading_order(boxes: Sequence[Points]) -> list[list[int]]:
    """Group line boxes into rows as they are read: column by column, top to bottom, left to right.

    Boxes share a row when each one's middle lies within the other's height; a slanted page is
    levelled first by the median slope of its lines. Two columns are told from a table by their
    shape: equally wide lines, longer than a cell, with a gutter much narrower than themselves.

    Returns:
        Rows of indices into ``boxes``; every index once.
    """
    if not boxes:
        return []
    level = _levelled(boxes)
    low, high = level.min(axis=1), level.max(axis=1)  # [N, 2] each: (left, top), (right, bottom)
    return [row for part in _columns(low, high) for row in _rows(low, high, part)]


def _rows(
    low: NDArray[np.float64], high: NDArray[np.float64], members: Sequence[int]
) -> list[list[int]]:
    """Group ``members`` into rows, top to bottom; within a row left to right."""
    tops, bottoms, middles = low[:, 1], high[:, 1], (low[:, 1] + high[:, 1]) / 2
    rows: list[list[int]] = []
    for index in sorted(members, key=lambda member: float(middles[member])):
        row = rows[-1] if rows else []
        if row and all(
            tops[other] < middles[index] < bottoms[other]
            and tops[index] < middles[other] < bottoms[index]
            for other in row
        ):
            row.append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda index: float(low[index, 0])) for row in rows]


def _columns(low: NDArray[np.float64], high: NDArray[np.float64]) -> list[list[int]]:
    """Split a page of two text columns into parts read one after the other; else one part.

    A line across the gutter (a headline) ends the columns above it.
    """
    everything = list(range(len(low)))
    gutter = _find_gutter(low, high)
    if gutter is None:
        return [everything]
    parts: list[list[int]] = []
    left: list[int] = []
    right: list[int] = []
    for index in sorted(everything, key=lambda member: float(low[member, 1])):
        if high[index, 0] <= gutter:
            left.append(index)
        elif low[index, 0] >= gutter:
            right.append(index)
        else:
            parts += [left, right, [index]]
            left, right = [], []
    return [part for part in [*parts, left, right] if part]


def _find_gutter(low: NDArray[np.float64], high: NDArray[np.float64]) -> float | None:
    """The x that separates two columns of running text, or None where there are none."""
    heights = high[:, 1] - low[:, 1]
    widths = high[:, 0] - low[:, 0]
    for edge in sorted(set(high[:, 0].tolist())):
        left, right = high[:, 0] <= edge, low[:, 0] > edge
        crossing = len(low) - int(left.sum()) - int(right.sum())
        if min(left.sum(), right.sum()) < _MIN_COLUMN_LINES or crossing > _MAX_CROSSING * len(low):
            continue
        column_widths = [float(np.median(widths[side])) for side in (left, right)]
        narrow, wide = sorted(column_widths)
        gap = float(low[right, 0].min()) - edge
        if (
            narrow >= _MIN_COLUMN_ASPECT * float(np.median(heights))
            and narrow >= _MIN_COLUMN_RATIO * wide
            and gap <= _MAX_GUTTER * narrow
        ):
            return float(edge + gap / 2)
    return None


def _levelled(boxes: Sequence[Points]) -> NDArray[np.float64]:
    """Turn all boxes by the median slope of their top edges; long lines weigh more."""
    corners = np.asarray(boxes, dtype=np.float64)
    run = corners[:, 1] - corners[:, 0]
    lengths = np.hypot(run[:, 0], run[:, 1])
    long_enough = lengths >= np.median(lengths)
    angle = float(np.median(np.arctan2(run[long_enough, 1], run[long_enough, 0])))
    cos, sin = np.cos(-angle), np.sin(-angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.asarray(corners @ turn.T)


def _distance(points: Points, a: int, b: int) -> float:
    return float(np.hypot(*(points[a] - points[b])))
