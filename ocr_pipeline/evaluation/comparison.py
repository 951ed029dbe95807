"""Two models on the same samples: figures with their intervals, and how likely chance made them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.statistics import (
    Interval,
    OperatingPoint,
    Parts,
    Reliability,
    bootstrap_change,
    bootstrap_ratio,
    clopper_pearson,
    guaranteed_threshold,
    lines_needed,
    measured_threshold,
    reliability,
    sum_groups,
    swap_test,
)

WANTED_RATES = (0.001, 0.005, 0.01, 0.02, 0.05)
"""Error rates that thresholds are looked up for."""
SIGNIFICANT = 0.05
"""A p value below this is called unlikely to be luck."""
PERMUTATION = "paired permutation test"
MCNEMAR = "exact McNemar test"


@dataclass(frozen=True)
class Metric:
    """One figure before and after a training; percent, changes in percentage points.

    Attributes:
        name: in ``report.json``.
        title: on the page.
        higher_is_better: or lower.
        before: with its 95 % interval, which has no width where no fault was seen and nothing can
            be said of the next sample; None: there is no model before, or nothing to divide by.
        after: the same of the model after.
        change: after - before; its interval is of pairs, so it may be narrower than both.
        p: two-sided p value of the change.
        test: that gave ``p``.
    """

    name: str
    title: str
    higher_is_better: bool
    before: Interval | None
    after: Interval | None
    change: Interval | None = None
    p: float | None = None
    test: str = ""


@dataclass(frozen=True)
class Share:
    """Part of the samples: how many there are, and how many of them are right.

    Attributes:
        title: on the page.
        total: samples, or regions.
        before: right ones before; None: there is no model before.
        after: right ones after.
        cer_before, cer_after: character error rate, percent; None where it has no meaning.
    """

    title: str
    total: int
    before: int | None
    after: int
    cer_before: float | None = None
    cer_after: float | None = None


@dataclass(frozen=True)
class Threshold:
    """What a wanted error rate costs.

    Attributes:
        wanted: error rate among the accepted, in (0, 1).
        measured: fitted to these samples; None: no threshold does it.
        guaranteed: holds on samples of the same kind with a confidence of 95 %; None: these are too
            few or too wrong to promise it.
        accepted_before: share that the model before has above its own measured threshold.
        needed: samples without any fault that such a promise takes at least.
    """

    wanted: float
    measured: OperatingPoint | None
    guaranteed: OperatingPoint | None
    accepted_before: float | None
    needed: int


@dataclass(frozen=True)
class Confidence:
    """How far confidences can be trusted.

    Attributes:
        samples: readings, or detections.
        before: reliability of the model before, where there is one.
        after: of the model after.
        thresholds: one for each of :data:`WANTED_RATES`.
    """

    samples: int
    before: Reliability | None
    after: Reliability
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True)
class Rated:
    """Confidences ``[N]`` in [0, 1], and whether each of them was right, ``[N]``."""

    confidences: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, bool]]) -> "Rated":
        """From (confidence, right) of each; a mean may lie a hair outside [0, 1]."""
        rows = list(pairs)
        confidences = np.clip(np.array([c for c, _ in rows], dtype=np.float64), 0.0, 1.0)
        return cls(confidences, np.array([r for _, r in rows], dtype=bool))


def compare(
    name: str,
    title: str,
    before: Parts | None,
    after: Parts,
    *,
    groups: NDArray[np.integer] | None = None,
    higher_is_better: bool = True,
    p: float | None = None,
) -> Metric:
    """Compare a ratio of sums.

    Args:
        name, title, higher_is_better: of the metric.
        before, after: ``[N, 2]``, see :data:`~ocr_pipeline.ops.statistics.Parts`.
        groups: ``[N]`` samples of one number are drawn together; None: each for itself.
        p: of the McNemar test, where it applies; None: a permutation test is made.
    """
    if groups is not None:
        after = sum_groups(after, groups)
        before = None if before is None else sum_groups(before, groups)
    ends = _interval(after, shares=higher_is_better)
    first = None if before is None else _interval(before, shares=higher_is_better)
    if before is None or first is None or ends is None:
        return Metric(name, title, higher_is_better, before=None, after=ends)
    return Metric(
        name,
        title,
        higher_is_better,
        before=first,
        after=ends,
        change=_percent(bootstrap_change(before, after)),
        p=swap_test(before, after) if p is None else p,
        test=PERMUTATION if p is None else MCNEMAR,
    )


def compare_confidences(before: Rated | None, after: Rated) -> Confidence | None:
    """Reliability and thresholds; None where nothing was read or found."""
    if not len(after.right):
        return None
    known = before if before is not None and len(before.right) else None
    thresholds = tuple(_threshold(known, after, wanted) for wanted in WANTED_RATES)
    first = None if known is None else reliability(known.confidences, known.right)
    return Confidence(
        len(after.right), first, reliability(after.confidences, after.right), thresholds
    )


def group_numbers(keys: Iterable[object]) -> NDArray[np.int64] | None:
    """Number samples by their key, ``[N]``; None where all keys differ."""
    numbers: dict[object, int] = {}
    found = [numbers.setdefault(key, len(numbers)) for key in keys]
    return None if len(numbers) == len(found) else np.array(found, dtype=np.int64)


def share_of(title: str, rows: Sequence[tuple[bool | None, bool]]) -> Share:
    """Count (right before, right after) of each sample; None before: there is no model before."""
    before = [first for first, _ in rows if first is not None]
    after = sum(last for _, last in rows)
    return Share(title, len(rows), sum(before) if len(before) == len(rows) else None, after)


def plain(value: Any) -> Any:
    """Make what ``dataclasses.asdict`` gives fit for JSON: no arrays, no NaN."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Interval):
        return {key: plain(inner) for key, inner in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _threshold(before: Rated | None, after: Rated, wanted: float) -> Threshold:
    earlier = None
    if before is not None:
        point = measured_threshold(before.confidences, before.right, wanted)
        earlier = 0.0 if point is None else point.accepted / len(before.right)
    return Threshold(
        wanted,
        measured_threshold(after.confidences, after.right, wanted),
        guaranteed_threshold(after.confidences, after.right, wanted),
        earlier,
        lines_needed(wanted),
    )


def _interval(parts: Parts, *, shares: bool) -> Interval | None:
    """None where there is nothing to divide by.

    Args:
        parts: ``[N, 2]``.
        shares: no numerator is above its denominator.
    """
    if parts[:, 1].sum() <= 0:
        return None
    found = bootstrap_ratio(parts)
    alike = bool((parts[:, 1] == parts[0, 1]).all())
    if shares and alike and found.value in (0.0, 1.0):
        # All right or all wrong: draws cannot differ, but the next sample can.
        found = clopper_pearson(len(parts) if found.value else 0, len(parts))
    return _percent(found)


def _percent(interval: Interval) -> Interval:
    return Interval(*(100 * value for value in interval))
