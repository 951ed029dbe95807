"""Measures of polygons: ``[P, 2]`` float (x, y) px, y down; at least 3 points."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import atan2, hypot, pi

import cv2
import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float32]
"""``[P, 2]`` float32 (x, y) px."""


def signed_area(points: NDArray[np.floating]) -> float:
    """Shoelace area, px squared; positive where the points go clockwise on the screen."""
    x, y = points[:, 0].astype(np.float64), points[:, 1].astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


def perimeter(points: NDArray[np.floating]) -> float:
    """Length of the closed outline, px."""
    steps = np.roll(points, -1, axis=0).astype(np.float64) - points
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def shorter_side(points: NDArray[np.floating]) -> float:
    """Shorter side of a quadrilateral's mean edges, else of the upright box, px."""
    if len(points) == 4:
        edges = np.roll(points, -1, axis=0).astype(np.float64) - points
        lengths = np.hypot(edges[:, 0], edges[:, 1])
        return float(min(lengths[0] + lengths[2], lengths[1] + lengths[3]) / 2)
    extent = points.max(axis=0) - points.min(axis=0)
    return float(extent.min())


def crosses_itself(points: NDArray[np.floating]) -> bool:
    """Whether two edges that are not neighbours meet: the outline is a bow-tie."""
    start = points.astype(np.float64)
    end = np.roll(start, -1, axis=0)
    count = len(start)
    for first in range(count - 2):
        last = count - 1 if first == 0 else count  # the last edge is a neighbour of the first
        if _is_crossed(start[first], end[first], start[first + 2 : last], end[first + 2 : last]):
            return True
    return False


def _is_crossed(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
) -> bool:
    """Whether an edge crosses any of some edges, ``[N, 2]`` starts and ends."""
    across = _side(start, end, starts) * _side(start, end, ends) < 0
    if not across.any():
        return False
    starts, ends = starts[across], ends[across]
    return bool(np.any(_side(starts, ends, start) * _side(starts, ends, end) < 0))


def _side(
    start: NDArray[np.float64], end: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sign that tells on which side of a line from start to end a point lies; 0: on it."""
    run, way = end - start, at - start
    return np.asarray(np.sign(run[..., 0] * way[..., 1] - run[..., 1] * way[..., 0]))


def clockwise(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same outline, clockwise on the screen; the first point stays the first."""
    if signed_area(points) >= 0:
        return points
    return np.concatenate([points[:1], points[:0:-1]])


@dataclass(frozen=True, slots=True)
class Outline:
    """A polygon with its measures: plain floats, as numpy is slow on a handful of numbers.

    Attributes:
        xs, ys: corners, px; clockwise on the screen, none twice in a row.
        runs: direction (x, y) of the edge from each corner to the next, length 1.
        area: px squared, not negative.
        perimeter: px.
        thickness: see :func:`thickness`, px.
        convex: no corner points inwards, and no edge crosses another.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    runs: tuple[tuple[float, float], ...]
    area: float
    perimeter: float
    thickness: float
    convex: bool


def measure(points: NDArray[np.floating]) -> Outline | None:
    """Measure a polygon, ``[P, 2]`` (x, y) px in any direction; None with fewer than 3 corners."""
    given = [(float(x), float(y)) for x, y in points]
    corners = [
        here for before, here in zip(given[-1:] + given, given, strict=False) if here != before
    ]
    if len(corners) < 3:
        return None
    area = _area(corners)
    if area < 0:
        corners.reverse()
    steps = [(x1 - x0, y1 - y0) for (x0, y0), (x1, y1) in _edges(corners)]
    lengths = [hypot(x, y) for x, y in steps]
    if len(corners) == 4:
        thick = min(lengths[0] + lengths[2], lengths[1] + lengths[3]) / 2
    else:
        thick = thickness(np.array(corners, dtype=np.float32))
    turns = [atan2(x0 * y1 - y0 * x1, x0 * x1 + y0 * y1) for (x0, y0), (x1, y1) in _edges(steps)]
    return Outline(
        xs=tuple(x for x, _ in corners),
        ys=tuple(y for _, y in corners),
        runs=tuple((x / length, y / length) for (x, y), length in zip(steps, lengths, strict=True)),
        area=abs(area),
        perimeter=sum(lengths),
        thickness=thick,
        convex=min(turns) >= 0 and sum(turns) < 3 * pi,
    )


def _edges(
    points: list[tuple[float, float]],
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    return zip(points, points[1:] + points[:1], strict=True)


def _area(corners: list[tuple[float, float]]) -> float:
    """As :func:`signed_area`."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in _edges(corners)) / 2


def without_repeats(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outline without points that repeat the one before them; may be fewer than 3."""
    return points[np.any(points != np.roll(points, 1, axis=0), axis=1)]


def thickness(points: NDArray[np.floating]) -> float:
    """Shorter side as one would measure it on the text, px.

    The mean edges of a quadrilateral, else the smallest enclosing rectangle at any angle.
    """
    if len(points) == 4:
        return shorter_side(points)
    _, sides, _ = cv2.minAreaRect(points.astype(np.float32))
    return float(min(sides))


def mirrored(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Point order of an outline after its picture was mirrored left to right.

    Clockwise stays clockwise, and the edge from the first to the second point (the top of a line)
    stays that edge.
    """
    return np.concatenate([points[1::-1], points[:1:-1]])


def clip_to_frame(points: NDArray[np.float32], width: float, height: float) -> NDArray[np.float32]:
    """Part of an outline inside ``[0, width] x [0, height]`` (Sutherland and Hodgman, 1974).

    A part that hangs together only outside the frame stays joined along the frame's edge.

    Returns:
        ``[Q, 2]`` float32; Q is 0 where nothing is inside.
    """
    outline = [(float(x), float(y)) for x, y in points]
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)):
        outline = _clip_side(outline, axis, limit, sign)
    return without_repeats(np.array(outline, dtype=np.float32).reshape(-1, 2))


def _clip_side(
    outline: list[tuple[float, float]], axis: int, limit: float, sign: float
) -> list[tuple[float, float]]:
    """Part of an outline where ``sign * (coordinate - limit)`` is not negative."""
    kept: list[tuple[float, float]] = []
    for before, here in zip(outline[-1:] + outline[:-1], outline, strict=True):
        depth_before, depth = sign * (before[axis] - limit), sign * (here[axis] - limit)
        if (depth_before < 0) != (depth < 0):
            share = depth_before / (depth_before - depth)
            cut = [b + (h - b) * share for b, h in zip(before, here, strict=True)]
            cut[axis] = limit
            kept.append((cut[0], cut[1]))
        if depth >= 0:
            kept.append(here)
    return kept
