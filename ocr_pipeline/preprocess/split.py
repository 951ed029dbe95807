"""Take a validation part out of samples so that nothing of it is known from the training part."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence


def hold_out(
    names: Sequence[str],
    ties: Sequence[Iterable[Hashable]],
    pairs: Iterable[tuple[int, int]],
    *,
    count: int,
    seed: int,
) -> set[int]:
    """Choose about ``count`` samples to validate on.

    Samples that share a tie (a text, a picture, a document) or are a pair go together, and so do
    those that hang together over others. Which are chosen follows from the seed and the names
    alone, not from the order of the samples.

    Args:
        names: what a sample is known by, e.g. its text; ranks it.
        ties: of each sample, things that it has in common with others.
        pairs: numbers of samples that belong together, e.g. because they look alike.
        count: samples wanted; a bundle of more than that is not taken unless there is no other.
        seed: another one chooses others.

    Returns:
        Numbers of the chosen samples.
    """
    bundles = _bundles(ties, pairs)

    def rank(bundle: list[int]) -> bytes:
        return min(hashlib.sha256(f"{seed}\n{names[n]}".encode()).digest() for n in bundle)

    ranked = sorted(bundles, key=rank)
    small = [bundle for bundle in ranked if len(bundle) <= count]
    chosen: set[int] = set()
    for bundle in small or ranked[:1]:
        if len(chosen) >= count:
            break
        chosen.update(bundle)
    return chosen


def _bundles(
    ties: Sequence[Iterable[Hashable]], pairs: Iterable[tuple[int, int]]
) -> list[list[int]]:
    """Samples that hang together, in one list each."""
    parent = list(range(len(ties)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[Hashable, int] = {}
    for number, shared in enumerate(ties):
        for tie in shared:
            parent[root(number)] = root(first.setdefault(tie, number))
    for one, other in pairs:
        parent[root(one)] = root(other)
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(ties)):
        members[root(number)].append(number)
    return list(members.values())
