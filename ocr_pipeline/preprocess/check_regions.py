"""Faults of outlines: of the regions of a picture, and of a line cut out of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.ops.geometry import order_corners
from ocr_pipeline.ops.polygons import clockwise, crosses_itself, signed_area
from ocr_pipeline.preprocess.check_text import Note

Point = tuple[float, float]
Outline = tuple[Point, ...]
_MIN_AREA = 1.0
_MAX_POINTS = 2000
_FAR = 1.0
"""No point lies so many times the picture's longer side beyond it: a cut would fill the memory."""
_LAYOUT = 1000.0
"""Side of the square that the layouts of copies of any size are drawn on."""
_LEVEL = 1.5
"""A region at least this much wider than high is a level line."""


@dataclass(frozen=True)
class OutlineCheck:
    """An outline after its checks.

    Attributes:
        points: mended outline; None: nothing is left that could even be masked out.
        refused: it shall not be trained on.
        notes: what was found, in order.
    """

    points: Outline | None
    refused: bool
    notes: tuple[Note, ...]


def check_outline(
    points: Outline, size: tuple[int, int], config: CheckConfig, *, turned_is_meant: bool
) -> OutlineCheck:
    """Look for all faults of one outline, and mend what the policies let be mended.

    Args:
        points: (x, y) px.
        size: (height, width) of the picture, px.
        config: policies.
        turned_is_meant: a start at the bottom right says that the text is upside down, and stays.
    """
    hopeless = _hopeless(points, size)
    if hopeless is not None:
        return OutlineCheck(None, True, (hopeless,))
    notes: list[Note] = []
    refused = False
    outline = np.array(points, dtype=np.float32)
    for fault, find in _STEPS:
        found = find(outline, size, config, turned_is_meant)
        if found is None:
            continue
        detail, mended = found
        action = config.action(fault)
        if action == "fix" and mended is None:
            action = "refuse"
        notes.append(Note(fault, action, detail))
        refused = refused or action == "refuse"
        if action == "fix" and mended is not None:
            outline = mended
    unchanged = not any(note.action == "fix" for note in notes)
    return OutlineCheck(points if unchanged else _as_points(outline), refused, tuple(notes))


def overlapping(outlines: Sequence[Outline], limit: float) -> list[tuple[int, int]]:
    """Pairs (first, second) of outlines whose intersection over union is above ``limit``.

    Each second one is named once. Outlines that are not convex count as their hull.
    """
    hulls = [_hull(points) for points in outlines]
    if len(hulls) < 2:
        return []
    low = np.array([hull.min(axis=(0, 1)) for hull in hulls])
    high = np.array([hull.max(axis=(0, 1)) for hull in hulls])
    boxes = np.prod(high - low, axis=1)
    pairs = []
    for second in range(1, len(hulls)):
        both = np.minimum(high[:second], high[second]) - np.maximum(low[:second], low[second])
        shared = np.prod(both.clip(0), axis=1)
        # Loose: for turned hulls the boxes overlap otherwise than the hulls do.
        near = shared > limit / 2 * np.minimum(boxes[:second], boxes[second])
        for first in np.flatnonzero(near).tolist():
            if _overlap(hulls[first], hulls[second]) > limit:
                pairs.append((int(first), second))
                break
    return pairs


class Layout:
    """Where the regions of a picture are, to be compared with a copy of any size.

    Args:
        outlines: of the regions, (x, y) px.
        size: (height, width) of the picture, px.
    """

    def __init__(self, outlines: Sequence[Outline], size: tuple[int, int]) -> None:
        scale = _LAYOUT / np.array([size[1], size[0]], dtype=np.float64)
        self._hulls = [_hull(np.array(points, dtype=np.float64) * scale) for points in outlines]
        self._low = np.array([hull.min(axis=(0, 1)) for hull in self._hulls]).reshape(-1, 2)
        self._high = np.array([hull.max(axis=(0, 1)) for hull in self._hulls]).reshape(-1, 2)

    def is_like(self, other: "Layout", limit: float) -> bool:
        """Whether there are as many regions, and each overlaps one of the other by ``limit``.

        Args:
            other: of the copy.
            limit: intersection over union of the hulls.
        """
        if len(self._hulls) != len(other._hulls):
            return False
        return all(
            # Copies mostly have their regions in one order.
            np.array_equal(hull, other._hulls[number])
            or _overlap(hull, other._hulls[number]) >= limit
            or self._has(number, other, limit)
            for number, hull in enumerate(self._hulls)
        )

    def _has(self, number: int, other: "Layout", limit: float) -> bool:
        low, high = self._low[number], self._high[number]
        near = np.all((other._low < high) & (low < other._high), axis=1)
        hulls = (other._hulls[at] for at in np.flatnonzero(near).tolist())
        return any(_overlap(self._hulls[number], hull) >= limit for hull in hulls)


def _hull(points: Outline | NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(cv2.convexHull(np.array(points, dtype=np.float32)), dtype=np.float32)


def _overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    shared, _ = cv2.intersectConvexConvex(first, second)
    union = cv2.contourArea(first) + cv2.contourArea(second) - shared
    return float(shared / union) if union > 0 else 0.0


def _hopeless(points: Outline, size: tuple[int, int]) -> Note | None:
    """A fault after which no outline is left."""
    if len(points) < 3:
        return Note("too_few_points", "refuse", f"{len(points)} points; allowed: 3 or more")
    if len(points) > _MAX_POINTS:
        detail = f"{len(points):,} points; allowed: {_MAX_POINTS:,}. Draw it with fewer"
        return Note("too_many_points", "refuse", detail)
    with np.errstate(over="ignore"):
        outline = np.array(points, dtype=np.float64).astype(np.float32)
    if not np.isfinite(outline).all():
        return Note("not_finite", "refuse", f"points {_brief(points)}; allowed: finite numbers")
    return _lost(points, outline, size) or _without_area(points, outline)


def _without_area(points: Outline, outline: NDArray[np.float32]) -> Note | None:
    hull = cv2.contourArea(cv2.convexHull(outline))
    if len(set(points)) < 3 or hull < _MIN_AREA:
        return Note(
            "degenerate_region",
            "refuse",
            f"points {_brief(points)} enclose {hull:.1f} px; allowed: {_MIN_AREA:g} px or more",
        )
    return None


def _lost(points: Outline, outline: NDArray[np.float32], size: tuple[int, int]) -> Note | None:
    """Whether an outline is nowhere near the picture."""
    height, width = size
    low, high = outline.min(axis=0), outline.max(axis=0)
    if high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
        return Note(
            "wholly_outside",
            "refuse",
            f"points {_brief(points)} lie beside the picture of {width} x {height} px",
        )
    beyond = _beyond(outline, size)
    if beyond > _FAR * max(size):
        detail = (
            f"points {_brief(points)} reach {beyond:.4g} px beyond the picture of "
            f"{width} x {height} px; allowed: its longer side under any policy. Draw it again"
        )
        return Note("partly_outside", "refuse", detail)
    return None


def _beyond(outline: NDArray[np.float32], size: tuple[int, int]) -> float:
    """How far the outermost point lies outside a picture of (height, width) px; negative: in it."""
    return max(
        -float(outline.min()),
        float(outline[:, 0].max()) - size[1],
        float(outline[:, 1].max()) - size[0],
    )


# Each step: outline, picture size, config and how a turned start is read to (one sentence, mended
# outline or None), or None.
_Found = tuple[str, NDArray[np.float32] | None] | None
_Step = Callable[[NDArray[np.float32], tuple[int, int], CheckConfig, bool], _Found]


def _find_crossing(
    outline: NDArray[np.float32], _size: tuple[int, int], _config: CheckConfig, _turned: bool
) -> _Found:
    if not crosses_itself(outline):
        return None
    detail = f"the outline {_brief(_as_points(outline))} crosses itself"
    if len(outline) != 4:
        return f"{detail}; more than four corners cannot be put in order: draw it again", None
    return f"{detail}; corners go clockwise from top-left", _around_middle(outline)


def _find_wrong_order(
    outline: NDArray[np.float32], _size: tuple[int, int], _config: CheckConfig, _turned: bool
) -> _Found:
    if signed_area(outline) >= 0:
        return None
    detail = f"the outline {_brief(_as_points(outline))} runs counter-clockwise"
    return f"{detail}; allowed: clockwise from top-left", clockwise(outline)


def _find_wrong_start(
    outline: NDArray[np.float32], _size: tuple[int, int], _config: CheckConfig, turned: bool
) -> _Found:
    if len(outline) != 4 or crosses_itself(outline) or not _is_level(outline):
        return None
    first = order_corners(outline)[0]
    start = int(np.flatnonzero((outline == first).all(axis=1))[0])
    if start == 0 or (turned and start == 2):
        return None
    begins = ("top-left", "top-right", "bottom-right", "bottom-left")[-start]
    return f"the first point is the {begins} one; allowed: top-left", np.roll(outline, -start, 0)


def _find_outside(
    outline: NDArray[np.float32], size: tuple[int, int], config: CheckConfig, _turned: bool
) -> _Found:
    height, width = size
    beyond = _beyond(outline, size)
    if beyond <= config.outside_px:
        return None
    clipped = np.clip(outline, 0, np.array([width, height], dtype=np.float32))
    detail = f"the outline reaches {beyond:.0f} px beyond the picture of {width} x {height} px"
    if cv2.contourArea(cv2.convexHull(clipped)) < _MIN_AREA:
        return f"{detail}; nothing is left of it when clipped", None
    return f"{detail}; it is clipped by the policy fix", clipped


_STEPS: tuple[tuple[str, _Step], ...] = (
    ("self_crossing", _find_crossing),
    ("wrong_order", _find_wrong_order),
    ("wrong_start", _find_wrong_start),
    ("partly_outside", _find_outside),
)


def _around_middle(outline: NDArray[np.float32]) -> NDArray[np.float32]:
    """The corners by their angle around the middle, clockwise, top-left first."""
    way = outline - outline.mean(axis=0)
    ring = outline[np.argsort(np.arctan2(way[:, 1], way[:, 0]), kind="stable")]
    first = order_corners(outline)[0]
    start = int(np.flatnonzero((ring == first).all(axis=1))[0])
    return np.roll(ring, -start, axis=0)


def _is_level(outline: NDArray[np.float32]) -> bool:
    """A quadrilateral clearly wider than high whose long sides are less than 30 degrees steep."""
    corners = order_corners(outline)
    run = (corners[1] - corners[0] + corners[2] - corners[3]) / 2
    rise = (corners[3] - corners[0] + corners[2] - corners[1]) / 2
    length, height = float(np.hypot(run[0], run[1])), float(np.hypot(rise[0], rise[1]))
    return length >= _LEVEL * height and abs(float(run[1])) * 2 < length


def _as_points(outline: NDArray[np.float32]) -> Outline:
    return tuple((float(x), float(y)) for x, y in outline)


def _brief(points: Outline) -> str:
    shown = ", ".join(f"({x:g}, {y:g})" for x, y in points[:6])
    return f"[{shown}{', …' if len(points) > 6 else ''}]"
