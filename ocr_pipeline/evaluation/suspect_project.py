"""Suspects as a folder to correct in PPOCRLabel, with a table and a page to look at."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.artifacts.folder import staged
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.evaluation.labelled import LabelPart
from ocr_pipeline.evaluation.suspect_page import Card, page
from ocr_pipeline.evaluation.suspects import Ranking, Suspect
from ocr_pipeline.ops.thumbnail import data_uri, thumbnail

LABELS, CACHE, STATES = "Label.txt", "Cache.cach", "fileState.txt"
TABLE, PAGE, REST = "suspects.tsv", "suspects.html", "rest.txt"
_COLUMNS = (
    "image",
    "label",
    "read",
    "confidence",
    "score",
    "turned",
    "picture",
    "place",
    "reason",
)
_SHOWN_BY_ALL = (".jpg", ".jpeg", ".png", ".bmp")
_LONGEST_NAME = 60
_NO_NAME = re.compile(r"[^\w.-]+")
_CHANGED = re.compile("([\x00-\x1f]|t(?=rue)|f(?=alse)|n(?=ull))")
"""PPOCRLabel makes True of each "true" in a line of Label.txt before it reads the line as Python;
control characters are among these because JSON's short escapes could make such words."""


@dataclass(frozen=True)
class Written:
    """What stands in a folder of suspects.

    Attributes:
        folder: where.
        page: to look at in a browser.
        pictures: their names, worst first.
        rest: the list of all labels that are no suspects; None for a dataset.
    """

    folder: Path
    page: Path
    pictures: Sequence[str]
    rest: Path | None


def check_folder(folder: Path) -> None:
    """Say before long work that a folder cannot be written.

    Raises:
        ConfigError: it exists: corrections may be in it.
    """
    if folder.exists():
        raise ConfigError(
            f"{folder}: exists already, and may hold corrections; give another name or delete it"
        )


def write_project(
    folder: Path, ranking: Ranking, parts: Sequence[LabelPart], *, count: int, title: str
) -> Written:
    """Write the first suspects: pictures in the order of suspicion, none of them confirmed.

    Args:
        folder: to make; its name is part of the labels, as PPOCRLabel writes them.
        ranking: of the labels.
        parts: that were ranked.
        count: so many suspects, at most.
        title: of the page: what was looked at with what.

    Raises:
        ConfigError: ``folder`` exists.
        ArtifactError: it cannot be written.
        ImageError, DataError: a picture cannot be read any more.
    """
    check_folder(folder)
    listed = ranking.suspects[:count]
    with staged(folder) as scratch:
        project = folder.absolute().name
        cards, names, lines = [], [], []
        for rank, suspect in enumerate(listed, start=1):
            part = parts[suspect.part]
            picture = part.read(suspect.sample)
            name = _name(rank, suspect.sample)
            (scratch / name).write_bytes(_content(suspect.sample, part))
            height, width = picture.shape[:2]
            lines.append(f"{project}/{name}\t{_regions(suspect.sample.text, height, width)}\n")
            cards.append(Card(suspect, data_uri(thumbnail(picture, None)), name))
            names.append(name)
        # The tool saves Label.txt with the confirmed pictures alone; it takes the labels of the
        # others from its cache when the folder is opened again.
        for file in (LABELS, CACHE):
            (scratch / file).write_text("".join(lines), encoding="utf-8")
        (scratch / STATES).write_text("", encoding="utf-8")
        _write_table(scratch / TABLE, listed, names)
        html = page(cards, samples=ranking.samples, differing=len(ranking.suspects), title=title)
        (scratch / PAGE).write_text(html, encoding="utf-8")
        rest = _write_rest(scratch, listed, parts)
    return Written(folder, folder / PAGE, names, folder / REST if rest else None)


def row(suspect: Suspect) -> dict[str, object]:
    """One suspect as values for a program."""
    return {
        "image": suspect.sample.image,
        "label": suspect.sample.text,
        "read": suspect.read,
        "confidence": round(suspect.confidence, 4),
        "score": round(suspect.score, 3),
        "turned": suspect.turned,
        "form_only": suspect.form_only,
        "place": suspect.place,
        "reason": suspect.reason(),
    }


def _name(rank: int, sample: RecSample) -> str:
    """A picture's name: sorted by rank, with its old name behind."""
    stem = _NO_NAME.sub("_", _old_name(sample).stem)[:_LONGEST_NAME]
    suffix = _old_name(sample).suffix.lower() if _is_whole(sample) else ".png"
    return f"{rank:05d}_{stem}{suffix}"


def _content(sample: RecSample, part: LabelPart) -> bytes:
    """The picture file, byte for byte where that is possible."""
    if _is_whole(sample):
        return part.content(sample)
    return cv2.imencode(".png", part.read(sample))[1].tobytes()


def _is_whole(sample: RecSample) -> bool:
    """Whether the picture file is the line, and PPOCRLabel can show it."""
    return sample.crop is None and _old_name(sample).suffix.lower() in _SHOWN_BY_ALL


def _old_name(sample: RecSample) -> PurePosixPath:
    return PurePosixPath(sample.image.replace("\\", "/"))


def _regions(text: str, height: int, width: int) -> str:
    """The label column: one region that covers the picture."""
    points = [[0, 0], [width, 0], [width, height], [0, height]]
    return f'[{{"transcription": "{_escaped(text)}", "points": {points}, "difficult": false}}]'


def _escaped(text: str) -> str:
    """The inside of a JSON string that reads the same as one of Python, whatever the tool does."""
    pieces = _CHANGED.split(text)
    pieces[::2] = [json.dumps(piece, ensure_ascii=False)[1:-1] for piece in pieces[::2]]
    pieces[1::2] = [f"\\u{ord(char):04x}" for char in pieces[1::2]]
    return "".join(pieces)


def _write_table(path: Path, listed: Sequence[Suspect], names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, dialect="excel-tab", lineterminator="\n")
        table.writerow(_COLUMNS)
        for suspect, name in zip(listed, names, strict=True):
            values = {**row(suspect), "picture": name}
            table.writerow([values[column] for column in _COLUMNS])


def _write_rest(scratch: Path, listed: Sequence[Suspect], parts: Sequence[LabelPart]) -> bool:
    """Write the labels that are no suspects where they are a list; return whether."""
    if not all(part.listed for part in parts):
        return False
    taken = {(suspect.part, suspect.number) for suspect in listed}
    with (scratch / REST).open("w", encoding="utf-8", newline="") as stream:
        for at, part in enumerate(parts):
            for number, sample in enumerate(part.samples):
                if (at, number) not in taken:
                    stream.write(f"{sample.image}\t{sample.text}\n")
    return True
