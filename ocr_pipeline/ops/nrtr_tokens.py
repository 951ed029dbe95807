"""Tokens of the NRTR branch (arXiv:1806.00926): what its decoder reads and what it must say.

0 pad, 1 unknown, 2 begin, 3 end, then the dictionary in order, then the space: the CTC classes
without their blank, moved up.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PAD = 0
UNKNOWN = 1
"""Never made here: a label with unknown characters is refused."""
BEGIN = 2
END = 3
_SHIFT = 3  # CTC class 1, the first character, is token 4


def token_count(classes: int) -> int:
    """Number of tokens, K', of a character set with ``classes`` CTC classes (blank included)."""
    return classes + _SHIFT


def encode_tokens(
    indices: Sequence[Sequence[int]], *, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Turn labels into decoder input and target.

    Args:
        indices: CTC class indices of each label, in [1, ``classes``); lengths may differ.
        classes: K of the CTC head, with blank and space.

    Returns:
        (inputs, targets), each ``[N, L]`` int64 in [0, ``token_count(classes)``), with L one more
        than the longest label: ``[2, text]`` and ``[text, 3]``, padded with 0 on the right.

    Raises:
        ValueError: no label, or an index outside the range (given, with its label's number).
    """
    if not indices:
        raise ValueError("no labels; give at least one")
    shape = (len(indices), 1 + max(len(label) for label in indices))
    inputs, targets = np.full(shape, PAD, np.int64), np.full(shape, PAD, np.int64)
    for row, label in enumerate(indices):
        outside = [index for index in label if not 1 <= index < classes]
        if outside:
            raise ValueError(
                f"label {row}: class indices {outside} outside [1, {classes}); leave out blanks "
                "and padding, and encode with the character set of the network"
            )
        text = np.asarray(label, np.int64) + _SHIFT
        inputs[row, 0] = BEGIN
        inputs[row, 1 : 1 + len(label)] = text
        targets[row, : len(label)] = text
        targets[row, len(label)] = END
    return inputs, targets
