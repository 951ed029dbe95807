"""Two sides that took turns: medians, ratios, faults, and how sure these are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_DRAWS = 4000


class Estimate(NamedTuple):
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def median_ratio(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0) -> Estimate:
    """Return median(ours) / median(theirs).

    Rounds are drawn as pairs: what slowed the machine down slowed both sides of a round.

    Args:
        ours: seconds by round.
        theirs: seconds of the same rounds.
        seed: of the bootstrap.

    Raises:
        ValueError: no rounds, or not one value of each side for every round.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(
            f"{len(ours)} values of one side and {len(theirs)} of the other; needed: one of each "
            "for every round, at least one round"
        )
    pairs = np.array([ours, theirs], dtype=np.float64)  # [2, rounds]
    rounds = pairs.shape[1]
    drawn = np.random.default_rng(seed).integers(rounds, size=(_DRAWS, rounds))
    medians = np.median(pairs[:, drawn], axis=2)  # [2, draws]
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    value = np.median(pairs[0]) / np.median(pairs[1])
    return Estimate(float(value), float(low), float(high))


def median_of_ratios(
    theirs: Sequence[Sequence[float]], ours: Sequence[Sequence[float]], *, seed: int = 0
) -> Estimate:
    """Return the median over pictures of theirs / ours, each the median of its rounds.

    Every picture counts the same, however long it takes. The interval is that of other pictures of
    the same kind: pictures are drawn, not rounds.

    Args:
        theirs: seconds by picture and round.
        ours: the same pictures.
        seed: of the bootstrap.

    Raises:
        ValueError: no pictures, not the same number on both sides, or one without a round.
    """
    if not ours or len(ours) != len(theirs) or not all((*ours, *theirs)):
        raise ValueError(
            f"{len(ours)} pictures of one side and {len(theirs)} of the other; needed: the same "
            "ones, at least one, each with at least one round"
        )
    ratios = np.array(
        [np.median(first) / np.median(second) for first, second in zip(theirs, ours, strict=True)]
    )
    drawn = np.random.default_rng(seed).integers(len(ratios), size=(_DRAWS, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    return Estimate(float(np.median(ratios)), float(low), float(high))


def difference_of_rates(
    theirs: Sequence[int], ours: Sequence[int], sizes: Sequence[int], *, seed: int = 0
) -> Estimate:
    """Return how many more faults they make than we, as a share of all that could be wrong.

    The interval is that of other pictures of the same kind: pictures are drawn, with both sides'
    faults. Where it holds 0, these pictures do not say who makes fewer.

    Args:
        theirs: faults by picture.
        ours: the same pictures.
        sizes: what could be wrong in each of them.
        seed: of the bootstrap.

    Raises:
        ValueError: not one value of each kind for every picture, or nothing could be wrong.
    """
    if not len(theirs) == len(ours) == len(sizes) or sum(sizes) == 0:
        raise ValueError(
            f"faults in {len(theirs)} and {len(ours)} pictures, {len(sizes)} sizes of "
            f"{sum(sizes)} in all; needed: the same pictures, with something to read"
        )
    more, size = np.array(theirs) - np.array(ours), np.array(sizes)
    drawn = np.random.default_rng(seed).integers(len(size), size=(_DRAWS, len(size)))
    rates = more[drawn].sum(axis=1) / np.maximum(size[drawn].sum(axis=1), 1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return Estimate(float(more.sum() / size.sum()), float(low), float(high))
