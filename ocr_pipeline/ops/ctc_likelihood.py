"""How probable a text is on a line, whatever the network would read there.

The forward algorithm of CTC (Graves et al., ICML 2006) over classes that are put together where two
readers would call them the same: full and half width, upper and lower case, any white space.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.charset import BLANK, Charset
from ocr_pipeline.ops.metrics import normalise_text

FLOOR = 1e-6
"""A class is never taken for less probable than this: below, networks differ by chance alone."""
_NEVER = -np.inf


class FoldedCharset:
    """The classes of a network by what :func:`normalise_text` makes of their characters.

    White space and middle dots, of which it makes nothing, count as blank.

    Args:
        charset: of the network.
    """

    def __init__(self, charset: Charset) -> None:
        self._charset = charset
        groups: dict[str, list[int]] = {"": [BLANK]}
        for number, entry in enumerate((*charset.dictionary, " "), start=1):
            groups.setdefault(normalise_text(entry), []).append(number)
        self._groups = {key: np.array(numbers) for key, numbers in groups.items()}

    def keys(self, text: str) -> list[str]:
        """Cut a text into what the network has a group of classes for, or could have one for."""
        keys: list[str] = []
        for part in self._charset.split(text):
            key = normalise_text(part)
            keys += [key] if key in self._groups else list(key)
        return [key for key in keys if key]

    def unknown(self, text: str) -> list[str]:
        """The parts of ``text``, folded, that the network has no class for; each once, in order."""
        return [key for key in dict.fromkeys(self.keys(text)) if key not in self._groups]

    def log_likelihoods(
        self, probs: NDArray[np.float32], texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """Natural logarithm of each text's probability on its line, over all alignments.

        A character that the network has no class for fits wherever any character is seen, so it
        speaks neither for nor against a text.

        Args:
            probs: ``[N, T, K]`` float32 in [0, 1], blank at index 0.
            texts: N of them; may be empty.

        Returns:
            ``[N]`` float64, about 0 or below; -inf where T time steps cannot hold the text.

        Raises:
            ValueError: other numbers of lines and texts, or K is not that of the character set.
        """
        if probs.ndim != 3 or probs.shape[2] != self._charset.classes or len(probs) != len(texts):
            raise ValueError(
                f"probabilities of shape {probs.shape} for {len(texts)} texts; expected "
                f"[{len(texts)}, T, {self._charset.classes}]"
            )
        labels = [self.keys(text) for text in texts]
        steps, longest = probs.shape[1], max(map(len, labels), default=0)
        # [N, T, S], S = blank, character, blank, ..., character, blank
        states = np.full((len(probs), steps, 2 * longest + 1), _NEVER)
        skips = np.zeros((len(probs), 2 * longest + 1), dtype=bool)
        for line, keys in enumerate(labels):
            self._fill(states[line], skips[line], probs[line], keys)
        return _forward(states, skips, np.array([2 * len(keys) for keys in labels], dtype=np.intp))

    def _fill(
        self,
        states: NDArray[np.float64],
        skips: NDArray[np.bool_],
        probs: NDArray[np.float32],
        keys: Sequence[str],
    ) -> None:
        """Write the log probabilities of one line's states, and which may skip the blank before."""
        blank = self._probability(probs, "")
        states[:, 0 : 2 * len(keys) + 1 : 2] = _log(blank)[:, None]
        for at, key in enumerate(keys):
            known = key in self._groups
            states[:, 2 * at + 1] = _log(self._probability(probs, key) if known else 1.0 - blank)
            skips[2 * at + 1] = at > 0 and key != keys[at - 1]

    def _probability(self, probs: NDArray[np.float32], key: str) -> NDArray[np.float64]:
        """Of one group at each time step, ``[T]``."""
        return np.asarray(probs[:, self._groups[key]].sum(axis=1, dtype=np.float64))


def _log(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.clip(probability, FLOOR, 1.0))


def _forward(
    states: NDArray[np.float64], skips: NDArray[np.bool_], last: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Sum over all paths.

    Args:
        states: ``[N, T, S]`` log probabilities; -inf where a line has no such state.
        skips: ``[N, S]``: whether the state may follow the one two before it.
        last: ``[N]``: each line's last state.

    Returns:
        ``[N]`` float64.
    """
    count, steps, width = states.shape
    alpha = np.full((count, width + 2), _NEVER)  # two that never are, before the first state
    alpha[:, 2] = 0.0  # before the first step, as if a blank had been
    for step in range(steps):
        stay, move, skip = alpha[:, 2:], alpha[:, 1:-1], alpha[:, :-2]
        reached = np.logaddexp(stay, move)
        reached = np.logaddexp(reached, np.where(skips, skip, _NEVER))
        alpha[:, 2:] = reached + states[:, step]
    rows = np.arange(count)
    ends = alpha[rows, last + 2]
    before = np.where(last > 0, alpha[rows, last + 1], _NEVER)
    return np.asarray(np.logaddexp(ends, before))
