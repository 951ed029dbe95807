"""Where a page goes when it is mirrored, turned, seen from the side, cropped and fit: one matrix.

Points are (x, y) px with (0, 0) the outer corner of the first pixel; the matrix works on columns
``[x, y, 1]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.det_augment import CropConfig, DetAugmentConfig, PerspectiveConfig
from ocr_pipeline.ops.polygons import Polygon, clip_to_frame, measure, mirrored

Matrix = NDArray[np.float64]
"""``[3, 3]`` float64, source page to picture."""

_SLACK = 0.5
"""A corner no farther outside than this is moved to the edge, not cut off: sizes are whole, px."""


@dataclass(frozen=True)
class Placement:
    """Where a page goes.

    Attributes:
        matrix: source page to the network's input.
        width, height: px of the input that the crop fills, from the top-left; the rest is padding.
        detail: the page is made this many times as large first, at most 1: what that loses is
            lost, whatever size the crop has in the end.
    """

    matrix: Matrix
    width: int
    height: int
    detail: float


def place_page(
    size: tuple[int, int],
    texts: Sequence[Polygon],
    config: DetAugmentConfig,
    random: np.random.Generator,
) -> Placement:
    """Choose where a page goes.

    Args:
        size: (height, width) of the page, px.
        texts: ``[P, 2]`` regions that a crop must not cut through.
        config: kinds and strengths.
        random: all chance comes from here.
    """
    height, width = size
    frame = (float(width), float(height))
    matrix = np.eye(3)
    if random.random() < config.flip:
        matrix = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
    if random.random() < config.rotation.probability:
        angle = radians(random.uniform(-config.rotation.max_angle, config.rotation.max_angle))
        matrix, frame = _turned(matrix, frame, angle, grow=config.grow_canvas)
    detail = 1.0
    if random.random() < config.resize.probability:
        detail = min(1.0, random.uniform(config.resize.smallest, config.resize.largest))
    if random.random() < config.perspective.probability:
        matrix, frame = _seen_from_side(matrix, frame, config.perspective, random)
    left, top, right, bottom = 0.0, 0.0, *frame
    if random.random() < config.crop.probability:
        left, top, right, bottom = choose_crop(
            _boxes(move_points(texts, matrix)), frame, config.crop, random
        )
    scale = min(config.size / (right - left), config.size / (bottom - top))
    fit = np.array([[scale, 0, -scale * left], [0, scale, -scale * top], [0, 0, 1]])
    return Placement(
        fit @ matrix,
        width=_whole(scale * (right - left), config.size),
        height=_whole(scale * (bottom - top), config.size),
        detail=detail,
    )


def choose_crop(
    boxes: NDArray[np.float64],
    frame: tuple[float, float],
    config: CropConfig,
    random: np.random.Generator,
) -> tuple[float, float, float, float]:
    """Choose a part of a page that cuts through no text and holds at least one, if there is any.

    Its edges lie in the gaps between the texts, of each axis by itself.

    Args:
        boxes: ``[N, 4]`` left, top, right, bottom of the texts, px.
        frame: (width, height) of the page, px.
        config: tries, smallest size.
        random: all chance comes from here.

    Returns:
        left, top, right, bottom, px; the whole frame where no try fits.
    """
    limits = np.array([*frame, *frame])
    boxes = np.clip(boxes, 0, limits)
    boxes = boxes[(boxes[:, :2] < boxes[:, 2:]).all(axis=1)]
    crops = np.empty((config.tries, 4))
    for axis in range(2):
        gaps = _gaps(boxes[:, axis], boxes[:, axis + 2], frame[axis])
        chosen = gaps[random.integers(len(gaps), size=(config.tries, 2))]
        cuts = chosen[:, :, 0] + random.random((config.tries, 2)) * np.diff(chosen, axis=2)[:, :, 0]
        crops[:, axis::2] = np.sort(cuts, axis=1)
    sides = crops[:, 2:] - crops[:, :2]
    good = (sides >= np.maximum(1.0, config.min_side * np.array(frame))).all(axis=1)
    if len(boxes):
        lows, highs = boxes[None, :, :2], boxes[None, :, 2:]
        holds: NDArray[np.bool_] = (crops[:, None, :2] <= lows) & (crops[:, None, 2:] >= highs)
        good &= np.any(np.all(holds, axis=2), axis=1)
    if not good.any():
        return (0.0, 0.0, *frame)
    left, top, right, bottom = crops[int(good.argmax())].tolist()
    return left, top, right, bottom


def move_regions(
    regions: Sequence[Polygon],
    ignore: Sequence[bool],
    placement: Placement,
    min_visible: float,
) -> tuple[list[Polygon], list[bool]]:
    """Move regions with their page, and cut off what is outside the picture.

    Args:
        regions: ``[P, 2]`` px of the page.
        ignore: one flag a region.
        placement: where the page goes.
        min_visible: a region of which less than this share is left is ignored.

    Returns:
        ``[Q, 2]`` float32 px of the picture, in the direction they had, for the regions of which
        anything is left; and their flags.
    """
    width, height = placement.width, placement.height
    matrix = placement.matrix
    turned_over = bool(np.linalg.det(matrix) < 0)
    points: list[Polygon] = []
    flags: list[bool] = []
    for moved, flag in zip(move_points(regions, matrix), ignore, strict=True):
        (left, top), (right, bottom) = moved.min(axis=0).tolist(), moved.max(axis=0).tolist()
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            continue
        if turned_over:
            moved = mirrored(moved)
        if min(left, top, width - right, height - bottom) < -_SLACK:
            before = measure(moved)
            moved = clip_to_frame(moved, width, height)
            after = measure(moved)
            if before is None or after is None or after.area <= 0:
                continue
            flag = flag or after.area < min_visible * before.area
        else:
            moved = np.clip(moved, 0, np.array([width, height], dtype=np.float32))
        points.append(moved)
        flags.append(flag)
    return points, flags


def move_points(regions: Sequence[Polygon], matrix: Matrix) -> list[Polygon]:
    """Apply a matrix to each outline: ``[P, 2]`` float32 each."""
    if not regions:
        return []
    every = np.concatenate(regions).astype(np.float64)
    moved = every @ matrix[:2, :2].T + matrix[:2, 2]
    if matrix[2, 0] or matrix[2, 1]:
        moved /= (every @ matrix[2, :2] + matrix[2, 2])[:, None]
    ends = np.cumsum([len(points) for points in regions])[:-1]
    return np.split(moved.astype(np.float32), ends)


def _turned(
    matrix: Matrix, frame: tuple[float, float], angle: float, *, grow: bool
) -> tuple[Matrix, tuple[float, float]]:
    """Turn about the middle; ``angle`` in radians, clockwise on the screen."""
    width, height = frame
    c, s = cos(angle), sin(angle)
    new = frame
    if grow:
        new = (abs(c) * width + abs(s) * height, abs(s) * width + abs(c) * height)
    shift_x = new[0] / 2 - (c * width - s * height) / 2
    shift_y = new[1] / 2 - (s * width + c * height) / 2
    return np.array([[c, -s, shift_x], [s, c, shift_y], [0, 0, 1]]) @ matrix, new


def _seen_from_side(
    matrix: Matrix,
    frame: tuple[float, float],
    config: PerspectiveConfig,
    random: np.random.Generator,
) -> tuple[Matrix, tuple[float, float]]:
    """Shear, then tilt about both axes; the frame grows around what becomes of it."""
    width, height = frame
    shear_x, shear_y = np.tan(np.radians(random.uniform(-config.max_shear, config.max_shear, 2)))
    tilt_x, tilt_y = random.uniform(-config.strength, config.strength, 2) * 2 / np.array(frame)
    to_middle = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    seen = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, 1, 0], [tilt_x, tilt_y, 1]]
    )
    seen = seen @ to_middle
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    (moved,) = move_points([corners], seen)
    low, high = moved.min(axis=0).tolist(), moved.max(axis=0).tolist()
    seen = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]]) @ seen
    return seen @ matrix, (high[0] - low[0], high[1] - low[1])


def _boxes(regions: Sequence[Polygon]) -> NDArray[np.float64]:
    """``[N, 4]`` left, top, right, bottom."""
    boxes = np.empty((len(regions), 4))
    for index, points in enumerate(regions):
        boxes[index, :2] = points.min(axis=0)
        boxes[index, 2:] = points.max(axis=0)
    return boxes


def _gaps(lows: NDArray[np.float64], highs: NDArray[np.float64], length: float) -> Matrix:
    """``[G, 2]`` parts of ``[0, length]`` that no text covers; both ends are always among them."""
    order = np.argsort(lows)
    reached = np.maximum.accumulate(np.concatenate([[0.0], highs[order]]))
    starts, ends = reached, np.concatenate([lows[order], [length]])
    free = ends > starts
    free[0] = free[-1] = True
    return np.stack([starts, np.maximum(starts, ends)], axis=1)[free]


def _whole(side: float, most: int) -> int:
    return max(1, min(most, round(side)))
