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
    width = max(1, ceil(max(_distance(points, 0, 1), _distance(points, 3, 2))))
    height = max(1, ceil(max(_distance(points, 0, 3), _distance(points, 1, 2))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    transform = cv2.getPerspectiveTransform(points, target)
    crop = cv2.warpPerspective(
        image,
        transform,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if height >= _VERTICAL_RATIO * width:
        crop = cv2.rotate(crop, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return np.asarray(crop, dtype=np.uint8)


def reading_order(boxes: Sequence[Points]) -> list[list[int]]:
    """Group line boxes into rows, top to bottom; within a row left to right.

    Boxes share a row when each one's middle lies within the other's height; a slanted page is
    levelled first by the median slope of its lines.

    Returns:
        Rows of indices into ``boxes``; every index once.
    """
    if not boxes:
        return []
    level = _levelled(boxes)
    tops, bottoms = level[:, :, 1].min(axis=1), level[:, :, 1].max(axis=1)
    middles, lefts = level[:, :, 1].mean(axis=1), level[:, :, 0].min(axis=1)
    rows: list[list[int]] = []
    for index in np.argsort(middles, kind="stable").tolist():
        row = rows[-1] if rows else []
        if row and all(
            tops[other] < middles[index] < bottoms[other]
            and tops[index] < middles[other] < bottoms[index]
            for other in row
        ):
            row.append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda index: float(lefts[index])) for row in rows]


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
