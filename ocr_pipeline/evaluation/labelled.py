"""Every label of a list or of a dataset, with its picture and the place where it stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, Split, cut_out
from ocr_pipeline.errors import DataError, ImageError
from ocr_pipeline.evaluation.sources import labels_task
from ocr_pipeline.ops.decode import BGRImage, read_image
from ocr_pipeline.ops.rec_lists import read_rec_list

_SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True)
class LabelPart:
    """Labels that stand in one file.

    Attributes:
        samples: in the order of the file.
        lines: number of the line that each sample stands on, from 1.
        file: the file, for places.
        read: gives the picture of a sample, ``[H, W, 3]`` uint8 BGR, cut out where it is a part.
        content: gives the encoded picture that the sample is, or is a part of.
        listed: whether the file is a list of ``image<TAB>text``.
    """

    samples: Sequence[RecSample]
    lines: Sequence[int]
    file: Path
    read: Callable[[RecSample], BGRImage]
    content: Callable[[RecSample], bytes]
    listed: bool

    def place(self, number: int) -> str:
        """Where a sample stands: ``path:line``."""
        return f"{self.file}:{self.lines[number]}"


def every_label(labels: Path, images: Path | None) -> list[LabelPart]:
    """Return the labels of a list, or those of all parts of a dataset.

    Args:
        labels: PaddleOCR list of lines, or a dataset's folder.
        images: folder that image paths start from; None: the list's own, the dataset's sources.

    Raises:
        DataError: the list cannot be read, has a line without a tab, holds regions of pages, or is
            empty.
        ArtifactError: a folder that is no recognition dataset.
    """
    parts = _parts(labels, images) if labels.is_dir() else [_listed(labels, images)]
    if not any(len(part.samples) for part in parts):
        raise DataError(f"{labels}: holds no label line")
    return parts


def _parts(folder: Path, images: Path | None) -> list[LabelPart]:
    dataset = Dataset.load(folder)
    parts = []
    for split in _SPLITS:
        samples, pictures = dataset.own_lines(split), dataset.pictures(split)
        read, content = (pictures.read, pictures.content) if images is None else _below(images)
        lines = range(1, len(samples) + 1)
        file = folder / f"{split}.jsonl"
        parts.append(LabelPart(samples, lines, file, read, content, listed=False))
    return parts


def _listed(labels: Path, images: Path | None) -> LabelPart:
    task, why = labels_task(labels)
    if task == "det":
        raise DataError(
            f"{labels}: regions of pages ({why}); labels of lines are looked at. Make a dataset of "
            "the regions with task=rec (scripts/prepare.py) and give that"
        )
    samples, lines = [], []
    for line in read_rec_list(labels):
        if not line.image:
            raise DataError(f"{line.source}: no tab; expected image<TAB>text")
        samples.append(RecSample(line.image, line.text, height=0, width=0))
        lines.append(int(line.source.rpartition(":")[2]))
    read, content = _below(images or labels.parent)
    return LabelPart(samples, lines, labels, read, content, listed=True)


def _below(root: Path) -> tuple[Callable[[RecSample], BGRImage], Callable[[RecSample], bytes]]:
    """What reads pictures, and their bytes, below a folder."""

    def content(sample: RecSample) -> bytes:
        path = root / sample.image
        try:
            return path.read_bytes()
        except OSError as error:
            raise ImageError(
                f"{path}: cannot read this picture ({error.strerror}); check the path and --images"
            ) from None

    def read(sample: RecSample) -> BGRImage:
        picture = read_image(root / sample.image)
        return picture if sample.crop is None else cut_out(picture, sample.crop)

    return read, content
