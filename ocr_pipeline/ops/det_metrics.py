"""Accuracy of found text regions: the protocol of ICDAR 2015, incidental text, task 4.1.

Karatzas et al., "ICDAR 2015 competition on Robust Reading", ICDAR 2015, pp. 1156-1160, with the
rules of its evaluation by intersection over union (https://rrc.cvc.uab.es/?ch=4):

- a detection and a truth region match where their intersection over union is above 0.5, one to one;
- a truth region may be marked "ignore": whether it is found does not count;
- a detection with more than half of its own area inside one ignored region does not count either;
- figures are of the counts summed over all pictures, not means over pictures.

Where regions overlap so much that several pairings are possible, the largest one counts (the
competition takes the first), so the order of the lists does not matter.

Areas are exact for any outline, convex or not, and never rasterised: both outlines are cut into
horizontal bands in which no two edges cross, and there an overlap is a trapezoid. Where an outline
crosses itself, the even-odd rule says what is inside.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IOU_ABOVE = 0.5
"""A pair matches above this intersection over union."""
_IGNORED_ABOVE = 0.5
"""A detection with more than this share of its area in an ignored region is not counted."""
_BANDS = 256
"""Bands that are measured together: bounds the memory of outlines of thousands of points."""

Outline = NDArray[np.floating]
"""``[P, 2]`` (x, y) px, P >= 3, clockwise or not."""
Pair = tuple[int, int]
"""Number of a detection and of a truth region."""


@dataclass(frozen=True)
class RegionScore:
    """Counts over pictures, and what follows from them; scores of parts are added with ``+``.

    Attributes:
        truths: truth regions that count.
        detections: detections that count.
        matched: pairs of both, one to one.
        ignored_truths: truth regions marked "ignore".
        ignored_detections: detections inside those.
    """

    truths: int = 0
    detections: int = 0
    matched: int = 0
    ignored_truths: int = 0
    ignored_detections: int = 0

    def __add__(self, other: "RegionScore") -> "RegionScore":
        return RegionScore(
            self.truths + other.truths,
            self.detections + other.detections,
            self.matched + other.matched,
            self.ignored_truths + other.ignored_truths,
            self.ignored_detections + other.ignored_detections,
        )

    @property
    def precision(self) -> float:
        """Detections that are right, percent. Without any: 0, or 100 where there is no text."""
        if self.detections == 0:
            return 0.0 if self.truths else 100.0
        return 100 * self.matched / self.detections

    @property
    def recall(self) -> float:
        """Truth regions that were found, percent; 100 where there is none to find."""
        return 100 * self.matched / self.truths if self.truths else 100.0

    @property
    def hmean(self) -> float:
        """Harmonic mean of precision and recall, percent; 0 where one of them is 0."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True)
class ComparedPage:
    """Detections of one picture beside its truth.

    Attributes:
        close: pairs that overlap enough to match, both of which count; closest first.
        counted_found: which detections count.
        counted_truths: which truth regions count.
    """

    close: tuple[Pair, ...]
    counted_found: tuple[bool, ...]
    counted_truths: tuple[bool, ...]

    def pairs(self, is_right: Callable[[int, int], bool] | None = None) -> list[Pair]:
        """As many pairs as possible, one to one, sorted.

        Args:
            is_right: called with the numbers of a detection and a truth region; whether the pair
                may be taken (its text is right, say). None: any pair may.
        """
        allowed = [pair for pair in self.close if is_right is None or is_right(*pair)]
        return _largest_pairing(allowed)

    def score(self, is_right: Callable[[int, int], bool] | None = None) -> RegionScore:
        """Counts of this picture; see :meth:`pairs`."""
        return RegionScore(
            truths=sum(self.counted_truths),
            detections=sum(self.counted_found),
            matched=len(self.pairs(is_right)),
            ignored_truths=self.counted_truths.count(False),
            ignored_detections=self.counted_found.count(False),
        )


def compare_page(
    found: Sequence[Outline], truths: Sequence[Outline], ignore: Sequence[bool]
) -> ComparedPage:
    """Compare what was found on one picture with its truth.

    Args:
        found: detections.
        truths: truth regions; both lists may be empty.
        ignore: for each truth region, whether it is marked "ignore".

    Raises:
        ValueError: an outline that is not ``[P, 2]`` with P >= 3 and finite numbers, or another
            number of marks than of truth regions.
    """
    if len(truths) != len(ignore):
        raise ValueError(f"{len(ignore)} ignore marks for {len(truths)} truth regions")
    left, right = _Measured.of(found), _Measured.of(truths)
    marked = np.array(ignore, dtype=bool)
    boxes = _box_overlaps(left.boxes, right.boxes)
    aside = _are_ignored(left, right, boxes, marked)
    # No overlap is larger than that of the upright boxes, or than either region.
    most = np.minimum(boxes, np.minimum(left.areas[:, None], right.areas[None]))
    possible = _iou(most, left.areas[:, None], right.areas[None]) > IOU_ABOVE
    close = []
    for at, to in np.argwhere(possible & ~aside[:, None] & ~marked[None]).tolist():
        shared = overlap_area(left.outlines[at], right.outlines[to])
        iou = shared / (left.areas[at] + right.areas[to] - shared)
        if iou > IOU_ABOVE:
            close.append((-iou, at, to))
    return ComparedPage(
        close=tuple((at, to) for _, at, to in sorted(close)),
        counted_found=tuple((~aside).tolist()),
        counted_truths=tuple((~marked).tolist()),
    )


def total(scores: Sequence[RegionScore]) -> RegionScore:
    """Sum of the scores of pictures."""
    return sum(scores, RegionScore())


def overlap_area(first: Outline, second: Outline) -> float:
    """Area that lies inside both outlines, px squared; exact but for rounding."""
    top = max(float(first[:, 1].min()), float(second[:, 1].min()))
    bottom = min(float(first[:, 1].max()), float(second[:, 1].max()))
    if top >= bottom:
        return 0.0
    of_first, of_second = _edges(first, top, bottom), _edges(second, top, bottom)
    edges = np.concatenate([of_first, of_second])
    is_first = np.arange(len(edges)) < len(of_first)
    levels = _levels(edges, top, bottom)
    blocks = (levels[at : at + _BANDS + 1] for at in range(0, len(levels) - 1, _BANDS))
    return sum(_area_in_bands(edges, is_first, block) for block in blocks)


def region_area(outline: Outline) -> float:
    """Area inside an outline, px squared; see :func:`overlap_area`."""
    return overlap_area(outline, outline)


@dataclass(frozen=True)
class _Measured:
    """Outlines of one kind on a picture.

    Attributes:
        outlines: float64.
        areas: ``[N]`` float64 px squared.
        boxes: ``[N, 4]`` float64 px: left, top, right, bottom.
    """

    outlines: list[NDArray[np.float64]]
    areas: NDArray[np.float64]
    boxes: NDArray[np.float64]

    @classmethod
    def of(cls, outlines: Sequence[Outline]) -> "_Measured":
        checked = [_checked(outline) for outline in outlines]
        boxes = [np.concatenate([o.min(axis=0), o.max(axis=0)]) for o in checked]
        return cls(
            outlines=checked,
            areas=np.array([region_area(outline) for outline in checked], dtype=np.float64),
            boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        )


def _checked(outline: Outline) -> NDArray[np.float64]:
    points = np.asarray(outline, dtype=np.float64)
    if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3:
        raise ValueError(f"an outline of shape {points.shape}; expected [P, 2] with P >= 3")
    if not np.isfinite(points).all():
        raise ValueError(f"an outline with points that are not finite: {points.tolist()}")
    return points


def _box_overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas shared by upright boxes: ``[N, 4]`` and ``[M, 4]`` to ``[N, M]``, px squared."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2))


def _are_ignored(
    found: _Measured,
    truths: _Measured,
    boxes: NDArray[np.float64],
    marked: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which detections lie in a region that is marked, ``[N]``."""
    aside = np.zeros(len(found.areas), dtype=bool)
    enough = _IGNORED_ABOVE * found.areas
    for at, to in np.argwhere((boxes > enough[:, None]) & marked[None]).tolist():
        if not aside[at]:
            aside[at] = overlap_area(found.outlines[at], truths.outlines[to]) > enough[at]
    return aside


def _iou(
    shared: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intersection over union of areas; 0 where a region has none."""
    union = first + second - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def _edges(outline: Outline, top: float, bottom: float) -> NDArray[np.float64]:
    """Edges that reach between two heights: ``[E, 4]`` x0, y0, x1, y1 with y0 < y1.

    Level edges bound no band; they are left out.
    """
    start = np.asarray(outline, dtype=np.float64)
    edges = np.concatenate([start, np.roll(start, -1, axis=0)], axis=1)
    edges = np.where(edges[:, 1:2] < edges[:, 3:4], edges, edges[:, [2, 3, 0, 1]])
    reaches = (edges[:, 1] < edges[:, 3]) & (edges[:, 1] < bottom) & (edges[:, 3] > top)
    return edges[reaches]


def _area_in_bands(
    edges: NDArray[np.float64], is_first: NDArray[np.bool_], levels: NDArray[np.float64]
) -> float:
    """Area inside both outlines between the first and the last of some levels, px squared."""
    here = (edges[:, 1] < levels[-1]) & (edges[:, 3] > levels[0])
    edges, is_first = edges[here], is_first[here]
    middles, heights = (levels[1:] + levels[:-1])[:, None] / 2, np.diff(levels)
    crosses = (edges[:, 1] < middles) & (middles < edges[:, 3])  # [bands, edges]
    # Edges that are not in a band go to the right end, where nothing is left to measure.
    x = np.where(crosses, _x_at(edges, middles), edges[:, [0, 2]].max())
    order = np.argsort(x, axis=1)
    x, crosses = (np.take_along_axis(values, order, axis=1) for values in (x, crosses))
    in_first = np.cumsum(crosses & is_first[order], axis=1) % 2 == 1
    in_second = np.cumsum(crosses & ~is_first[order], axis=1) % 2 == 1
    widths = np.where((in_first & in_second)[:, :-1], np.diff(x, axis=1), 0).sum(axis=1)
    return float((heights * widths).sum())


def _x_at(edges: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """x of each edge's line at heights ``y``, which is broadcast against ``[E]``."""
    x0, y0, x1, y1 = edges.T
    return np.asarray(x0 + (x1 - x0) * ((y - y0) / (y1 - y0)))


def _levels(edges: NDArray[np.float64], top: float, bottom: float) -> NDArray[np.float64]:
    """Heights between which no two edges cross, ``[bands + 1]``, from top to bottom."""
    first, second = np.triu_indices(len(edges), k=1)
    high = np.maximum(edges[first, 1], edges[second, 1])
    low = np.minimum(edges[first, 3], edges[second, 3])
    beside = high < low  # both edges are there between high and low
    first, second, high, low = first[beside], second[beside], high[beside], low[beside]
    before = _x_at(edges[first], high) - _x_at(edges[second], high)
    after = _x_at(edges[first], low) - _x_at(edges[second], low)
    cross = before * after < 0
    before, after = before[cross], after[cross]
    at = high[cross] + (low[cross] - high[cross]) * (before / (before - after))
    levels = np.concatenate([edges[:, 1], edges[:, 3], at, [top, bottom]])
    return np.unique(levels[(levels >= top) & (levels <= bottom)])


def _largest_pairing(pairs: Sequence[Pair]) -> list[Pair]:
    """As many of ``pairs`` as possible so that no number is used twice (augmenting paths)."""
    choices: dict[int, list[int]] = {}
    for found, truth in pairs:
        choices.setdefault(found, []).append(truth)
    truth_of: dict[int, int] = {}
    found_of: dict[int, int] = {}
    for start in choices:
        _add_one(start, choices, truth_of, found_of)
    return sorted(truth_of.items())


def _add_one(
    start: int,
    choices: dict[int, list[int]],
    truth_of: dict[int, int],
    found_of: dict[int, int],
) -> None:
    """Pair one more detection, where others can make room for it."""
    reached_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        found = waiting.popleft()
        for truth in choices[found]:
            if truth in reached_from:
                continue
            reached_from[truth] = found
            if truth in found_of:
                waiting.append(found_of[truth])
                continue
            _shift(truth, reached_from, truth_of, found_of)
            return


def _shift(
    free: int, reached_from: dict[int, int], truth_of: dict[int, int], found_of: dict[int, int]
) -> None:
    """Give each detection of a path the truth region that was reached from it."""
    truth: int | None = free
    while truth is not None:
        found = reached_from[truth]
        previous = truth_of.get(found)
        truth_of[found], found_of[truth] = truth, found
        truth = previous
