"""XFUND: forms, ``{"documents": [{"document": [entries], "img": {...}}]}``."""

from collections.abc import Iterator

from ocr_pipeline.errors import LabelError
from ocr_pipeline.ops import parse
from ocr_pipeline.preprocess.sources.files import (
    LabelFile,
    Pictures,
    Reading,
    Spelling,
    join,
    label_files,
    read_whole,
)
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import Broken, Labelled, picture_samples, unparsed


def read(reading: Reading) -> Iterator[RawSample]:
    """Yield the samples of XFUND files; see docs/sources.md.

    Raises:
        DataError: a file cannot be read.
    """
    pictures = Pictures(reading.images, reading.storage)
    for file in label_files(reading.labels, reading.storage):
        try:
            documents = _documents(file, reading)
        except LabelError as error:
            yield unparsed(file.url, error)
            continue
        spelling = Spelling(pictures)
        for number, document in enumerate(documents):
            yield from _read_document(document, number, file, reading, spelling)


def _documents(file: LabelFile, reading: Reading) -> list[object]:
    content = parse.read_json_file(read_whole(file.url, reading.storage))
    card = parse.as_dict(content, "the file's content")
    if "documents" not in card:
        raise LabelError("no 'documents': not a file of XFUND; check kind")
    return parse.as_list(card["documents"], "documents")


def _read_document(
    value: object, number: int, file: LabelFile, reading: Reading, spelling: Spelling
) -> Iterator[RawSample]:
    place = f"{file.url}#documents[{number}]"
    try:
        document = parse.as_dict(value, "the document")
        picture = parse.as_dict(document.get("img"), "img")
        name = parse.as_text(picture.get("fname"), "img.fname")
        entries = parse.as_list(document.get("document"), "document")
        if not name:
            raise LabelError("img.fname is empty; name the picture")
    except LabelError as error:
        yield unparsed(place, error)
        return
    regions = [_region(entry, f"{place}.{at}") for at, entry in enumerate(entries)]
    image = spelling.choose(_spellings(name, file, reading))
    size = parse.as_size(picture.get("height"), picture.get("width"))
    yield from picture_samples(reading.task, place, image, regions, size=size)


def _spellings(name: str, file: LabelFile, reading: Reading) -> list[str]:
    """Beside the JSON file, or in the folder that the release's archive unpacks to."""
    folder = "" if reading.images_given else file.folder
    archive = file.url.rpartition("/")[2].removesuffix(".json")
    return [join(folder, name), join(folder, join(archive, name))]


def _region(entry: object, place: str) -> Labelled | Broken:
    try:
        line = parse.as_dict(entry, "the entry")
        box = parse.as_list(line.get("box"), "box")
        if len(box) != 4:
            raise LabelError(f"box is {parse.shown(box)}; expected [left, top, right, bottom]")
        x0, y0, x1, y1 = (parse.as_number(n, f"box[{at}]") for at, n in enumerate(box))
        text = parse.as_text(line.get("text"), "text")
    except LabelError as error:
        return Broken(place, error)
    return Labelled(place, parse.corners(x0, y0, x1, y1), text, ignore=False)
