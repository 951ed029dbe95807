"""What to evaluate, and on what: names and folders as a user types them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ocr_pipeline.artifacts.dataset import CARD_NAME as DATASET_CARD
from ocr_pipeline.artifacts.dataset import Dataset, RecSample
from ocr_pipeline.artifacts.exported import CARD_NAME as EXPORTED_CARD
from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.inference.load import load_recognizer
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.decode import BGRImage, read_image
from ocr_pipeline.ops.rec_lists import read_rec_list
from ocr_pipeline.weights.source import load_trainable


def load_any_recognizer(source: str) -> Recognizer:
    """Return a recognizer from a released name, a checkpoint, a run, or an exported model.

    Raises:
        ArtifactError: it is a detector, or incomplete.
        WeightsError: neither a known name nor a folder.
    """
    config = EngineConfig()
    if (Path(source) / EXPORTED_CARD).is_file():
        return load_recognizer(ExportedModel.load(Path(source)), config)
    model = load_trainable(source)
    if not isinstance(model.spec, RecModelSpec) or model.charset is None:
        raise ArtifactError(f"{source}: a detector; lines are evaluated with a recognizer")
    engine = NetworkEngine(model.network, task="rec")
    return Recognizer(engine, model.spec, model.charset, batch=config.rec_batch)


def labelled_lines(
    labels: Path, images: Path | None
) -> tuple[Sequence[RecSample], Callable[[RecSample], BGRImage]]:
    """Return samples and what reads their pictures, from a list or a dataset's validation part.

    Raises:
        DataError: a line without a tab, an empty list, or a file that cannot be read.
        ArtifactError: the dataset is incomplete.
    """
    if (labels / DATASET_CARD).is_file():
        dataset = Dataset.load(labels)
        samples = dataset.lines("val")
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
