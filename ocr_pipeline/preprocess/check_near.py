"""Pictures that are nearly the same: two encodings or exposures of one.

Candidates come from bands of a 64-bit difference hash: hashes that differ in no more than d bits
agree in at least one of d + 1 bands. Thumbnails decide. Comparisons go in blocks, so memory stays
bounded where a hundred thousand pictures look alike.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.preprocess.check_types import Checked

_BITS = 64
_MAX_BUCKET = 1000
"""Pictures that share a band; :func:`find_near` tells more apart by the bits beside it."""
_MAX_CANDIDATES = 64
"""Of each picture in a band, the most alike; for :func:`find_near`."""
_ROWS, _COLUMNS = 256, 1024
"""Pictures of one block."""
_SPOTS = 16
"""Spots of the thumbnails that are looked at before all are."""
_SAME_SHAPE = 0.05
"""Two sizes of one picture differ by no more in aspect."""
_MIN_DEVIATION = 4.0
"""Fainter pictures are compared as if they had this standard deviation of grey, of 255."""

_Numbers = NDArray[np.intp]
_Mask = NDArray[np.bool_]


def find_near(items: Sequence[Checked], *, bits: int, limit: float) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of pictures that are nearly, but not exactly, the same; sorted.

    Where very many look alike, some pairs among these are left out.

    Args:
        items: with their hashes and thumbnails.
        bits: hashes may differ in so many.
        limit: of :func:`difference`.
    """
    looks = np.array([item.look for item in items], dtype=np.uint64)
    aspects = _aspects(items)
    found: set[tuple[int, int]] = set()
    for first, others in _candidates(looks, aspects, bits):
        fresh = [i for i in others if (first, i) not in found]
        fresh = [i for i in fresh if items[i].pixels != items[first].pixels]
        values = _differences(items[first], [items[i] for i in fresh])
        found |= {(first, i) for i, value in zip(fresh, values, strict=True) if value <= limit}
    return sorted(found)


def link_near(items: Sequence[Checked], *, bits: int, limit: float) -> list[tuple[int, int]]:
    """Pairs (earlier, later) over which all that is nearly the same hangs together; sorted.

    No more pairs than it takes: of three that look alike, two. Nothing is left out, however many
    look alike; exact copies count as one picture, the first.

    Args:
        items: with their hashes and thumbnails.
        bits: hashes may differ in so many.
        limit: of :func:`difference`.
    """
    members = _distinct(items)
    goal = _Links(len(members))
    _search([items[i] for i in members], goal, bits, limit)
    pairs = [sorted((members[one], members[other])) for one, other in goal.pairs]
    return sorted((low, high) for low, high in pairs)


def find_near_between(
    first: Sequence[Checked], second: Sequence[Checked], *, bits: int, limit: float
) -> dict[int, int]:
    """Which of ``first`` are nearly the same as one of ``second``; nothing is left out.

    Args:
        first: pictures that are asked for.
        second: pictures that they are compared with.
        bits: hashes may differ in so many.
        limit: of :func:`difference`.

    Returns:
        Number in ``first`` to the number of one such picture in ``second``.
    """
    rows, columns = _distinct(first), _distinct(second)
    goal = _Matches(len(rows))
    _search([*(first[i] for i in rows), *(second[i] for i in columns)], goal, bits, limit)
    twin = {
        first[i].pixels: columns[at - len(rows)]
        for i, at in zip(rows, goal.match.tolist(), strict=True)
        if at >= 0
    }
    return {n: twin[item.pixels] for n, item in enumerate(first) if item.pixels in twin}


def difference(first: Checked, second: Checked) -> float:
    """Largest difference of two thumbnails at any spot, in standard deviations of grey."""
    return _differences(first, [second])[0]


class _Goal(Protocol):
    """What a search is for."""

    def sides(self, bucket: _Numbers) -> tuple[_Numbers, _Numbers]:
        """Members to compare, and those to compare them with; none where nothing is open."""

    def open(self, rows: _Numbers, columns: _Numbers) -> _Mask:
        """``[R, C]`` pairs that are still to be compared."""

    def note(self, rows: _Numbers, columns: _Numbers) -> None:
        """Take note of pairs that are nearly the same."""


class _Links:
    """All of one set that hangs together."""

    def __init__(self, count: int) -> None:
        self._bundle = np.arange(count)
        self.pairs: list[tuple[int, int]] = []

    def sides(self, bucket: _Numbers) -> tuple[_Numbers, _Numbers]:
        bundles = self._bundle[bucket]
        rows = bucket[:0] if (bundles == bundles[0]).all() else bucket
        return rows, rows

    def open(self, rows: _Numbers, columns: _Numbers) -> _Mask:
        return np.asarray(self._bundle[rows][:, None] != self._bundle[columns])

    def note(self, rows: _Numbers, columns: _Numbers) -> None:
        for one, other in zip(rows.tolist(), columns.tolist(), strict=True):
            bundle, into = self._bundle[one], self._bundle[other]
            if bundle != into:
                self._bundle[self._bundle == bundle] = into
                self.pairs.append((one, other))


class _Matches:
    """For each of a first set, one of a second set; these are numbered behind the first."""

    def __init__(self, first: int) -> None:
        self._border = first
        self.match = np.full(first, -1)

    def sides(self, bucket: _Numbers) -> tuple[_Numbers, _Numbers]:
        rows = bucket[bucket < self._border]
        return rows[self.match[rows] < 0], bucket[bucket >= self._border]

    def open(self, rows: _Numbers, columns: _Numbers) -> _Mask:
        return np.repeat(self.match[rows][:, None] < 0, len(columns), axis=1)

    def note(self, rows: _Numbers, columns: _Numbers) -> None:
        self.match[rows] = columns


def _distinct(items: Sequence[Checked]) -> list[int]:
    """Numbers of the first of each set of exact copies."""
    first: dict[bytes, int] = {}
    for number, item in enumerate(items):
        first.setdefault(item.pixels, number)
    return list(first.values())


def _search(items: Sequence[Checked], goal: _Goal, bits: int, limit: float) -> None:
    """Compare what may be nearly the same, band by band and block by block."""
    looks = np.array([item.look for item in items], dtype=np.uint64)
    blocks = _Blocks(items, looks, bits, limit)
    bands = _bands(bits)
    for number, (low, width) in enumerate(bands):
        keys = _bits(looks, low, width)
        order = np.lexsort((looks, keys))
        cuts = np.flatnonzero(np.diff(keys[order])) + 1
        earlier = [_band_mask(*band) for band in bands[:number]]
        for bucket in np.split(order, cuts):
            rows, columns = goal.sides(bucket) if len(bucket) > 1 else (bucket, bucket[:0])
            for at, first in enumerate(_parts(rows, _ROWS), start=1):
                others = columns[: at * _ROWS] if columns is rows else columns
                for second in _parts(others, _COLUMNS):
                    blocks.compare(first, second, goal, earlier)


def _parts(numbers: _Numbers, size: int) -> Iterator[_Numbers]:
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


class _Blocks:
    """Compares blocks of pictures.

    Args:
        items: pictures.
        looks: ``[N]`` their hashes.
        bits: hashes may differ in so many.
        limit: of :func:`difference`.
    """

    def __init__(
        self, items: Sequence[Checked], looks: NDArray[np.uint64], bits: int, limit: float
    ) -> None:
        self._items = items
        self._looks = looks
        self._aspects = _aspects(items)
        widths = [(item.thumb_width, len(item.thumb) // item.thumb_width) for item in items]
        self._sizes = np.array(widths, dtype=np.intp).reshape(-1, 2)
        self._bits = bits
        self._limit = limit

    def compare(
        self,
        rows: _Numbers,
        columns: _Numbers,
        goal: _Goal,
        earlier: Sequence[np.uint64],
    ) -> None:
        """Compare the open pairs of a block that no earlier band (a mask each) has compared."""
        ends = self._looks[[rows[0], rows[-1], columns[0], columns[-1]]]
        if earlier and (ends == ends[0]).all():  # sorted: all are equal
            return
        pairs = goal.open(rows, columns)
        if not pairs.any():
            return
        apart = self._looks[rows][:, None] ^ self._looks[columns]
        pairs &= _count_bits(apart) <= self._bits
        for mask in earlier:
            pairs &= (apart & mask) != 0
        wide, other = self._aspects[rows][:, None], self._aspects[columns]
        pairs &= np.abs(wide - other) <= _SAME_SHAPE * np.maximum(wide, other)
        left, right = np.flatnonzero(pairs.any(axis=1)), np.flatnonzero(pairs.any(axis=0))
        for some in self._by_size(rows, left):
            for others in self._by_size(columns, right):
                part = pairs[np.ix_(some, others)]
                if part.any():
                    self._compare_thumbs(rows[some], columns[others], part, goal)

    def _by_size(self, numbers: _Numbers, places: _Numbers) -> Iterator[_Numbers]:
        """Places in ``numbers`` of pictures whose thumbnails have one size."""
        sizes, which = np.unique(self._sizes[numbers[places]], axis=0, return_inverse=True)
        return (places[which.reshape(-1) == number] for number in range(len(sizes)))

    def _compare_thumbs(self, rows: _Numbers, columns: _Numbers, pairs: _Mask, goal: _Goal) -> None:
        size = min(tuple(self._sizes[rows[0]].tolist()), tuple(self._sizes[columns[0]].tolist()))
        first, second = self._thumbs(rows, size), self._thumbs(columns, size)
        pairs &= goal.open(rows, columns)
        # Few spots, where these pictures differ most, tell most pairs apart.
        spread = np.concatenate([first, second]).var(axis=0)
        for spot in np.argsort(-spread, kind="stable")[:_SPOTS].tolist():
            pairs &= np.abs(first[:, spot, None] - second[:, spot]) <= self._limit
        while pairs.any():
            at = pairs.argmax(axis=1)
            here = np.flatnonzero(pairs.any(axis=1))
            there = at[here]
            pairs[here, there] = False
            apart = np.abs(first[here] - second[there]).max(axis=1, initial=0)
            near = apart <= self._limit
            if near.any():
                goal.note(rows[here[near]], columns[there[near]])
                pairs &= goal.open(rows, columns)

    def _thumbs(self, numbers: _Numbers, size: tuple[int, ...]) -> NDArray[np.float32]:
        """``[N, S]`` thumbnails of a size (width, height), of mean 0 and deviation 1."""
        width, height = size
        fitted = b"".join(_resized(self._items[i], width, height) for i in numbers.tolist())
        return _normal(np.frombuffer(fitted, dtype=np.uint8).reshape(len(numbers), -1))


def _differences(first: Checked, others: Sequence[Checked]) -> list[float]:
    if not others:
        return []
    width = first.thumb_width
    height = len(first.thumb) // width
    thumbs = b"".join(_resized(other, width, height) for other in others)
    both = np.frombuffer(first.thumb + thumbs, dtype=np.uint8).reshape(-1, len(first.thumb))
    values = _normal(both)
    largest: list[float] = np.abs(values[1:] - values[0]).max(axis=1).tolist()
    return largest


def _normal(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = thumbs.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= values.std(axis=1, keepdims=True).clip(_MIN_DEVIATION)
    return values


def _resized(item: Checked, width: int, height: int) -> bytes:
    if item.thumb_width == width and len(item.thumb) == width * height:
        return item.thumb
    thumb = np.frombuffer(item.thumb, dtype=np.uint8).reshape(-1, item.thumb_width)
    return np.asarray(cv2.resize(thumb, (width, height), interpolation=cv2.INTER_AREA)).tobytes()


def _aspects(items: Sequence[Checked]) -> NDArray[np.float64]:
    return np.array([item.sample.width / item.sample.height for item in items], dtype=np.float64)


def _bands(distance: int) -> list[tuple[int, int]]:
    """(start, width) of bands of which hashes with ``distance`` other bits share one at least."""
    edges = np.linspace(0, _BITS, distance + 2).round().astype(int).tolist()
    return [(low, high - low) for low, high in pairwise(edges)]


def _candidates(
    looks: NDArray[np.uint64], aspects: NDArray[np.float64], distance: int
) -> Iterator[tuple[int, list[int]]]:
    """A picture, and later ones of like shape with at most ``distance`` other bits; may repeat."""
    for low, width in _bands(distance):
        for bucket in _buckets(looks, np.arange(len(looks)), low, width):
            for at, first in enumerate(bucket[:-1].tolist()):
                others = bucket[at + 1 :]
                apart = _count_bits(looks[first] ^ looks[others])
                shaped = np.abs(aspects[others] - aspects[first]) <= _SAME_SHAPE * aspects[first]
                near = np.flatnonzero((apart <= distance) & shaped)
                if len(near) > _MAX_CANDIDATES:
                    near = near[np.argsort(apart[near], kind="stable")[:_MAX_CANDIDATES]]
                if len(near):
                    yield int(first), others[near].tolist()


def _buckets(
    looks: NDArray[np.uint64], members: _Numbers, start: int, width: int
) -> Iterator[_Numbers]:
    """Members that share ``width`` bits from ``start`` on (around the end); two or more, sorted."""
    keys = _bits(looks[members], start, width)
    order = np.argsort(keys, kind="stable")
    cuts = np.flatnonzero(np.diff(keys[order])) + 1
    for bucket in np.split(members[order], cuts):
        if len(bucket) > _MAX_BUCKET and width < _BITS:
            yield from _buckets(looks, bucket, start, min(_BITS, width + 8))
        elif len(bucket) > 1:
            yield from np.array_split(bucket, -(-len(bucket) // _MAX_BUCKET))


def _bits(looks: NDArray[np.uint64], start: int, width: int) -> NDArray[np.uint64]:
    turned = looks if start == 0 else (looks << np.uint64(start)) | (looks >> np.uint64(64 - start))
    return turned >> np.uint64(64 - width)


def _band_mask(start: int, width: int) -> np.uint64:
    return np.uint64(((1 << width) - 1) << (_BITS - start - width))


_PAIRS, _FOURS, _EIGHTS = (
    np.uint64(0x5555555555555555),
    np.uint64(0x3333333333333333),
    np.uint64(0x0F0F0F0F0F0F0F0F),
)


def _count_bits(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Ones of each value: neighbours are added up, in twos, fours and eights (HAKMEM 169)."""
    counts = values - ((values >> np.uint64(1)) & _PAIRS)
    counts = (counts & _FOURS) + ((counts >> np.uint64(2)) & _FOURS)
    counts = (counts + (counts >> np.uint64(4))) & _EIGHTS
    sums: NDArray[np.uint64] = (counts * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return sums.astype(np.uint8)
