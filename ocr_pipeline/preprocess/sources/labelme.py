"""labelme and its relatives: one JSON file a picture, with ``shapes``."""

from collections.abc import Iterator
from itertools import islice
from posixpath import normpath

from ocr_pipeline.errors import LabelError
from ocr_pipeline.ops import parse
from ocr_pipeline.preprocess.sources.files import (
    LabelFile,
    Pictures,
    Reading,
    join,
    label_files,
    read_whole,
)
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import Broken, Labelled, picture_samples, unparsed

SUFFIXES = (".json",)
_INSIDE = "**/*.json"
_AS_DRAWN = ("polygon", "rotation", "oriented_rectangle", "quadrilateral")
_IGNORE_FLAGS = ("ignore", "difficult", "illegible")
_LOOK_AHEAD = 100
"""Files that are looked at to tell which field holds the text."""


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the samples of a folder of labelme files; see docs/sources.md.

    The text is a shape's ``description`` where any shape of the first files has one (``label`` is
    a class then), else its ``label``.

    Raises:
        DataError: a file cannot be read, or there is none.
    """
    pictures = Pictures(reading.images, reading.storage)
    key = "description" if _has_descriptions(reading) else "label"
    for file in _files(reading):
        yield from _read_file(file, reading, pictures, key)


def _files(reading: Reading) -> Iterator[LabelFile]:
    return label_files(reading.labels, reading.storage, inside=_INSIDE, suffixes=SUFFIXES)


def _has_descriptions(reading: Reading) -> bool:
    for file in islice(_files(reading), _LOOK_AHEAD):
        try:
            shapes = _shapes(_load(file, reading))
        except LabelError:
            continue
        if any(isinstance(shape, dict) and shape.get("description") for shape in shapes):
            return True
    return False


def _load(file: LabelFile, reading: Reading) -> dict[str, object]:
    content = parse.read_json_file(read_whole(file.url, reading.storage))
    return parse.as_dict(content, "the file's content")


def _shapes(card: dict[str, object]) -> list[object]:
    if "shapes" not in card:
        raise LabelError("no 'shapes': not a file of labelme; move it elsewhere")
    return parse.as_list(card["shapes"], "shapes")


def _read_file(
    file: LabelFile, reading: Reading, pictures: Pictures, key: str
) -> Iterator[RawSample]:
    try:
        card = _load(file, reading)
        shapes = _shapes(card)
        image = _image(card, file, reading, pictures)
    except LabelError as error:
        yield unparsed(file.url, error)
        return
    if card.get("imageData") and not pictures.exists(image):
        sentence = (
            f"{image}: no such picture, the JSON file alone holds it (imageData); write it out, "
            "e.g. with labelme_export_json, or check images"
        )
        yield RawSample(file.url, image, fault=("missing_picture", sentence))
        return
    regions = [_region(shape, f"{file.url}#{at}", key) for at, shape in enumerate(shapes, start=1)]
    size = parse.as_size(card.get("imageHeight"), card.get("imageWidth"))
    yield from picture_samples(reading.task, file.url, image, regions, size=size)


def _image(card: dict[str, object], file: LabelFile, reading: Reading, pictures: Pictures) -> str:
    """The picture's path below the image root: ``imagePath`` starts from the JSON file's folder."""
    written = parse.as_text(card.get("imagePath"), "imagePath").replace("\\", "/")
    if not written:
        raise LabelError("imagePath is empty; name the picture")
    beside = normpath(join(file.folder, written))
    if not reading.images_given:
        return beside
    name = written.rpartition("/")[2]
    return pictures.find([beside, join(file.folder, name), name])


def _region(shape: object, place: str, key: str) -> Labelled | Broken:
    try:
        return _parse_shape(parse.as_dict(shape, "the shape"), place, key)
    except LabelError as error:
        return Broken(place, error)


def _parse_shape(shape: dict[str, object], place: str, key: str) -> Labelled:
    text = parse.as_text(shape.get("label"), "label")
    if key == "description":
        text = parse.as_text(shape.get("description") or "", "description")
    flags = parse.as_dict(shape.get("flags") or {}, "flags")
    marks = [flags.get(name) for name in _IGNORE_FLAGS] + [shape.get("difficult")]
    ignore = any(parse.as_flag(mark, "an ignore flag") for mark in marks)
    return Labelled(place, _outline(shape), text, ignore or parse.means_ignore(text))


def _outline(shape: dict[str, object]) -> parse.Points:
    kind = shape.get("shape_type") or "polygon"  # labelme before 3.0 drew nothing else
    points = parse.as_pairs(shape.get("points"), "points")
    if kind in _AS_DRAWN or (kind == "rectangle" and len(points) == 4):
        return points
    if kind != "rectangle":
        raise LabelError(
            f"a shape of type {parse.shown(kind)}; expected polygon, rectangle or rotation"
        )
    if len(points) != 2:
        raise LabelError(f"a rectangle of {len(points)} points; expected 2 corners, or all 4")
    (ax, ay), (bx, by) = points
    return parse.corners(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
