"""Which samples are in which batch: it follows from (seed, epoch) alone, for any number of workers.

Only arrays of small numbers are held, so a million samples cost a few megabytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.errors import TrainingError

_SHOWN, _ORDER, _SCALES = 1, 2, 3
"""Purposes of random numbers: each has a stream of its own."""


@dataclass(frozen=True)
class Scale:
    """One size that batches are drawn at.

    Attributes:
        size: line height (rec) or side (det), px.
        rows: samples per batch and process.
    """

    size: int
    rows: int


@dataclass(frozen=True)
class Planned:
    """One batch of one process.

    Attributes:
        indices: ``[B]`` int32, of the samples.
        bucket: width bucket that they share, as given to the plan.
        size: of the chosen :class:`Scale`, px.
        epoch: from 0.
        share: samples here for one in the mean of all processes; 1 where all have as many.
    """

    indices: NDArray[np.int32]
    bucket: int
    size: int
    epoch: int
    share: float = 1.0


@dataclass(frozen=True)
class _Epoch:
    order: NDArray[np.int32]  # [M] samples, batch after batch
    starts: NDArray[np.int64]  # [batches + 1] into order
    buckets: NDArray[np.int64]  # [batches]
    sizes: NDArray[np.int64]  # [batches]


class BatchPlan:
    """Endless batches of samples of one bucket each.

    An epoch shows every sample as often as its weight says. With several processes (``world``), the
    batches of one step have the same bucket and size in all of them, and no draw in common.

    Args:
        buckets: ``[N]`` width bucket of each sample, px; all the same where there are none.
        weights: ``[N]`` how often a sample is shown in an epoch; None: once.
        scales: one is drawn for each batch.
        seed: decides order and scales.
        rank, world: this process and their number.

    Raises:
        TrainingError: fewer samples than processes.
    """

    def __init__(
        self,
        buckets: NDArray[np.integer],
        *,
        weights: NDArray[np.floating] | None = None,
        scales: Sequence[Scale],
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if len(buckets) < world:
            raise TrainingError(
                f"{len(buckets)} samples for {world} processes; each needs one at least: add "
                "samples, or train with fewer processes"
            )
        self._buckets = buckets
        self._weights = weights
        self._scales = tuple(scales)
        self._seed = seed
        self._rank = rank
        self._world = world

    def steps_per_epoch(self, epoch: int = 0) -> int:
        """Number of batches of one epoch; with weights or scales it may differ between epochs."""
        return len(self._epoch(epoch).buckets)

    def place(self, row: int) -> int:
        """Row of this process's batch among the batches of all processes at a step."""
        return self._rank + row * self._world

    def from_step(self, step: int) -> Iterator[Planned]:
        """Yield this process's batches of step ``step``, ``step + 1``, ... for ever."""
        epoch, first = 0, step
        plan = self._epoch(0)
        if self._constant():
            epoch, first = divmod(step, len(plan.buckets))
            plan = self._epoch(epoch)
        while first >= len(plan.buckets):
            first -= len(plan.buckets)
            epoch += 1
            plan = self._epoch(epoch)
        while True:
            for number in range(first, len(plan.buckets)):
                rows = plan.order[plan.starts[number] : plan.starts[number + 1]]
                own = rows[self._rank :: self._world]
                yield Planned(
                    own,
                    int(plan.buckets[number]),
                    int(plan.sizes[number]),
                    epoch,
                    len(own) * self._world / len(rows),
                )
            epoch, first = epoch + 1, 0
            plan = self._epoch(epoch)

    def _constant(self) -> bool:
        """Whether all epochs have the same number of batches."""
        whole = self._weights is None or bool(np.all(self._weights == np.round(self._weights)))
        return whole and len(self._scales) == 1

    def _epoch(self, epoch: int) -> _Epoch:
        random = np.random.default_rng([self._seed, epoch, _ORDER])
        order = self._shown(epoch)
        random.shuffle(order)
        order = order[np.argsort(self._buckets[order], kind="stable")]
        of_row = self._buckets[order]
        cuts = np.flatnonzero(np.diff(of_row)) + 1
        edges = self._big_enough(np.concatenate([[0], cuts, [len(order)]]))
        chances = np.random.default_rng([self._seed, epoch, _SCALES])
        starts, buckets, sizes = [], [], []
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            begin, size = self._cut(low, high, chances)
            starts.append(begin)
            sizes.append(size)
            buckets.append(np.full(len(begin), int(of_row[high - 1]), dtype=np.int64))
        ends = [*np.concatenate(starts)[1:], len(order)]
        return self._mixed(
            order,
            np.concatenate(starts),
            np.array(ends, dtype=np.int64),
            np.concatenate(buckets),
            np.concatenate(sizes),
            random,
        )

    def _shown(self, epoch: int) -> NDArray[np.int32]:
        """Samples of this epoch, ``[M]``; a weight of 0.5 shows each one every other epoch."""
        everything = np.arange(len(self._buckets), dtype=np.int32)
        if self._weights is None:
            return everything
        phase = np.random.default_rng([self._seed, _SHOWN]).random(len(everything))
        upto = np.floor((epoch + 1) * self._weights + phase)
        times = (upto - np.floor(epoch * self._weights + phase)).astype(np.int64)
        shown = np.repeat(everything, times)
        # Weights far below 1 on very few samples: rather one too many than a process without any.
        return shown if len(shown) >= self._world else everything

    def _big_enough(self, edges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Join a bucket that has fewer samples than there are processes with its neighbour."""
        kept = [int(edges[0])]
        for edge in edges[1:].tolist():
            if edge - kept[-1] >= self._world:
                kept.append(edge)
        if kept[-1] != edges[-1]:
            kept[-1 if len(kept) > 1 else len(kept) :] = [int(edges[-1])]
        return np.array(kept, dtype=np.int64)

    def _cut(
        self, low: int, high: int, chances: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Cut rows ``low`` to ``high`` of one bucket into batches: their beginnings and sizes."""
        rows = np.array([scale.rows * self._world for scale in self._scales])
        most = -(-(high - low) // int(rows.min()))
        choice = chances.integers(len(rows), size=most) if len(rows) > 1 else np.zeros(most, int)
        ends = low + np.cumsum(rows[choice])
        count = int(np.searchsorted(ends, high)) + 1
        starts = np.concatenate([[low], ends[: count - 1]]).astype(np.int64)
        if count > 1 and high - starts[-1] < self._world:
            starts = starts[:-1]  # a rest with nothing for some process goes to the batch before
        sizes = np.array([self._scales[number].size for number in choice[: len(starts)]])
        return starts, sizes.astype(np.int64)

    def _mixed(
        self,
        order: NDArray[np.int32],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        buckets: NDArray[np.int64],
        sizes: NDArray[np.int64],
        random: np.random.Generator,
    ) -> _Epoch:
        """Put the batches, sorted by bucket until now, into a random order."""
        turn = random.permutation(len(starts))
        lengths = (ends - starts)[turn]
        edges = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        # Row k of the new order is row starts[batch] + (k - edges[batch]) of the old one.
        rows = np.repeat((starts[turn] - edges[:-1]).astype(np.int32), lengths)
        rows += np.arange(len(order), dtype=np.int32)
        return _Epoch(order[rows], edges, buckets[turn], sizes[turn])
