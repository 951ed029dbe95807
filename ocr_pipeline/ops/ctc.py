"""CTC: greedy decoding, and what a network of T time steps can emit (Graves et al., ICML 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.charset import BLANK, Charset


@dataclass(frozen=True)
class Emission:
    """One character, where the network emitted it.

    Attributes:
        text: an entry of the character set; may be a space.
        confidence: its probability at its first time step, in [0, 1].
        step: middle of its time steps; 0.5 is the middle of the first one.
    """

    text: str
    confidence: float
    step: float


@dataclass(frozen=True)
class TextLine:
    """One recognised line.

    Attributes:
        text: may be empty, when the network saw no character.
        confidence: mean probability of the emitted characters, in [0, 1]; 0 for an empty text.
        emissions: its characters, in order; empty where they were not asked for.
    """

    text: str
    confidence: float
    emissions: tuple[Emission, ...] = ()


def decode_greedy(
    probs: NDArray[np.float32], charset: Charset, *, emissions: bool = False
) -> list[TextLine]:
    """Take the best class of each time step, merge repeats, drop blanks.

    Args:
        probs: ``[N, T, K]`` float32 in [0, 1]; K is ``charset.classes``, blank at index 0.
        charset: of the network.
        emissions: say where each character was emitted, too.

    Returns:
        N lines, in order.

    Raises:
        ValueError: K is not the number of classes of the character set (both given).
    """
    if probs.ndim != 3 or probs.shape[2] != charset.classes:
        raise ValueError(
            f"probabilities of shape {probs.shape}; expected [N, T, {charset.classes}] for a "
            f"character set of {charset.classes} classes"
        )
    best = probs.argmax(axis=2)
    peak = np.take_along_axis(probs, best[:, :, None], axis=2)[:, :, 0]
    emitted = best != BLANK
    emitted[:, 1:] &= best[:, 1:] != best[:, :-1]
    lines = []
    for indices, values, keep in zip(best, peak, emitted, strict=True):
        confidence = float(values[keep].mean()) if keep.any() else 0.0
        found = _emissions(indices, values, keep, charset) if emissions else ()
        lines.append(TextLine(charset.decode(indices[keep].tolist()), confidence, found))
    return lines


def _emissions(
    best: NDArray[np.intp],
    peak: NDArray[np.float32],
    emitted: NDArray[np.bool_],
    charset: Charset,
) -> tuple[Emission, ...]:
    """The characters of one line; best class, its probability and "emitted" are ``[T]``."""
    changes = np.flatnonzero(best[1:] != best[:-1]) + 1
    ends = np.append(changes, len(best))
    found = []
    for start in np.flatnonzero(emitted):
        end = ends[np.searchsorted(ends, start, side="right")]
        entry = charset.decode([int(best[start])])
        found.append(Emission(entry, float(peak[start]), float(start + end) / 2))
    return tuple(found)


def steps_needed(indices: Sequence[int]) -> int:
    """Return the fewest time steps that emit a label: one each, plus a blank between repeats."""
    repeats = sum(a == b for a, b in pairwise(indices))
    return len(indices) + repeats
