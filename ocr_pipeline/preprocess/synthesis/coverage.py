"""Plan the texts of the training lines so that every character of a set is seen often enough."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.charset import SPACE

_TRIES = 1000


@dataclass(frozen=True)
class Plan:
    """Texts of the training lines.

    Attributes:
        texts: one a line.
        filler: how many of them were added for characters that the corpus lacks.
    """

    texts: tuple[str, ...]
    filler: int


def plan_coverage(
    corpus: Sequence[str],
    characters: Iterable[str],
    *,
    at_least: int,
    mean_length: int,
    allowed: Callable[[str], bool],
    random: np.random.Generator,
) -> Plan:
    """Keep as many corpus texts as can be, and fill the rest with the characters that they lack.

    Args:
        corpus: as many texts as there are training lines.
        characters: single characters; each shall stand ``at_least`` times in all texts together.
        at_least: >= 1.
        mean_length: of an added text, characters; half to one and a half of it.
        allowed: whether a text may stand in the training part; another order is tried where not.
        random: chance.

    Returns:
        ``len(corpus)`` texts: the first ones of the corpus and the added ones, mixed.

    Raises:
        DataError: there are too few lines for so many characters (how many are needed is said).
    """
    wanted = dict.fromkeys(characters, at_least)
    kept = _most_kept(corpus, wanted, mean_length)
    lacking = _lacking(corpus[:kept], wanted)
    lengths = _lengths(len(corpus) - kept, mean_length, random)
    filler = _filler(lacking, sorted(wanted), lengths, random)
    texts = [*corpus[:kept]]
    visible = [char for char in sorted(wanted) if char != SPACE]
    texts += [_allowed_order(text, visible, allowed, random) for text in filler]
    order = random.permutation(len(texts))
    return Plan(tuple(texts[index] for index in order), len(filler))


def count_characters(texts: Iterable[str]) -> Counter[str]:
    """Count each character over all texts."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return counts


def _most_kept(corpus: Sequence[str], wanted: dict[str, int], mean_length: int) -> int:
    """How many first texts of the corpus leave room enough for what they lack."""
    left = dict(wanted)
    missing = sum(_weight(char) * count for char, count in left.items())
    best = 0 if _lines_for(missing, mean_length) <= len(corpus) else None
    for kept, text in enumerate(corpus, start=1):
        for char in text:
            if left.get(char, 0) > 0:
                left[char] -= 1
                missing -= _weight(char)
        if _lines_for(missing, mean_length) <= len(corpus) - kept:
            best = kept
    if best is None:
        need = _lines_for(sum(_weight(char) * n for char, n in wanted.items()), mean_length)
        raise DataError(
            f"{len(corpus):,} training lines cannot hold {len(wanted):,} characters so often: "
            f"{need:,} lines of about {mean_length} characters are needed; raise train_lines, or "
            "lower coverage.at_least"
        )
    return best


def _weight(char: str) -> int:
    """Places that a character takes: a space stands between two others."""
    return 2 if char == SPACE else 1


def _lines_for(places: int, mean_length: int) -> int:
    return -(-places // mean_length)


def _lacking(texts: Iterable[str], wanted: dict[str, int]) -> dict[str, int]:
    counts = count_characters(texts)
    return {char: need - counts[char] for char, need in wanted.items() if need > counts[char]}


def _lengths(lines: int, mean: int, random: np.random.Generator) -> list[int]:
    """Lengths of lines, half to one and a half of the mean, together ``lines * mean``."""
    half = min(mean // 2, mean - 2)
    off = random.integers(-half, half + 1, lines // 2)
    even = [mean] * (lines % 2)
    return [*(mean + off).tolist(), *(mean - off).tolist(), *even]


def _filler(
    lacking: dict[str, int],
    characters: Sequence[str],
    lengths: Sequence[int],
    random: np.random.Generator,
) -> list[str]:
    """Spread the lacking characters over lines of these lengths; more of all fill what is left."""
    letters = [char for char, count in lacking.items() if char != SPACE for _ in range(count)]
    visible = [char for char in characters if char != SPACE]
    more = random.integers(len(visible), size=sum(lengths) - len(letters))
    letters += [visible[int(index)] for index in more]
    shuffled = [letters[int(index)] for index in random.permutation(len(letters))]
    lines, start = [], 0
    for length in lengths:
        lines.append(shuffled[start : start + length])
        start += length
    # A space stands before a character that is not the first of its line.
    gaps = [(n, place) for n, line in enumerate(lines) for place in range(1, len(line))]
    chosen = random.permutation(len(gaps))[: lacking.get(SPACE, 0)]
    for number, place in (gaps[int(index)] for index in chosen):
        lines[number][place] = SPACE + lines[number][place]
    return ["".join(line) for line in lines]


def _allowed_order(
    text: str,
    visible: Sequence[str],
    allowed: Callable[[str], bool],
    random: np.random.Generator,
) -> str:
    """The same words and characters in another order, and with more of them, until it may stand."""
    for _ in range(_TRIES):
        if allowed(text):
            return text
        words = text.split(SPACE)
        mixed = ["".join(word[int(i)] for i in random.permutation(len(word))) for word in words]
        text = SPACE.join(mixed[int(i)] for i in random.permutation(len(mixed)))
        text += visible[int(random.integers(len(visible)))]
    raise DataError(f"no order of {text!r} may stand in the training part; set another seed")
