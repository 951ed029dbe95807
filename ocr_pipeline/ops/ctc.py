"""CTC: greedy decoding, and what a network of T time steps can emit (Graves et al., ICML 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.charset import BLANK, Charset


@dataclass(frozen=True)
class TextLine:
    """One recognised line.

    Attributes:
        text: may be empty, when the network saw no character.
        confidence: mean probability of the emitted characters, in [0, 1]; 0 for an empty text.
    """

    text: str
    confidence: float


def decode_greedy(probs: NDArray[np.float32], charset: Charset) -> list[TextLine]:
    """Take the best class of each time step, merge repeats, drop blanks.

    Args:
        probs: ``[N, T, K]`` float32 in [0, 1]; K is ``charset.classes``, blank at index 0.

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
        lines.append(TextLine(charset.decode(indices[keep].tolist()), confidence))
    return lines


def steps_needed(indices: Sequence[int]) -> int:
    """Return the fewest time steps that emit a label: one each, plus a blank between repeats."""
    repeats = sum(a == b for a, b in pairwise(indices))
    return len(indices) + repeats
