"""Text polygons to training maps: Differentiable Binarization (arXiv:1911.08947, section 3.4).

Insets and bands are taken from the distance to the outline, pixel by pixel, so that no polygon has
to be offset. A point (x, y) lies on the middle of pixel [y, x], as in ``ops.db_decode``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.ops.polygons import Outline, Polygon, measure

Map = NDArray[np.float32]

MAPS = 4
"""Planes of the targets: shrink map, shrink mask, threshold map, threshold mask."""
_ROUNDING = 0.5
"""A pixel belongs to the inset when its middle is at most this far outside, px: a drawn outline
then runs, on average, where the real one does, and :mod:`ocr_pipeline.ops.db_decode` finds it."""
_MIN_AREA = 1.0
"""A region of less is no region, px squared."""
_SHARPEST_COSINE = 0.5
"""Of 60 degrees: outlines with a sharper corner take the slower way."""


@dataclass(frozen=True)
class DBTargets:
    """What the detector shall say to one picture.

    Attributes:
        maps: ``[4, H, W]`` float32: shrink map (1 inside the inset regions, else 0), shrink mask
            (0 where the loss shall not look, else 1), threshold map (``threshold_low`` to
            ``threshold_high``), threshold mask (1 within the bands and inside the regions).
        too_small: indices of regions left out because their shorter side is below the limit.
        shrunk_away: indices of regions left out because nothing is left of them when inset.
    """

    maps: Map
    too_small: tuple[int, ...] = ()
    shrunk_away: tuple[int, ...] = ()

    @property
    def shrink_map(self) -> Map:
        return _plane(self.maps, 0)

    @property
    def shrink_mask(self) -> Map:
        return _plane(self.maps, 1)

    @property
    def threshold_map(self) -> Map:
        return _plane(self.maps, 2)

    @property
    def threshold_mask(self) -> Map:
        return _plane(self.maps, 3)


def shrink_ratio_at(progress: float, config: DBTargetConfig) -> float:
    """Shrink ratio when ``progress`` of the training is done, in [0, 1].

    Raises:
        ValueError: progress outside [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress}; allowed: 0 (start) to 1 (end of training)")
    return config.shrink_start + (config.shrink_end - config.shrink_start) * progress


def db_targets(
    regions_points: Sequence[Polygon],
    ignore: Sequence[bool],
    size: tuple[int, int],
    config: DBTargetConfig,
    shrink_ratio: float,
    *,
    out: Map | None = None,
) -> DBTargets:
    """Draw the four training maps of one picture.

    A region that is ignored, too small, or shrinks away is neither text nor background: its area is
    taken out of the shrink mask. A region whose inset falls apart gets a thinner inset.

    Args:
        regions_points: ``[P, 2]`` float32 (x, y) px each; may reach outside the picture.
        ignore: one flag a region.
        size: (height, width) of the network's input, px.
        config: limits and levels.
        shrink_ratio: see :func:`shrink_ratio_at`, in (0, 1).
        out: ``[4, H, W]`` float32 to draw into; None: new.

    Raises:
        ValueError: sizes that do not fit together, or a ratio outside (0, 1).
    """
    _check_ratio(shrink_ratio)
    if len(regions_points) != len(ignore):
        raise ValueError(f"{len(regions_points)} regions, {len(ignore)} flags; give one flag each")
    if out is None:
        out = np.empty((MAPS, *size), dtype=np.float32)
    elif out.shape != (MAPS, *size) or out.dtype != np.float32:
        raise ValueError(f"out is {out.dtype} {out.shape}; expected float32 {(MAPS, *size)}")
    out[0] = 0
    out[1] = 1
    out[2] = config.threshold_low
    out[3] = 0
    too_small: list[int] = []
    shrunk_away: list[int] = []
    for index, (points, skip) in enumerate(zip(regions_points, ignore, strict=True)):
        if not skip:
            outline = measure(points)
            if outline is None or outline.thickness < config.min_side:
                too_small.append(index)
            elif _draw_region(out, outline, shrink_ratio, config):
                continue
            else:
                shrunk_away.append(index)
        cv2.fillPoly(out[1], [np.rint(points).astype(np.int32)], (0.0,))
    return DBTargets(out, tuple(too_small), tuple(shrunk_away))


def shrinks_away(points: Polygon, config: DBTargetConfig, ratio: float) -> bool:
    """Whether nothing of a region can be trained on: too small, or nothing left when inset.

    Args:
        points: ``[P, 2]`` float32 (x, y), px of the network's input, not of the source picture.
        config: limits.
        ratio: shrink ratio, in (0, 1).

    Raises:
        ValueError: ratio outside (0, 1).
    """
    _check_ratio(ratio)
    outline = measure(points)
    if outline is None or outline.thickness < config.min_side:
        return True
    reach = _inset(outline, ratio)
    if reach is None:
        return True
    window = _window(outline, reach, None)
    return not _inset_pixels(_depth(outline, window, reach), outline, ratio, reach).any()


@dataclass(frozen=True, slots=True)
class _Window:
    """Part of the maps that a region can touch, px; ``whole``: the frame cuts nothing off."""

    left: int
    top: int
    right: int
    bottom: int
    whole: bool

    @property
    def empty(self) -> bool:
        return self.left >= self.right or self.top >= self.bottom

    def of(self, plane: Map) -> Map:
        return plane[self.top : self.bottom, self.left : self.right]


def _plane(maps: Map, index: int) -> Map:
    plane: Map = maps[index]
    return plane


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio < 1:
        raise ValueError(f"shrink ratio {ratio}; allowed: above 0, below 1")


def _inset(outline: Outline, ratio: float) -> float | None:
    """Distance to inset by, px; None where the region has no area."""
    if outline.area < _MIN_AREA:
        return None
    return outline.area * (1 - ratio * ratio) / outline.perimeter


def _draw_region(maps: Map, outline: Outline, ratio: float, config: DBTargetConfig) -> bool:
    """Draw one text region; False where nothing of it is left."""
    reach = _inset(outline, ratio)
    if reach is None:
        return False
    window = _window(outline, reach, (maps.shape[1], maps.shape[2]))
    if window.empty:
        return True
    depth = _depth(outline, window, reach)
    inset = _inset_pixels(depth, outline, ratio, reach)
    if window.whole and not inset.any():
        return False
    np.copyto(window.of(maps[0]), 1, where=inset)
    np.copyto(window.of(maps[3]), 1, where=depth > -reach)
    np.abs(depth, out=depth)
    depth *= (config.threshold_low - config.threshold_high) / reach
    depth += config.threshold_high
    levels = window.of(maps[2])
    np.maximum(levels, depth, out=levels)
    return True


def _window(outline: Outline, reach: float, size: tuple[int, int] | None) -> _Window:
    """Pixels within ``reach`` of a region, inside a frame of (height, width) if one is given."""
    left, top = floor(min(outline.xs) - reach), floor(min(outline.ys) - reach)
    right, bottom = ceil(max(outline.xs) + reach) + 1, ceil(max(outline.ys) + reach) + 1
    if size is None:
        return _Window(left, top, right, bottom, whole=True)
    height, width = size
    whole = left >= 0 and top >= 0 and right <= width and bottom <= height
    return _Window(max(left, 0), max(top, 0), min(right, width), min(bottom, height), whole)


def _inset_pixels(depth: Map, outline: Outline, ratio: float, reach: float) -> NDArray[np.bool_]:
    """Pixels of the inset region, in one piece: the ratio is raised until it is."""
    inset = depth >= reach - _ROUNDING
    if outline.convex:
        return inset
    step = ratio
    while True:
        _, labels = cv2.connectedComponents(inset.astype(np.uint8))
        # A piece that rounding alone has made does not count.
        pieces = np.unique(labels[depth >= reach])
        if len(pieces) == 1:
            return np.asarray(labels == pieces[0])
        if len(pieces) == 0 or ratio >= 1:
            return inset
        ratio = min(1.0, ratio + step)
        reach = outline.area * (1 - ratio * ratio) / outline.perimeter
        inset = depth >= reach - _ROUNDING


def _depth(outline: Outline, window: _Window, reach: float) -> Map:
    """Distance to the outline for each pixel of a window, px.

    ``[h, w]`` float32: positive inside, negative outside, right where it is within ``reach`` of the
    outline, and beyond it at least on the right side of ``reach``.
    """
    if outline.convex:
        runs = np.array(outline.runs, dtype=np.float32)
        before = runs[np.arange(-1, len(runs) - 1)]
        if (-(runs * before).sum(axis=1)).max() <= _SHARPEST_COSINE:
            return _convex_depth(outline, window, (before, runs), reach)
    return _any_depth(outline, window, reach)


def _convex_depth(outline: Outline, window: _Window, edges: tuple[Map, Map], reach: float) -> Map:
    """As :func:`_depth` for a clockwise convex outline.

    Inside, the nearest edge's line is the nearest edge. Outside, only the pixels beyond a corner,
    where the band is round, are nearer to that corner than to any line.

    Args:
        edges: ``[P, 2]`` directions of the edges before and after each corner.
    """
    corners = np.array([outline.xs, outline.ys], dtype=np.float32).T
    corners -= np.array([window.left, window.top], dtype=np.float32)
    height, width = window.bottom - window.top, window.right - window.left
    runs = edges[1]
    across = np.outer(runs[:, 1], np.arange(width, dtype=np.float32))
    down = np.outer(runs[:, 0], np.arange(height, dtype=np.float32))
    down += (runs[:, 1] * corners[:, 0] - runs[:, 0] * corners[:, 1])[:, None]
    depth = np.empty((height, width), dtype=np.float32)
    other = np.empty_like(depth)
    np.subtract(down[0][:, None], across[0], out=depth)
    for edge in range(1, len(runs)):
        np.subtract(down[edge][:, None], across[edge], out=other)
        np.minimum(depth, other, out=depth)
    _round_corners(depth, corners, edges, reach)
    return depth


def _round_corners(depth: Map, corners: Map, edges: tuple[Map, Map], reach: float) -> None:
    """Set the depth of pixels beyond both edges that meet in a corner to the distance from it."""
    before, after = edges
    out_before, out_after = (np.stack([run[:, 1], -run[:, 0]], axis=1) for run in edges)
    tips = out_before + out_after  # where the lines cross that limit the bands of both edges
    tips /= 1 + (out_before * out_after).sum(axis=1, keepdims=True)
    kites = np.stack([np.zeros_like(tips), out_before, out_after, tips]) * np.float32(reach)
    low, high = np.floor(corners + kites.min(axis=0)), corners + kites.max(axis=0)
    starts = low.astype(np.int32)  # [P, 2] first column and row of a corner's kite
    side = ceil((high - low).max()) + 1
    x, y = (low - corners).T[:, :, None] + np.arange(side, dtype=np.float32)  # [P, side] each
    away = (y * before[:, 1:])[:, :, None] + (x * before[:, :1])[:, None] > 0  # [P, side, side]
    away &= (y * after[:, 1:])[:, :, None] + (x * after[:, :1])[:, None] < 0
    distance = np.sqrt((y * y)[:, :, None] + (x * x)[:, None])
    np.negative(distance, out=distance)
    height, width = depth.shape
    for corner, (left, top) in enumerate(starts.tolist()):
        rows = slice(max(0, -top), max(0, height - top))
        columns = slice(max(0, -left), max(0, width - left))
        part = depth[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
        if part.size:
            np.copyto(part, distance[corner, rows, columns], where=away[corner, rows, columns])


def _any_depth(outline: Outline, window: _Window, reach: float) -> Map:
    """As :func:`_depth` for any outline; values stop a pixel beyond ``reach`` on both sides."""
    height, width = window.bottom - window.top, window.right - window.left
    stop = reach + 1
    squared = np.full((height, width), stop * stop, dtype=np.float32)
    xs, ys = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    corners = [
        (x - window.left, y - window.top) for x, y in zip(outline.xs, outline.ys, strict=True)
    ]
    edges = zip(corners, corners[1:] + corners[:1], outline.runs, strict=True)
    for (x0, y0), (x1, y1), (along, up) in edges:
        columns = slice(max(0, floor(min(x0, x1) - stop)), max(0, ceil(max(x0, x1) + stop) + 1))
        rows = slice(max(0, floor(min(y0, y1) - stop)), max(0, ceil(max(y0, y1) + stop) + 1))
        part = squared[rows, columns]
        if not part.size:
            continue
        x, y = xs[columns] - x0, ys[rows] - y0
        beyond = x * along + y * up
        beyond -= np.clip(beyond, 0, hypot(x1 - x0, y1 - y0))
        aside = x * up - y * along
        aside *= aside
        beyond *= beyond
        aside += beyond
        np.minimum(part, aside, out=part)
    depth = np.sqrt(squared, out=squared)
    inside = np.zeros(depth.shape, dtype=np.uint8)
    cv2.fillPoly(inside, [np.rint(np.array(corners) * 16).astype(np.int32)], (1,), shift=4)
    np.negative(depth, out=depth, where=inside == 0)
    return depth
