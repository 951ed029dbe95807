"""Character error rate on whole pages whose lines are known."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ocr_pipeline.errors import DataError
from ocr_pipeline.inference.reader import PageText
from ocr_pipeline.ops.geometry import Points
from ocr_pipeline.ops.metrics import edit_distance

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class TruthLine:
    """One line of a page: ``[4, 2]`` float32 (x, y) px, and its text."""

    points: Points
    text: str


@dataclass(frozen=True)
class PageScore:
    """Edits against the truth of one page.

    Attributes:
        name: of the picture.
        characters: of the truth, white space left out.
        edits: each found line compared with the truth line that it lies on; missed lines and
            invented ones count in full.
        edits_in_order: the whole page as one string, in the order that the reader gave.
    """

    name: str
    characters: int
    edits: int
    edits_in_order: int


def load_truth(path: Path) -> list[TruthLine]:
    """Read ``[[points, text], ...]``.

    Raises:
        DataError: not such a file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return [TruthLine(np.array(p, dtype=np.float32).reshape(4, 2), str(t)) for p, t in values]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: not a list of [four corner points, text] pairs ({error})"
        ) from None


def score_pages(folder: Path, read: Callable[[Path], PageText]) -> Iterator[PageScore]:
    """Read every picture of ``folder`` that has a truth file of the same name (``.json``).

    Raises:
        DataError: no such pair in the folder.
    """
    pairs = [
        (picture, picture.with_suffix(".json"))
        for picture in sorted(folder.glob("*"))
        if picture.suffix.lower() in PICTURE_SUFFIXES and picture.with_suffix(".json").exists()
    ]
    if not pairs:
        raise DataError(
            f"{folder}: no picture with a truth file of the same name (page.png, page.json)"
        )
    for picture, truth in pairs:
        yield score_page(picture.name, read(picture), load_truth(truth))


def score_page(name: str, page: PageText, truth: Sequence[TruthLine]) -> PageScore:
    """Compare one page with its truth, white space left out."""
    on_line: dict[int | None, list[tuple[float, str]]] = defaultdict(list)
    for line in page.lines:
        on_line[_line_below(line.points, truth)].append((float(line.points[:, 0].min()), line.text))
    edits = sum(len(_squeeze(text)) for _, text in on_line.pop(None, []))
    for index, target in enumerate(truth):
        found = "".join(text for _, text in sorted(on_line.get(index, [])))
        edits += edit_distance(_squeeze(found), _squeeze(target.text))
    whole = _squeeze("".join(target.text for target in truth))
    read = _squeeze("".join(line.text for line in page.lines))
    return PageScore(name, len(whole), edits, edit_distance(read, whole))


def _line_below(points: Points, truth: Sequence[TruthLine]) -> int | None:
    """Index of the truth line that covers most of a found line; None where it lies on none."""
    areas = [cv2.intersectConvexConvex(points, target.points)[0] for target in truth]
    best = int(np.argmax(areas)) if areas else -1
    return best if best >= 0 and areas[best] > 0 else None


def _squeeze(text: str) -> str:
    return "".join(text.split())
