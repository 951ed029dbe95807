"""One word for where a model comes from: a name, an inference model, a checkpoint, a run."""

from pathlib import Path
from typing import Literal

from ocr_pipeline.artifacts.checkpoint import CARD_NAME, Checkpoint, step_folders
from ocr_pipeline.artifacts.exported import CARD_NAME as EXPORTED_CARD
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.weights.catalog import (
    RELEASED_NAMES,
    find_release,
    official_caches,
    released_charset,
    released_name,
)
from ocr_pipeline.weights.fresh import FRESH_NAMES, fresh_image
from ocr_pipeline.weights.inference_folder import load_inference_model
from ocr_pipeline.weights.readers import find_model
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.tensors import set_weights
from ocr_pipeline.weights.trainable import TrainableModel
from ocr_pipeline.weights.training_checkpoint import load_training_checkpoint

SourceKind = Literal["released", "inference", "training", "checkpoint"]
_TRAINING_SUFFIX = ".pdparams"


def load_trainable(source: str) -> TrainableModel:
    """Load a model to train, evaluate or export.

    Args:
        source: a released model's name (ours or the official one), the file or folder of an
            inference model, a PaddleOCR training checkpoint (``.pdparams``), a checkpoint's folder,
            or a run's folder (its best checkpoint).

    Raises:
        WeightsError: none of these, or weights that do not fit any known network.
        ArtifactError: the folder is not a complete checkpoint.
        AssetError: a released file cannot be fetched.
    """
    kind, place = resolve(source)
    if kind == "released":
        return load_released(place)
    if kind == "inference":
        return load_inference_model(Path(place))
    if kind == "training":
        return load_training_checkpoint(Path(place))
    checkpoint = Checkpoint.load(Path(place))
    network = build_network(checkpoint.card.model)
    set_weights(network, checkpoint.weights(), source=str(checkpoint.folder))
    network.eval()
    return TrainableModel(
        spec=checkpoint.card.model,
        network=network,
        charset=checkpoint.charset(),
        golden=checkpoint.golden(),
        started_from=checkpoint.card.started_from,
        sha256=checkpoint.card.files["model.safetensors"],
        metrics=checkpoint.card.metrics,
    )


def recognizer_rules(source: str) -> tuple[Charset | None, RecImageSpec]:
    """Return character set and input rule of a recognizer; see :func:`load_trainable`.

    A network that is trained from scratch has no character set of its own: None.

    Raises:
        WeightsError: it is a detector; or as :func:`load_trainable`.
    """
    if source in FRESH_NAMES:
        return None, fresh_image(source)
    kind, place = resolve(source)
    if kind == "released":
        charset, spec = released_charset(place), find_release(place).spec
        assert isinstance(spec, RecModelSpec)  # noqa: S101  (a detector has no character set)
        return charset, spec.image
    model = load_trainable(source)
    if model.charset is None or not isinstance(model.spec, RecModelSpec):
        raise WeightsError(f"{source}: a detector has no character set; name a recognizer")
    return model.charset, model.spec.image


def resolve(source: str) -> tuple[SourceKind, str]:
    """Return what ``source`` is, and our name or the path of it.

    An official name that the catalog lacks is looked for where ``paddleocr`` keeps its downloads.

    Raises:
        WeightsError: nothing of that name.
    """
    path = Path(source)
    if name := released_name(source):
        if path.exists():
            raise WeightsError(
                f"{source}: a released model and a path; for the path say ./{source}"
            )
        return "released", name
    if source in FRESH_NAMES:
        raise WeightsError(
            f"{source}: is trained from scratch, it has no weights of its own; use it as start"
        )
    if (path / EXPORTED_CARD).exists():
        raise WeightsError(
            f"{source}: an exported model, which is not trained or exported again; give the "
            "checkpoint that it was made from"
        )
    if path.is_dir():
        is_checkpoint = (path / CARD_NAME).exists() or bool(step_folders(path))
        return ("checkpoint" if is_checkpoint else "inference"), source
    if path.is_file():
        if path.suffix.lower() == _TRAINING_SUFFIX:
            return "training", source
        find_model(path)  # says what it is, where it is no model
        return "inference", source
    for folder in official_caches():
        if (folder / source).is_dir() and Path(source).name == source:
            return "inference", str(folder / source)
    raise WeightsError(
        f"{source!r}: neither a released model ({', '.join(RELEASED_NAMES)}), nor the file or "
        "folder of an inference model, nor a .pdparams file, nor a folder of a checkpoint; check "
        "the spelling or the path"
    )


def downloaded_models() -> list[Path]:
    """Folders of models that ``paddleocr`` has downloaded."""
    caches = [cache for cache in official_caches() if cache.is_dir()]
    return sorted(folder for cache in caches for folder in cache.iterdir() if folder.is_dir())
