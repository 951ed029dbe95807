"""Which characters were taken for which: alignment of what was read with what stands there."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Pair(NamedTuple):
    """One place of an alignment.

    Attributes:
        truth: character of the label; empty: something was read where nothing stands.
        read: character read; empty: it was left out.
    """

    truth: str
    read: str


@dataclass(frozen=True)
class Confusion:
    """One fault, and how often it was made; see :class:`Pair`."""

    truth: str
    read: str
    count: int

    @property
    def kind(self) -> str:
        """``substitution``, ``deletion`` (left out) or ``insertion`` (made up)."""
        if not self.read:
            return "deletion"
        return "substitution" if self.truth else "insertion"


def align(read: str, truth: str) -> list[Pair]:
    """Align two strings with the fewest edits (Wagner and Fischer, JACM 21, 1974).

    Of several such alignments the one is taken that, from the end on, substitutes rather than
    leaves out, and leaves out rather than makes up.

    Returns:
        Their places in order; the number of unequal ones is the edit distance.
    """
    start = _common(read, truth)
    end = _common(read[start:][::-1], truth[start:][::-1])
    middle = _align(read[start : len(read) - end], truth[start : len(truth) - end])
    same = [Pair(char, char) for char in truth]
    return same[:start] + middle + same[len(truth) - end :]


def count_confusions(pairs: Iterable[tuple[str, str]]) -> list[Confusion]:
    """Count the faults of many lines, the most frequent first.

    Args:
        pairs: (read, truth) of each line.

    Returns:
        Equally frequent ones by code point, so that the order is always the same.
    """
    counts: Counter[Pair] = Counter()
    for read, truth in pairs:
        if read != truth:
            counts.update(place for place in align(read, truth) if place.truth != place.read)
    found = [Confusion(pair.truth, pair.read, count) for pair, count in counts.items()]
    return sorted(found, key=lambda one: (-one.count, one.truth, one.read))


def _common(a: str, b: str) -> int:
    """Length of the longest common beginning."""
    for index, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return index
    return min(len(a), len(b))


def _align(read: str, truth: str) -> list[Pair]:
    rows = [list(range(len(truth) + 1))]  # [i][j]: edits of the first i read, the first j true
    for i, char in enumerate(read, start=1):
        above, row = rows[-1], [i]
        for j, other in enumerate(truth, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (char != other)))
        rows.append(row)
    places = []
    i, j = len(read), len(truth)
    while i or j:
        here = rows[i][j]
        if i and j and here == rows[i - 1][j - 1] + (read[i - 1] != truth[j - 1]):
            i, j = i - 1, j - 1
            places.append(Pair(truth[j], read[i]))
        elif j and here == rows[i][j - 1] + 1:
            j -= 1
            places.append(Pair(truth[j], ""))
        else:
            i -= 1
            places.append(Pair("", read[i]))
    return places[::-1]
