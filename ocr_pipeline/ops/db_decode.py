"""Probability map to text polygons: Differentiable Binarization (arXiv:1911.08947)."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.ops.geometry import Points, order_corners

_MIN_GROWN_SIDE_EXTRA = 2.0
"""A region must have grown by at least this to be kept, px of the map (5 against 3 in PP-OCR)."""


@dataclass(frozen=True)
class TextPolygon:
    """One text region.

    Attributes:
        points: its outline: ``[4, 2]`` float32 (x, y) px of the source picture, clockwise from
            top-left.
        score: mean probability inside the shrunk region, in [0, 1].
        to_read: the outline with the margin that it is to be cut out with, as ``points``.
    """

    points: Points
    score: float
    to_read: Points


@dataclass(frozen=True)
class DetectedText:
    """All regions of one picture, and how many candidates were left out, by reason."""

    polygons: list[TextPolygon]
    too_small: int = 0
    low_score: int = 0
    over_limit: int = 0


def decode_polygons(
    prob_map: NDArray[np.float32], *, source_size: tuple[int, int], spec: DBDecodeSpec
) -> DetectedText:
    """Turn one probability map into text polygons in source-image pixels.

    A rectangle that grows by a fixed distance with rounded corners has as smallest enclosing
    rectangle the one that is grown on each side: so no polygon clipping is needed.

    Args:
        prob_map: ``[H, W]`` float32 in [0, 1].
        source_size: (height, width) of the original picture, px.
        spec: thresholds and growth.

    Returns:
        Polygons top to bottom, then left to right; an empty list when there is no text.

    Raises:
        ValueError: map not 2-D, or values outside [0, 1] (often logits: apply the sigmoid first).
    """
    if prob_map.ndim != 2 or prob_map.size == 0:
        raise ValueError(f"probability map of shape {prob_map.shape}; expected [H, W]")
    low, high = float(prob_map.min()), float(prob_map.max())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"probability map from {low:g} to {high:g}; allowed: 0 to 1 (apply the sigmoid first)"
        )
    mask = (prob_map > spec.threshold).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    height, width = source_size
    size = np.array([width, height], dtype=np.float32)
    scale = np.array([width / prob_map.shape[1], height / prob_map.shape[0]], dtype=np.float32)
    polygons: list[TextPolygon] = []
    too_small = low_score = 0
    for contour in contours[: spec.max_candidates]:
        center, (side_a, side_b), angle = cv2.minAreaRect(contour)
        if min(side_a, side_b) < spec.min_side:
            too_small += 1
            continue
        corners = np.asarray(cv2.boxPoints((center, (side_a, side_b), angle)), dtype=np.float32)
        score = _mean_inside(prob_map, corners)
        if score < spec.min_score:
            low_score += 1
            continue
        reach = side_a * side_b / (2 * (side_a + side_b))  # area / perimeter
        growth = reach * spec.unclip_ratio
        if min(side_a, side_b) + 2 * growth < spec.min_side + _MIN_GROWN_SIDE_EXTRA:
            too_small += 1
            continue
        outline, to_read = (
            cv2.boxPoints((center, (side_a + 2 * by, side_b + 2 * by), angle))
            for by in (growth, growth + reach * spec.reading_margin)
        )
        polygons.append(
            TextPolygon(_placed(outline, scale, size), score, _placed(to_read, scale, size))
        )
    polygons.sort(key=lambda polygon: tuple(polygon.points.min(axis=0)[::-1]))
    return DetectedText(
        polygons,
        too_small=too_small,
        low_score=low_score,
        over_limit=max(0, len(contours) - spec.max_candidates),
    )


def _placed(corners: NDArray[Any], scale: NDArray[np.float32], size: NDArray[np.float32]) -> Points:
    """Corners on the map as corners inside the picture, from its top left one on."""
    inside = np.clip(corners * scale, 0, size)
    return order_corners(np.asarray(inside, dtype=np.float32))


def _mean_inside(prob_map: NDArray[np.float32], corners: Points) -> float:
    """Mean probability inside a quadrilateral given in map pixels."""
    height, width = prob_map.shape
    left, top = np.floor(corners.min(axis=0)).astype(int).clip(0)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    right, bottom = min(int(right), width - 1), min(int(bottom), height - 1)
    window = prob_map[top : bottom + 1, left : right + 1]
    mask = np.zeros(window.shape, dtype=np.uint8)
    cv2.fillPoly(mask, [(corners - (left, top)).astype(np.int32)], (1,))
    return float(cv2.mean(window, mask)[0])
