"""Accuracy of recognised text."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextScore:
    """Accuracy over a set of lines.

    Attributes:
        samples: number of lines.
        exact: lines read without a fault, percent.
        cer: character error rate, percent: edits / characters of the truth. May exceed 100.
        ned: 1-NED, percent: mean over lines of ``1 - edits / longer length``.
    """

    samples: int
    exact: float
    cer: float
    ned: float


def edit_distance(a: str, b: str) -> int:
    """Return the Levenshtein distance of two strings, in code points."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, char in enumerate(a, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (char != other))
    return row[-1]


def normalise_text(text: str) -> str:
    """NFKC, upper case, no white space and middle dots: what two readers would call the same."""
    folded = unicodedata.normalize("NFKC", text).upper()
    return "".join(char for char in folded if not char.isspace() and char not in "·・•‧")


def score_lines(predictions: Sequence[str], truths: Sequence[str]) -> TextScore:
    """Score ``predictions`` against ``truths``, pair by pair.

    Raises:
        ValueError: different lengths, or no line at all.
    """
    if len(predictions) != len(truths) or not truths:
        raise ValueError(
            f"{len(predictions)} predictions for {len(truths)} truths; expected equally many, >= 1"
        )
    edits = [edit_distance(p, t) for p, t in zip(predictions, truths, strict=True)]
    longest = [max(len(p), len(t), 1) for p, t in zip(predictions, truths, strict=True)]
    characters = sum(map(len, truths))
    similarity = sum(1 - e / n for e, n in zip(edits, longest, strict=True))
    return TextScore(
        samples=len(truths),
        exact=100 * edits.count(0) / len(truths),
        cer=100 * sum(edits) / max(characters, 1),
        ned=100 * similarity / len(truths),
    )
