"""What to evaluate, and on what: names and folders as a user types them."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from ocr_pipeline.artifacts.dataset import CARD_NAME as DATASET_CARD
from ocr_pipeline.artifacts.dataset import Dataset, DetSample, RecSample, Region
from ocr_pipeline.artifacts.exported import CARD_NAME as EXPORTED_CARD
from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.config.sources import Task
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.inference.choose import load_detector, load_recognizer
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.decode import BGRImage, read_image
from ocr_pipeline.ops.det_lists import holds_regions, read_det_list
from ocr_pipeline.ops.rec_lists import read_rec_list
from ocr_pipeline.weights.source import load_trainable

_LOOK_AHEAD = 100
"""Labels that are looked at to tell a recognition list from a detection list."""


def load_any_model(source: str) -> Detector | Recognizer:
    """Return what a released name, a checkpoint, a run, or an exported model holds.

    Raises:
        ArtifactError: it is incomplete.
        EngineError: an exported model cannot be loaded.
        WeightsError: neither a known name nor a folder.
    """
    config = EngineConfig()
    if (Path(source) / EXPORTED_CARD).is_file():
        exported = ExportedModel.load(Path(source))
        if isinstance(exported.card.model, DetModelSpec):
            return load_detector(exported, config)
        return load_recognizer(exported, config)
    model = load_trainable(source)
    if isinstance(model.spec, RecModelSpec) and model.charset is not None:
        engine = NetworkEngine(model.network, task="rec")
        return Recognizer(engine, model.spec, model.charset, batch=config.rec_batch)
    assert isinstance(model.spec, DetModelSpec)  # noqa: S101  (a recognizer has a character set)
    return Detector(NetworkEngine(model.network, task="det"), model.spec)


def load_any_recognizer(source: str) -> Recognizer:
    """Return a recognizer; see :func:`load_any_model`.

    Raises:
        ArtifactError: it is a detector, or incomplete.
    """
    model = load_any_model(source)
    if not isinstance(model, Recognizer):
        raise ArtifactError(f"{source}: a detector; lines are evaluated with a recognizer")
    return model


def load_any_detector(source: str) -> Detector:
    """Return a detector; see :func:`load_any_model`.

    Raises:
        ArtifactError: it is a recognizer, or incomplete.
    """
    model = load_any_model(source)
    if not isinstance(model, Detector):
        raise ArtifactError(f"{source}: a recognizer; pages are evaluated with a detector")
    return model


def labels_task(labels: Path) -> tuple[Task, str]:
    """Return what labels are for, and a word on how that shows.

    Raises:
        DataError: a line without a tab, an empty list, or a file that cannot be read.
        ArtifactError: the dataset is incomplete.
    """
    if (labels / DATASET_CARD).is_file():
        task = Dataset.load(labels).manifest.task
        return task, f"task={task} in its manifest"
    lines = list(islice(read_rec_list(labels), _LOOK_AHEAD))
    if not lines:
        raise DataError(f"{labels}: holds no label line")
    if not lines[0].image:
        raise DataError(f"{lines[0].source}: no tab; expected image<TAB>label")
    like_regions = sum(holds_regions(line.text) for line in lines)
    is_det = like_regions * 2 > len(lines)
    return "det" if is_det else "rec", f"its first label is {lines[0].text[:40]!r}"


def labelled_lines(
    labels: Path, images: Path | None
) -> tuple[Sequence[RecSample], Callable[[RecSample], BGRImage]]:
    """Return samples and what reads their pictures, from a list or a dataset's validation part.

    Lines that ``prepare`` drew to be replayed are left out.

    Raises:
        DataError: a line without a tab, no label at all, or a file that cannot be read.
        ArtifactError: the dataset is incomplete, or for detection.
    """
    if (labels / DATASET_CARD).is_file():
        dataset = Dataset.load(labels)
        samples = dataset.own_lines("val")
        _refuse_empty(labels, samples)
        if images is None:
            return samples, dataset.pictures("val").read
        root = images
        return samples, lambda sample: read_image(root / sample.image)
    listed = []
    for line in read_rec_list(labels):
        if not line.image:
            raise DataError(f"{line.source}: no tab; expected image<TAB>text")
        listed.append(RecSample(line.image, line.text, height=0, width=0))
    if not listed:
        raise DataError(f"{labels}: holds no label line")
    folder = images or labels.parent
    return listed, lambda sample: read_image(folder / sample.image)


def labelled_pages(
    labels: Path, images: Path | None
) -> tuple[Sequence[DetSample], Callable[[DetSample], BGRImage]]:
    """Return samples and what reads their pictures, from a list or a dataset's validation part.

    Sizes of a list's pictures are not known before they are read: they are 0.

    Raises:
        DataError: a label that is not sound, no label at all, or a file that cannot be read.
        ArtifactError: the dataset is incomplete, or for recognition.
    """
    if (labels / DATASET_CARD).is_file():
        dataset = Dataset.load(labels)
        samples = dataset.pages("val")
        _refuse_empty(labels, samples)
        if images is None:
            return samples, dataset.pictures("val").read
        root = images
        return samples, lambda sample: read_image(root / sample.image)
    listed = []
    for page in read_det_list(labels):
        regions = tuple(Region(r.points, r.text, r.ignore) for r in page.regions)
        listed.append(DetSample(page.image, height=0, width=0, regions=regions))
    if not listed:
        raise DataError(f"{labels}: holds no label line")
    folder = images or labels.parent
    return listed, lambda sample: read_image(folder / sample.image)


def _refuse_empty(folder: Path, samples: Sequence[RecSample] | Sequence[DetSample]) -> None:
    if not samples:
        raise DataError(
            f"{folder}: its validation part is empty; give a list, or a dataset that has one"
        )
