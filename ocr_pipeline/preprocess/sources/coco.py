"""COCO files with text: the layout of MS COCO, and that of COCO-Text and TextOCR."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.ops import parse
from ocr_pipeline.preprocess.sources.files import LabelFile, Reading, join, label_files, read_whole
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import Broken, Labelled, picture_samples, unparsed

_TEXT_KEYS = ("utf8_string", "caption", "text", "translation")
_IGNORE_KEYS = ("iscrowd", "ignore")


@dataclass(frozen=True)
class _Picture:
    place: str
    image: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class _Content:
    """One file, sorted: pictures by id, their regions, and what belongs to no picture."""

    pictures: dict[str, _Picture]
    regions: dict[str, list[Labelled | Broken]]
    faults: list[RawSample]


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the samples of COCO files; see docs/sources.md.

    Raises:
        DataError: a file cannot be read, or has no text and is wanted for recognition.
    """
    for file in label_files(reading.labels, reading.storage):
        try:
            content = _sort(file, reading)
        except LabelError as error:
            yield unparsed(file.url, error)
            continue
        _check_text(content, file, reading)
        yield from content.faults
        for key, picture in content.pictures.items():
            regions = content.regions.get(key, [])
            yield from picture_samples(
                reading.task, picture.place, picture.image, regions, size=picture.size
            )


def _check_text(content: _Content, file: LabelFile, reading: Reading) -> None:
    found = [region for regions in content.regions.values() for region in regions]
    labelled = [region for region in found if isinstance(region, Labelled)]
    if reading.task == "rec" and labelled and all(region.text is None for region in labelled):
        raise DataError(
            f"{file.url}: none of {len(labelled)} annotations has a text (looked for "
            f"{', '.join(_TEXT_KEYS)}, attributes.text); use the file for detection"
        )


def _sort(file: LabelFile, reading: Reading) -> _Content:
    content = parse.read_json_file(read_whole(file.url, reading.storage))
    card = parse.as_dict(content, "the file's content")
    images = _entries(card, "images", "imgs")
    annotations = _entries(card, "annotations", "anns")
    sorted_ = _Content({}, defaultdict(list), [])
    folder = "" if reading.images_given else file.folder
    for number, value in enumerate(images):
        _add_picture(sorted_, value, f"{file.url}#images[{number}]", folder)
    for number, value in enumerate(annotations):
        _add_annotation(sorted_, value, f"{file.url}#annotations[{number}]")
    return sorted_


def _entries(card: dict[str, object], name: str, name_of_dict: str) -> list[object]:
    """A list under its COCO name, or a dict by id under its COCO-Text name."""
    if name in card:
        return parse.as_list(card[name], name)
    if name_of_dict in card:
        return list(parse.as_dict(card[name_of_dict], name_of_dict).values())
    raise LabelError(f"neither {name!r} nor {name_of_dict!r}: not a file of COCO; check kind")


def _add_picture(content: _Content, value: object, place: str, folder: str) -> None:
    try:
        card = parse.as_dict(value, "the image")
        key = _id(card.get("id"), "id")
        place = place.rpartition("#")[0] + f"#image:{key}"
        name = parse.as_text(card.get("file_name"), "file_name")
        if not name:
            raise LabelError("file_name is empty; name the picture")
        if key in content.pictures:
            raise LabelError(f"image id {key} is taken by {content.pictures[key].image}")
    except LabelError as error:
        content.faults.append(unparsed(place, error))
        return
    size = parse.as_size(card.get("height"), card.get("width"))
    content.pictures[key] = _Picture(place, join(folder, name), size)


def _add_annotation(content: _Content, value: object, place: str) -> None:
    try:
        card = parse.as_dict(value, "the annotation")
        if "id" in card:
            place = place.rpartition("#")[0] + f"#annotation:{_id(card['id'], 'id')}"
        picture = _id(card.get("image_id"), "image_id")
        if picture not in content.pictures:
            raise LabelError(f"image_id is {picture}, which is no id of a sound image")
    except LabelError as error:
        content.faults.append(unparsed(place, error))
        return
    content.regions[picture].append(_region(card, place))


def _id(value: object, what: str) -> str:
    """Ids are numbers in COCO, texts in TextOCR."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise LabelError(f"{what} is {parse.shown(value)}; expected a whole number or a text")
    return value if isinstance(value, str) else str(value)


def _region(card: dict[str, object], place: str) -> Labelled | Broken:
    try:
        text = _text(card)
        ignore = any(parse.as_flag(card.get(key), key) for key in _IGNORE_KEYS)
        ignore = ignore or card.get("legibility") == "illegible"
        points = _outline(card)
    except LabelError as error:
        return Broken(place, error)
    return Labelled(place, points, text, ignore or (text is not None and parse.means_ignore(text)))


def _text(card: dict[str, object]) -> str | None:
    """The first text field that is there; null counts as not there."""
    attributes = card.get("attributes")
    inside = attributes.get("text") if isinstance(attributes, dict) else None
    found = [(key, card.get(key)) for key in _TEXT_KEYS]
    found.insert(2, ("attributes.text", inside))
    for key, value in found:
        if value is not None:
            return parse.as_text(value, key)
    return None


def _outline(card: dict[str, object]) -> parse.Points:
    """The polygon, else the box; the box around several polygons."""
    for key in ("mask", "points"):  # COCO-Text 2, TextOCR
        if key in card and "segmentation" not in card:
            return parse.as_flat_points(card[key], key)
    segmentation = card.get("segmentation")
    if isinstance(segmentation, list) and segmentation:
        parts = [
            parse.as_flat_points(part, f"segmentation[{at}]")
            for at, part in enumerate(segmentation)
        ]
        return parts[0] if len(parts) == 1 else _around(parts)
    box = parse.as_list(card.get("bbox"), "bbox")
    if len(box) != 4:
        raise LabelError(f"bbox is {parse.shown(box)}; expected [left, top, width, height]")
    x, y, width, height = (parse.as_number(n, f"bbox[{at}]") for at, n in enumerate(box))
    return parse.corners(x, y, x + width, y + height)


def _around(parts: list[parse.Points]) -> parse.Points:
    points = [point for part in parts for point in part]
    if not points:
        return ()
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return parse.corners(min(xs), min(ys), max(xs), max(ys))
