"""PaddleOCR's detection lists: ``image<TAB>[{"transcription", "points", ...}]``, one a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.ops import parse
from ocr_pipeline.ops.rec_lists import read_rec_list

_MIN_POINTS = 3


@dataclass(frozen=True, slots=True)
class ListedRegion:
    """One region of a label.

    Attributes:
        points: (x, y) px, in the file's order and number; may be degenerate.
        text: transcription; may be empty.
        ignore: the label says so (``difficult``), or its text does (``*``, ``###``).
    """

    points: parse.Points
    text: str
    ignore: bool


@dataclass(frozen=True)
class ListedPage:
    """One picture of a list.

    Attributes:
        source: ``path:line``.
        image: image path as written.
        regions: in the file's order, each of at least 3 points.
    """

    source: str
    image: str
    regions: tuple[ListedRegion, ...]


def read_det_list(path: Path) -> Iterator[ListedPage]:
    """Yield the pictures of a list; blank lines are passed over.

    Raises:
        DataError: the file cannot be read, or a label is not sound (line and region given).
    """
    for line in read_rec_list(path):
        if not line.image.strip():
            raise DataError(f"{line.source}: no tab or no image; expected image<TAB>[regions]")
        try:
            images = split_images(line.image)
            regions = _sound_regions(line.text)
        except LabelError as error:
            raise DataError(
                f"{line.source}: {error} (`prepare --check` finds all such labels)"
            ) from None
        for image in images:
            yield ListedPage(line.source, image, regions)


def holds_regions(label: str) -> bool:
    """Whether a label is like that of a detection list, be it sound or not."""
    start = label.strip()
    return start == "[]" or start.startswith("[{")


def split_images(column: str) -> Sequence[str]:
    """Names in the image column: several pictures with one label are written as a JSON list.

    Raises:
        LabelError: a list that is empty, or holds other things than names.
    """
    if not column.startswith("["):
        return (column,)
    try:
        names = parse.read_json(column)
    except LabelError:
        return (column,)  # a name that begins with a bracket
    entries = parse.as_list(names, "the image column")
    found = [parse.as_text(name, "a name in the image column") for name in entries]
    if not found or not all(found):
        raise LabelError(f"{column[:60]!r} names no image; expected image<TAB>label")
    return found


def split_regions(label: str) -> list[object]:
    """The regions of a label, not looked into.

    Raises:
        LabelError: not a JSON list.
    """
    return parse.as_list(parse.read_json(label), "the label")


def parse_region(entry: object) -> ListedRegion:
    """One region of :func:`split_regions`.

    Raises:
        LabelError: not an object with text and points.
    """
    region = parse.as_dict(entry, "the region")
    for key in ("transcription", "points"):
        if key not in region:
            raise LabelError(f"the region {parse.shown(region)} has no {key!r}")
    text = parse.as_text(region["transcription"], "transcription")
    points = parse.as_pairs(region["points"], "points")
    difficult = parse.as_flag(region.get("difficult"), "difficult")
    return ListedRegion(points, text, difficult or parse.means_ignore(text))


def _sound_regions(label: str) -> tuple[ListedRegion, ...]:
    return tuple(
        _sound_region(entry, f"region {at}") for at, entry in enumerate(split_regions(label), 1)
    )


def _sound_region(entry: object, which: str) -> ListedRegion:
    try:
        region = parse_region(entry)
    except LabelError as error:
        raise LabelError(f"{which}: {error}") from None
    if len(region.points) < _MIN_POINTS:
        raise LabelError(
            f"{which} has {len(region.points)} points; expected at least {_MIN_POINTS}"
        )
    return region
