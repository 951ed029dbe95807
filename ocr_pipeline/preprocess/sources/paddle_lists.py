"""PaddleOCR's lists: ``image<TAB>text`` (rec), ``image<TAB>[{regions}]`` (det), one a line."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.ops.det_lists import parse_region, split_images, split_regions
from ocr_pipeline.preprocess.sources.files import (
    LabelFile,
    Line,
    Reading,
    join,
    label_files,
    read_lines,
)
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import Broken, Labelled, picture_samples, unparsed

_LOOK_AHEAD = 100
"""Lines that are looked at to tell a recognition list from a detection list."""


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the samples of one list or of all that a pattern names; see docs/sources.md.

    Raises:
        DataError: a list cannot be read, or a recognition list is given for detection.
    """
    for file in label_files(reading.labels, reading.storage):
        yield from _read_file(file, reading)


def split_line(line: Line) -> tuple[str, str]:
    """Image and label columns of a line.

    Raises:
        LabelError: it cannot be read as text, or has no image or no tab.
    """
    if line.error is not None:
        raise line.error
    image, tab, label = line.text.partition("\t")
    if not tab:
        raise LabelError(f"{line.text[:60]!r} has no tab; expected image<TAB>label")
    if not image.strip():
        raise LabelError(f"{line.text[:60]!r} names no image; expected image<TAB>label")
    return image, label


def parse_regions(label: str, place: str) -> list[Labelled | Broken]:
    """Regions of a detection label; each has its own place, ``place#number``.

    Raises:
        LabelError: not a JSON list.
    """
    entries = split_regions(label)
    return [_region(entry, f"{place}#{at}") for at, entry in enumerate(entries, start=1)]


def _read_file(file: LabelFile, reading: Reading) -> Iterator[RawSample]:
    lines = read_lines(file.url, reading.storage)
    first = list(islice(lines, _LOOK_AHEAD))
    with_regions = _hold_regions(first, file, reading)
    folder = "" if reading.images_given else file.folder
    for line in chain(first, lines):
        yield from _read_line(line, folder, reading, with_regions=with_regions)


def _hold_regions(lines: Sequence[Line], file: LabelFile, reading: Reading) -> bool:
    """Whether a file that begins with these lines is a detection list.

    Raises:
        DataError: it is none, but has to be one.
    """
    columns = [line.text.partition("\t") for line in lines if "\t" in line.text]
    labels = [label.lstrip() for _, _, label in columns]
    if reading.task == "rec":
        like_regions = [x for x in labels if x.startswith("[{") and '"points"' in x]
        return len(like_regions) * 2 > len(labels)
    if labels and not any(label.startswith(("[", "{")) for label in labels):
        raise DataError(
            f"{file.url}: a recognition list (first label: {labels[0][:40]!r}); to train a "
            'detector give a list of image<TAB>[{"transcription": ..., "points": ...}]'
        )
    return True


def _read_line(
    line: Line, folder: str, reading: Reading, *, with_regions: bool
) -> Iterator[RawSample]:
    try:
        column, label = split_line(line)
        images = split_images(column)
        regions = parse_regions(label, line.place) if with_regions else None
    except LabelError as error:
        column = line.text.partition("\t")[0] if "\t" in line.text else ""
        yield unparsed(line.place, error, image=join(folder, column) if column else "")
        return
    for name in images:
        image = join(folder, name)
        if regions is None:
            yield RawSample(line.place, image, label)
        else:
            yield from picture_samples(reading.task, line.place, image, regions)


def _region(entry: object, place: str) -> Labelled | Broken:
    try:
        region = parse_region(entry)
    except LabelError as error:
        return Broken(place, error)
    return Labelled(place, region.points, region.text, region.ignore)
