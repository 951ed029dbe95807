"""ICDAR 2015: one ``gt_NAME.txt`` a picture, ``x1,y1,x2,y2,x3,y3,x4,y4,text`` a line."""

import math
import re
from collections.abc import Iterator

from ocr_pipeline.errors import LabelError
from ocr_pipeline.ops import parse
from ocr_pipeline.preprocess.sources.files import (
    LabelFile,
    Line,
    Pictures,
    Reading,
    join,
    label_files,
    read_lines,
)
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import Broken, Labelled, picture_samples

SUFFIXES = (".txt",)
_PREFIX = "gt_"
_ENDINGS = (".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".bmp", ".webp", ".tif", ".tiff")
_NUMBER = re.compile(r"\s*[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?\s*")
_COORDINATES = 8


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the samples of a folder of ``gt_*.txt``; see docs/sources.md.

    Raises:
        DataError: a file cannot be read, or there is none.
    """
    pictures = Pictures(reading.images, reading.storage)
    pattern = f"**/{_PREFIX}*.txt"
    for file in label_files(reading.labels, reading.storage, inside=pattern, suffixes=SUFFIXES):
        yield from _read_file(file, reading, pictures)


def _read_file(file: LabelFile, reading: Reading, pictures: Pictures) -> Iterator[RawSample]:
    name = file.url.rpartition("/")[2].removesuffix(".txt").removeprefix(_PREFIX)
    stem = join(file.folder, name)
    image = pictures.find([stem + ending for ending in _ENDINGS])
    regions = [_region(line) for line in read_lines(file.url, reading.storage)]
    yield from picture_samples(reading.task, file.url, image, regions)


def _region(line: Line) -> Labelled | Broken:
    try:
        return _parse_region(line)
    except LabelError as error:
        return Broken(line.place, error)


def _parse_region(line: Line) -> Labelled:
    if line.error is not None:
        raise line.error
    fields = line.text.split(",", _COORDINATES)  # the text may hold commas
    numbers = [_number(field) for field in fields[:_COORDINATES]]
    if len(numbers) < _COORDINATES or None in numbers:
        raise LabelError(
            f"{line.text[:60]!r} does not begin with 8 numbers; expected "
            "x1,y1,x2,y2,x3,y3,x4,y4,text"
        )
    text = fields[_COORDINATES] if len(fields) > _COORDINATES else None
    points = parse.as_flat_points(numbers, "the region")
    return Labelled(line.place, points, text, text is not None and parse.means_ignore(text))


def _number(field: str) -> float | None:
    if not _NUMBER.fullmatch(field):
        return None
    number = float(field)
    return number if math.isfinite(number) else None
