"""How sure a measured figure is, and where to draw the line between sure and unsure readings."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_DRAWS = 10_000
_CELLS = 1 << 22
"""Random numbers in memory at a time."""
_SLACK = 1e-12
"""Two ratios that differ by less are the same one, added up in another order."""
_TERMS_END = 1e-18
_BISECTIONS = 60

Parts = NDArray[np.float64]
"""``[N, 2]``: what each sample adds to the numerator and to the denominator of a ratio of sums.
Exact match: (1 or 0, 1). CER: (edits, characters). Precision: (matched, predicted)."""


class Interval(NamedTuple):
    """A figure with the ends of its confidence interval."""

    value: float
    low: float
    high: float


# --- ratios of sums


def sum_groups(parts: Parts, groups: NDArray[np.integer]) -> Parts:
    """Add up the parts of samples that belong together, such as the lines of one picture.

    Lines of one picture are hard or easy together. Counted as if each stood for itself, intervals
    come out too narrow; drawn as whole pictures, they do not.

    Args:
        parts: ``[N, 2]``.
        groups: ``[N]`` number of each sample's group, any integers.

    Returns:
        ``[G, 2]``, by rising group number.
    """
    _, index = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(index.ravel(), column) for column in parts.T], axis=1)


def bootstrap_ratio(
    parts: Parts, *, level: float = 0.95, draws: int = _DRAWS, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of a ratio of sums (Efron, Annals of Statistics 7, 1979).

    Samples are drawn with replacement, as many as there are. Where no draw differs (all lines were
    right), the interval has no width, which says nothing; see :func:`clopper_pearson`.

    Args:
        parts: ``[N, 2]``.
        level: share of the interval, in (0, 1).
        draws: sets that are drawn; those whose denominator is zero do not count.
        seed: of the drawing.

    Raises:
        ValueError: no sample, another shape, or denominators that add up to zero.
    """
    _check_parts(parts)
    value = _ratio(parts.sum(axis=0))
    drawn = np.concatenate([_ratios(sums) for sums in _resampled(parts, draws, seed)])
    return _percentiles(float(value), drawn, level)


def bootstrap_change(
    before: Parts, after: Parts, *, level: float = 0.95, draws: int = _DRAWS, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of (ratio after - ratio before); samples are drawn as pairs.

    Args:
        before, after: ``[N, 2]`` of the same samples in the same order.
        level, draws, seed: as in :func:`bootstrap_ratio`.

    Raises:
        ValueError: not the same samples, none, or denominators that add up to zero.
    """
    both = _paired(before, after)
    value = _ratio(after.sum(axis=0)) - _ratio(before.sum(axis=0))
    drawn = [_change(sums) for sums in _resampled(both, draws, seed)]
    return _percentiles(float(value), np.concatenate(drawn), level)


def swap_test(before: Parts, after: Parts, *, draws: int = _DRAWS, seed: int = 0) -> float:
    """Two-sided p value of a paired permutation test (Fisher 1935; Noreen 1989).

    If both models were equally good, either reading of a sample might have come from either model:
    each pair is swapped by the toss of a coin. The result is the share of such worlds whose ratios
    lie at least as far apart as the measured ones, the measured world counted among them.

    Args:
        before, after: ``[N, 2]`` of the same samples in the same order.
        draws: worlds; the smallest result is ``1 / (draws + 1)``.
        seed: of the coin.

    Raises:
        ValueError: not the same samples, none, or denominators that add up to zero.
    """
    both = _paired(before, after)
    seen = abs(float(_change(both.sum(axis=0, keepdims=True))[0]))
    rows, counts = np.unique(both, axis=0, return_counts=True)
    gains = rows[:, [2, 3, 0, 1]] - rows  # what a swap adds to the sums
    total = both.sum(axis=0)
    random = np.random.default_rng(seed)
    as_far = 0
    for size in _chunks(draws, len(rows)):
        swapped = random.binomial(counts, 0.5, size=(size, len(rows)))  # [size, U]
        changes = np.abs(_change(total + swapped @ gains))
        as_far += int(np.count_nonzero(changes >= seen - _SLACK))
    return (1 + as_far) / (1 + draws)


def _paired(before: Parts, after: Parts) -> NDArray[np.float64]:
    if before.shape != after.shape:
        raise ValueError(
            f"parts of shape {before.shape} before and {after.shape} after; expected the same "
            "samples"
        )
    _check_parts(before)
    _check_parts(after)
    return np.concatenate([before, after], axis=1)  # [N, 4]


def _check_parts(parts: Parts) -> None:
    if parts.ndim != 2 or parts.shape[1] != 2 or not len(parts):
        raise ValueError(f"parts of shape {parts.shape}; expected [N, 2] with N >= 1")
    if parts[:, 1].sum() <= 0:
        raise ValueError("denominators add up to zero: there is nothing to divide by")


def _resampled(parts: NDArray[np.float64], draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield column sums ``[size, C]`` of drawn sets.

    Samples with equal values are drawn together, by a multinomial: the same chances, and a million
    lines cost what their few hundred different values do.
    """
    rows, counts = np.unique(parts, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    for size in _chunks(draws, len(rows)):
        yield random.multinomial(len(parts), counts / len(parts), size=size) @ rows


def _chunks(draws: int, width: int) -> Iterator[int]:
    most = max(1, _CELLS // width)
    for start in range(0, draws, most):
        yield min(most, draws - start)


def _ratio(sums: NDArray[np.float64]) -> float:
    return float(sums[0] / sums[1])


def _ratios(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[D, 2]`` to ``[D]``; NaN where there is nothing to divide by."""
    ratios = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=ratios, where=sums[:, 1] > 0)
    return ratios


def _change(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[D, 4]`` (before, after) to the change of the ratio, ``[D]``."""
    return _ratios(sums[:, 2:]) - _ratios(sums[:, :2])


def _percentiles(value: float, drawn: NDArray[np.float64], level: float) -> Interval:
    ends = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.nanpercentile(drawn, ends)
    return Interval(value, float(low), float(high))


# --- shares


def mcnemar(mended: int, broken: int) -> float:
    """Two-sided p value of the exact McNemar test (McNemar, Psychometrika 12, 1947).

    Of the samples that one model has right and the other wrong, each would fall on either side
    with even chances if the models were equally good.

    Args:
        mended: samples that are wrong before and right after.
        broken: samples that are right before and wrong after.

    Raises:
        ValueError: a negative number.
    """
    if mended < 0 or broken < 0:
        raise ValueError(f"{mended} mended, {broken} broken; both are at least 0")
    return min(1.0, 2 * binomial_cdf(min(mended, broken), mended + broken, 0.5))


def binomial_cdf(events: int, trials: int, chance: float) -> float:
    """Probability of at most ``events`` in ``trials`` independent tries.

    Args:
        events: at least 0; of ``trials`` or more: 1.
        trials: at least 0.
        chance: of each try, in [0, 1].
    """
    if events >= trials or chance <= 0:
        return 1.0
    if chance >= 1:
        return 0.0
    if events <= trials * chance:  # the small side is added up, from its largest term on
        return _tail(events, trials, chance)
    return 1.0 - _tail(trials - events - 1, trials, 1 - chance)


def _tail(events: int, trials: int, chance: float) -> float:
    """Sum of the probabilities of 0 to ``events``, all below the mean."""
    log_term = math.lgamma(trials + 1) - math.lgamma(events + 1) - math.lgamma(trials - events + 1)
    log_term += events * math.log(chance) + (trials - events) * math.log1p(-chance)
    odds = (1 - chance) / chance
    term = total = 1.0  # times the first one, which may be very small
    for number in range(events, 0, -1):
        term *= number / (trials - number + 1) * odds
        total += term
        if term < _TERMS_END * total:
            break
    return math.exp(log_term) * total


def upper_bound(events: int, trials: int, *, level: float = 0.95) -> float:
    """One-sided Clopper-Pearson bound (Biometrika 26, 1934): the chance is not above it.

    Args:
        events: out of ``trials``.
        trials: 0: nothing is known, the bound is 1.
        level: how sure the bound is, in (0, 1).
    """
    if events >= trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if binomial_cdf(events, trials, middle) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def clopper_pearson(events: int, trials: int, *, level: float = 0.95) -> Interval:
    """Two-sided Clopper-Pearson interval of a share; never too narrow.

    Raises:
        ValueError: no trial, or more events than trials.
    """
    _check_share(events, trials)
    one_sided = (1 + level) / 2
    high = upper_bound(events, trials, level=one_sided)
    low = 1 - upper_bound(trials - events, trials, level=one_sided)
    return Interval(events / trials, low, high)


def wilson(events: int, trials: int, *, level: float = 0.95) -> Interval:
    """Two-sided score interval of a share (Wilson, JASA 22, 1927); has width at 0 and 1 too.

    Raises:
        ValueError: no trial, or more events than trials.
    """
    _check_share(events, trials)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = events / trials
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At the ends the formula is exact on paper only.
    low = 0.0 if events == 0 else (middle - reach) / scale
    high = 1.0 if events == trials else (middle + reach) / scale
    return Interval(share, low, high)


def _check_share(events: int, trials: int) -> None:
    if trials < 1 or not 0 <= events <= trials:
        raise ValueError(f"{events} of {trials}; expected at least one trial, and 0 to all events")


# --- confidences


@dataclass(frozen=True)
class Reliability:
    """How often readings of some confidence are right.

    Attributes:
        edges: ``[B + 1]`` of the bins, rising from 0 to 1; a bin holds its upper end.
        counts: ``[B]`` readings in each bin.
        confidences: ``[B]`` their mean confidence; NaN in an empty bin.
        accuracies: ``[B]`` share that is right; NaN in an empty bin.
        ece: expected calibration error in [0, 1]: mean distance of both, by readings.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidences: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    ece: float


def reliability(
    confidences: NDArray[np.floating[Any]], right: NDArray[np.bool_], *, bins: int = 10
) -> Reliability:
    """Reliability bins and expected calibration error (arXiv:1706.04599), bins of equal width.

    Args:
        confidences: ``[N]`` in [0, 1].
        right: ``[N]`` whether the reading is right.
        bins: number of them.

    Raises:
        ValueError: no reading, other lengths, or confidences outside [0, 1].
    """
    _check_confidences(confidences, right)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    sums = np.stack([np.bincount(index, row, minlength=bins) for row in (confidences, right)])
    means = np.full((2, bins), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    ece = float(np.abs(sums[0] - sums[1]).sum() / len(confidences))
    return Reliability(edges, counts.astype(np.int64), means[0], means[1], ece)


@dataclass(frozen=True)
class OperatingPoint:
    """What is accepted from a confidence on.

    Attributes:
        wanted: error rate among accepted readings that must not be exceeded, in [0, 1].
        threshold: readings of at least this confidence are accepted.
        accepted: number of them.
        errors: how many of them are wrong.
        upper: the error rate among readings of the same kind is not above it; how that was made
            sure is said by the function that gave it.
    """

    wanted: float
    threshold: float
    accepted: int
    errors: int
    upper: float

    @property
    def rate(self) -> float:
        """Error rate among the accepted, in [0, 1]."""
        return self.errors / self.accepted


def measured_threshold(
    confidences: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
    wanted: float,
    *,
    level: float = 0.95,
) -> OperatingPoint | None:
    """Return the lowest confidence above which the measured error rate is at most ``wanted``.

    It is fitted to these very readings, so on others the rate may well be higher. ``upper`` is the
    Clopper-Pearson bound of this one threshold; it does not know that the threshold was chosen.

    Args:
        confidences: ``[N]`` in [0, 1].
        right: ``[N]`` whether the reading is right.
        wanted: error rate in [0, 1].
        level: of the bound.

    Returns:
        None where even the most confident readings have a higher rate.

    Raises:
        ValueError: as in :func:`reliability`.
    """
    values, accepted, errors = _steps(confidences, right)
    good = np.flatnonzero(errors <= wanted * accepted)
    if not len(good):
        return None
    last = good[-1]
    n, wrong = int(accepted[last]), int(errors[last])
    bound = upper_bound(wrong, n, level=level)
    return OperatingPoint(wanted, float(values[last]), n, wrong, bound)


def guaranteed_threshold(
    confidences: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
    wanted: float,
    *,
    level: float = 0.95,
) -> OperatingPoint | None:
    """Return a threshold whose error rate on readings of the same kind is at most ``wanted``.

    Selection with guaranteed risk (arXiv:1705.08500): a bisection tries few thresholds, and the
    doubt is shared out among them, so ``upper`` holds for the chosen one with ``level``.

    Args:
        confidences, right, wanted, level: as in :func:`measured_threshold`.

    Returns:
        None where these readings are too few or too wrong to promise that.

    Raises:
        ValueError: as in :func:`reliability`.
    """
    values, accepted, errors = _steps(confidences, right)
    tries = max(1, math.ceil(math.log2(len(values) + 1)))
    low, high = 0, len(values) - 1  # the strictest and the laxest threshold still in question
    best: OperatingPoint | None = None
    while low <= high:
        middle = (low + high + 1) // 2
        n, wrong = int(accepted[middle]), int(errors[middle])
        bound = upper_bound(wrong, n, level=1 - (1 - level) / tries)
        if bound <= wanted:
            best = OperatingPoint(wanted, float(values[middle]), n, wrong, bound)
            low = middle + 1
        else:
            high = middle - 1
    return best


def lines_needed(wanted: float, *, level: float = 0.95) -> int:
    """Readings without any fault that one Clopper-Pearson bound of ``wanted`` needs at least.

    Args:
        wanted: error rate in (0, 1).
        level: of the bound.
    """
    return math.ceil(math.log(1 - level) / math.log1p(-wanted))


def _steps(
    confidences: NDArray[np.floating[Any]], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Thresholds from strict to lax, and what each one accepts: readings, and errors in them."""
    _check_confidences(confidences, right)
    order = np.argsort(-confidences, kind="stable")
    ordered = confidences[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    errors = np.cumsum(~right[order])
    return ordered[last], (last + 1).astype(np.int64), errors[last].astype(np.int64)


def _check_confidences(confidences: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> None:
    if confidences.ndim != 1 or confidences.shape != right.shape or not len(right):
        raise ValueError(
            f"confidences of shape {confidences.shape} for {right.shape} readings; expected one "
            "each, at least one"
        )
    low, high = float(confidences.min()), float(confidences.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"confidences from {low:g} to {high:g}; allowed are those in [0, 1]")
