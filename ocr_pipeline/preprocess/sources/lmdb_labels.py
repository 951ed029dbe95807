"""LMDB databases of lines: ``num-samples``, ``image-%09d``, ``label-%09d`` from 1 on."""

from collections.abc import Iterator

from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.ops import parse
from ocr_pipeline.preprocess.sources.files import Reading, exists
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import unparsed
from ocr_pipeline.storage import MissingFileError, Root, open_root

_COUNT = "num-samples"
_GIVE_UP = 1000
"""Samples in a row that may be missing: ``num-samples`` is not to be believed after that."""


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the lines of one database; ``image`` is the picture's key.

    Raises:
        DataError: it cannot be opened, has no ``num-samples``, or is wanted for detection.
    """
    root = open_root(reading.images, reading.storage)
    missing = 0
    count = _count(root, reading.labels)
    for number in range(1, count + 1):
        sample = _sample(root, reading.labels, number)
        missing = missing + 1 if sample.fault is not None and not sample.image else 0
        yield sample
        if missing == _GIVE_UP:
            sentence = f"{_GIVE_UP} samples in a row are missing; {_COUNT} says {count}"
            yield unparsed(f"{reading.labels}#{_COUNT}", LabelError(sentence))
            return


def _count(root: Root, labels: str) -> int:
    try:
        raw = root.read(_COUNT)
    except MissingFileError as error:
        raise DataError(
            f"{error}; expected a database with {_COUNT}, image-000000001, label-000000001, ..."
        ) from None
    if not (raw.isdigit() and len(raw) < 16):
        raise DataError(f"{labels}: {_COUNT} is {raw[:40]!r}; expected a number like b'1000'")
    return int(raw)


def _sample(root: Root, labels: str, number: int) -> RawSample:
    image, label = f"image-{number:09d}", f"label-{number:09d}"
    place = f"{labels}#{label}"
    there = [key for key in (image, label) if exists(root, key)]
    if len(there) < 2:
        gone = " and ".join(key for key in (image, label) if key not in there)
        error = LabelError(f"the database has no {gone}; write it again")
        return unparsed(place, error, image=image if there else "")
    try:
        return RawSample(place, image, parse.decode(root.read(label)))
    except LabelError as error:
        return unparsed(place, error, image=image)
