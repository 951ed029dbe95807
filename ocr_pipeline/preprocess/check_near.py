"""Pictures that are nearly the same: two encodings or exposures of one.

Candidates come from bands of a 64-bit difference hash: hashes that differ in no more than d bits
agree in at least one of d + 1 bands. Thumbnails decide. Memory and time stay bounded where a
hundred thousand pictures look alike, at the price that some pairs among these are not found.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.preprocess.check_types import Checked

_BITS = 64
_MAX_BUCKET = 1000
"""Pictures that share a band; more are told apart by the bits beside it, or looked at in parts."""
_MAX_CANDIDATES = 64
"""Of each picture in a band, the most alike."""
_SAME_SHAPE = 0.05
"""Two sizes of one picture differ by no more in aspect."""
_MIN_DEVIATION = 4.0
"""Fainter pictures are compared as if they had this standard deviation of grey, of 255."""


def find_near(items: Sequence[Checked], *, bits: int, limit: float) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of pictures that are nearly, but not exactly, the same; sorted.

    Args:
        items: with their hashes and thumbnails.
        bits: hashes may differ in so many.
        limit: of :func:`difference`.
    """
    looks = np.array([item.look for item in items], dtype=np.uint64)
    aspects = np.array([item.sample.width / item.sample.height for item in items])
    found: set[tuple[int, int]] = set()
    for first, others in _candidates(looks, aspects, bits):
        fresh = [i for i in others if (first, i) not in found]
        fresh = [i for i in fresh if items[i].pixels != items[first].pixels]
        values = _differences(items[first], [items[i] for i in fresh])
        found |= {(first, i) for i, value in zip(fresh, values, strict=True) if value <= limit}
    return sorted(found)


def difference(first: Checked, second: Checked) -> float:
    """Largest difference of two thumbnails at any spot, in standard deviations of grey."""
    return _differences(first, [second])[0]


def _differences(first: Checked, others: Sequence[Checked]) -> list[float]:
    if not others:
        return []
    size = len(first.thumb)
    thumbs = b"".join(_fitted(other, first) for other in others)
    both = np.frombuffer(first.thumb + thumbs, dtype=np.uint8).reshape(-1, size)
    values = both.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= values.std(axis=1, keepdims=True).clip(_MIN_DEVIATION)
    largest: list[float] = np.abs(values[1:] - values[0]).max(axis=1).tolist()
    return largest


def _fitted(item: Checked, model: Checked) -> bytes:
    """The thumbnail of one picture in the size of another's."""
    if item.thumb_width == model.thumb_width and len(item.thumb) == len(model.thumb):
        return item.thumb
    thumb = np.frombuffer(item.thumb, dtype=np.uint8).reshape(-1, item.thumb_width)
    size = (model.thumb_width, len(model.thumb) // model.thumb_width)
    return np.asarray(cv2.resize(thumb, size, interpolation=cv2.INTER_AREA)).tobytes()


def _candidates(
    looks: NDArray[np.uint64], aspects: NDArray[np.float64], distance: int
) -> Iterator[tuple[int, list[int]]]:
    """A picture, and later ones of like shape with at most ``distance`` other bits; may repeat."""
    edges = np.linspace(0, _BITS, distance + 2).round().astype(int)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        for bucket in _buckets(looks, np.arange(len(looks)), low, high - low):
            for at, first in enumerate(bucket[:-1].tolist()):
                others = bucket[at + 1 :]
                apart = _differing_bits(looks[first] ^ looks[others])
                shaped = np.abs(aspects[others] - aspects[first]) <= _SAME_SHAPE * aspects[first]
                near = np.flatnonzero((apart <= distance) & shaped)
                if len(near) > _MAX_CANDIDATES:
                    near = near[np.argsort(apart[near], kind="stable")[:_MAX_CANDIDATES]]
                if len(near):
                    yield int(first), others[near].tolist()


def _buckets(
    looks: NDArray[np.uint64], members: NDArray[np.intp], start: int, width: int
) -> Iterator[NDArray[np.intp]]:
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


def _differing_bits(values: NDArray[np.uint64]) -> NDArray[np.intp]:
    bits = np.unpackbits(values.reshape(-1, 1).view(np.uint8), axis=1)
    counts: NDArray[np.intp] = bits.sum(axis=1, dtype=np.intp)
    return counts
