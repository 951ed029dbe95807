"""Batches in pieces."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from paddle import Tensor


class Shared(Protocol):
    """A dataclass of tensors ``[N, ...]`` whose ``share`` its losses are multiplied by."""

    @property
    def share(self) -> float: ...


BatchT = TypeVar("BatchT", bound=Shared)


def split_batch(batch: BatchT, pieces: int) -> Sequence[BatchT]:
    """Cut a batch into parts whose losses add up to that of the whole.

    For a loss that is a mean over samples; one that is a ratio of sums, as Dice, becomes the mean
    of its parts.

    Args:
        batch: of N samples.
        pieces: wanted; there are N at most.
    """
    found: Any = batch
    tensors = {f.name: getattr(found, f.name) for f in fields(found)}
    tensors = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    count = sample_count(batch)
    parts: list[BatchT] = []
    for rows in np.array_split(np.arange(count), min(pieces, count)):
        cut = {name: value[int(rows[0]) : int(rows[-1]) + 1] for name, value in tensors.items()}
        parts.append(replace(found, **cut, share=batch.share * len(rows) / count))
    return parts


def sample_count(batch: object) -> int:
    """Samples of a batch."""
    found: Any = batch
    return next(
        int(value.shape[0])
        for value in (getattr(found, f.name) for f in fields(found))
        if isinstance(value, Tensor)
    )
