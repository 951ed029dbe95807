"""CTC: greedy decoding, and what a network of T time steps can emit (Graves et al., ICML 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.charset import BLANK, Charset

_ROWS_AT_ONCE = 16
"""Time steps whose classes fit into a core's cache, up to 20,000 of them."""


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
    return decode_best(*best_of_probs(probs, charset), charset, emissions=emissions)


def decode_best(
    best: NDArray[np.intp],
    peak: NDArray[np.float32],
    charset: Charset,
    *,
    emissions: bool = False,
) -> list[TextLine]:
    """See :func:`decode_greedy`; ``best`` and ``peak`` as :func:`best_of_probs` gives them."""
    lines = []
    for indices, values, keep in zip(best, peak, emitted_steps(best), strict=True):
        confidence = float(values[keep].mean()) if keep.any() else 0.0
        found = _emissions(indices, values, keep, charset) if emissions else ()
        lines.append(TextLine(charset.decode(indices[keep].tolist()), confidence, found))
    return lines


def emitted_steps(best: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Where a character is emitted: neither a blank nor the class of the time step before.

    Args:
        best: ``[N, T]`` class of each time step.
    """
    emitted = best != BLANK
    emitted[:, 1:] &= best[:, 1:] != best[:, :-1]
    return np.asarray(emitted, dtype=np.bool_)


def best_of_probs(
    probs: NDArray[np.float32], charset: Charset
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The best class of each time step, and its probability: both ``[N, T]``.

    Raises:
        ValueError: the last axis is not the number of classes of the character set (both given).
    """
    _check_classes(probs, charset)
    best = probs.argmax(axis=2)
    return best, np.take_along_axis(probs, best[:, :, None], axis=2)[:, :, 0]


def best_of_logits(
    logits: NDArray[np.float32], charset: Charset
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """:func:`best_of_probs` from what comes before the softmax, which is not needed as a whole.

    Most time steps are blank, and no reading asks how sure they are: probabilities are computed
    where a character is emitted, and are 0 elsewhere.
    """
    _check_classes(logits, charset)
    best = logits.argmax(axis=2)
    peak = np.zeros(best.shape, dtype=np.float32)
    lines, steps = np.nonzero(emitted_steps(best))
    for start in range(0, len(lines), _ROWS_AT_ONCE):
        at = (lines[start : start + _ROWS_AT_ONCE], steps[start : start + _ROWS_AT_ONCE])
        rows = logits[at]
        rows -= rows[np.arange(len(rows)), best[at]][:, None]
        peak[at] = 1 / np.exp(rows, out=rows).sum(axis=1)
    return best, peak


def _check_classes(values: NDArray[np.float32], charset: Charset) -> None:
    if values.ndim != 3 or values.shape[2] != charset.classes:
        raise ValueError(
            f"probabilities of shape {values.shape}; expected [N, T, {charset.classes}] for a "
            f"character set of {charset.classes} classes"
        )


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
