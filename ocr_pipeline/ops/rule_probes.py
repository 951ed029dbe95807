"""Drawn inputs on which every number of the pre- and post-processing shows."""

from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.model import DetModelSpec, ModelSpec, RecModelSpec
from ocr_pipeline.ops.db_decode import decode_polygons
from ocr_pipeline.ops.resize import det_input, rec_input

_ROWS = 24
_BOX = (40, 12)
"""Text in a drawn map, px."""
_SCORES = 100
"""Boxes whose probabilities form a ladder of single percents."""


def rules_differ(spec: ModelSpec, other: ModelSpec) -> str | None:
    """Tell whether two models would prepare a picture or read a map differently.

    Args:
        spec: the probes are drawn so that each of its numbers shows.
        other: what is compared, of the same task.

    Returns:
        What differs, in a few words; None where nothing does.
    """
    if isinstance(spec, RecModelSpec) and isinstance(other, RecModelSpec):
        return _lines_differ(spec, other)
    if isinstance(spec, DetModelSpec) and isinstance(other, DetModelSpec):
        return _pages_differ(spec, other) or _maps_differ(spec, other)
    return f"one is for {spec.task}, the other for {other.task}"


def _lines_differ(spec: RecModelSpec, other: RecModelSpec) -> str | None:
    image = spec.image
    widths = [image.min_width - 1, image.min_width, image.min_width + 1, image.max_width + 1]
    widths += range(image.min_width, image.max_width + 1, image.width_step)
    for width in widths:
        line = _noise(image.height, width)
        before, after = rec_input(line, image), rec_input(line, other.image)
        steps = (before.shape[2] / image.time_stride, after.shape[2] / other.image.time_stride)
        if before.shape != after.shape or steps[0] != steps[1] or not np.array_equal(before, after):
            return f"a line of {image.height} x {width} px becomes another input"
    return None


def _pages_differ(spec: DetModelSpec, other: DetModelSpec) -> str | None:
    image = spec.image
    # Sides are rounded. One pixel high, a strip is enlarged so much that one more px of min_side
    # shows; scaled to half-way between two multiples, one more px of max_side does.
    half = 3 * image.multiple // 2
    high = max(image.min_side, 2 * half + 4)
    long = high * image.max_side // half
    side = 3 * image.multiple + 1
    for height, width in ((1, image.multiple), (side, side), (high, long), (high, long + 1)):
        page = _noise(height, width)
        before, after = det_input(page, image), det_input(page, other.image)
        if before.shape != after.shape or not np.array_equal(before, after):
            return f"a page of {height} x {width} px becomes another input"
    return None


def _maps_differ(spec: DetModelSpec, other: DetModelSpec) -> str | None:
    drawn = (_slopes(), _sizes(spec.decode.min_side), _dots(spec.decode.max_candidates + 1))
    for number, prob_map in enumerate(drawn):
        size = (2 * prob_map.shape[0], 2 * prob_map.shape[1])
        before = decode_polygons(prob_map, source_size=size, spec=spec.decode)
        after = decode_polygons(prob_map, source_size=size, spec=other.decode)
        counts = [
            (len(d.polygons), d.too_small, d.low_score, d.over_limit) for d in (before, after)
        ]
        pairs = zip(before.polygons, after.polygons, strict=False)
        if counts[0] != counts[1] or not all(
            np.array_equal(a.points, b.points)
            and np.array_equal(a.to_read, b.to_read)
            and a.score == b.score
            for a, b in pairs
        ):
            return f"drawn map {number} gives other boxes"
    return None


def _noise(height: int, width: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(height * 100_003 + width)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _slopes() -> NDArray[np.float32]:
    """Boxes of rising probability with soft edges: thresholds and growth show."""
    tall, wide = 3 * _BOX[1], 2 * _BOX[0]
    prob_map = np.zeros((_ROWS * tall, ceil(_SCORES / _ROWS) * wide), np.float32)
    for number in range(_SCORES):
        y, x = (number % _ROWS) * tall + _BOX[1], (number // _ROWS) * wide + _BOX[0] // 2
        prob_map[y : y + _BOX[1], x : x + _BOX[0]] = (number + 0.5) / _SCORES
    return np.asarray(cv2.GaussianBlur(prob_map, (0, 0), 2.0), dtype=np.float32).clip(0, 1)


def _sizes(side: float) -> NDArray[np.float32]:
    """Slanted strips of rising thickness about the smallest one that counts."""
    pitch = ceil(2 * side) + 24
    prob_map = np.zeros((_ROWS * pitch, 120), np.float32)
    for number in range(_ROWS):
        thickness = 0.5 + 2 * side * number / _ROWS
        centre = (60.0, (number + 0.5) * pitch)
        corners = cv2.boxPoints((centre, (80.0, thickness), 5.0))
        cv2.fillPoly(prob_map, [np.rint(corners).astype(np.int32)], (1.0,))
    return prob_map


def _dots(count: int) -> NDArray[np.float32]:
    """So many single pixels."""
    side = ceil(count**0.5)
    prob_map = np.zeros((2 * side, 2 * side), np.float32)
    for cell in range(count):
        prob_map[2 * (cell // side), 2 * (cell % side)] = 1.0
    return prob_map
