"""Where the stages meet: prepare -> train -> export, and names that stand for exported models."""

from collections.abc import Callable
from pathlib import Path

import ocr_pipeline
from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.assets import cache_dir
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.export import export_static
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training import train_recognizer
from ocr_pipeline.training.fit import Progress
from ocr_pipeline.weights.catalog import RELEASED_NAMES, released_charset
from ocr_pipeline.weights.source import load_trainable


def run_pipeline(
    preparing: PrepareConfig,
    training: RecTrainConfig,
    exporting: ExportConfig,
    exported: Path,
    progress: Progress,
) -> ExportedModel:
    """Labels to an exported recognizer. ``training.dataset`` must be ``preparing.out``."""
    prepare(preparing, released_charset(preparing.model))
    checkpoint = train_recognizer(training, progress)
    return export_static(load_trainable(str(checkpoint.folder)), exported, exporting)


def exported_folder(source: str, on_export: Callable[[str], None] = lambda name: None) -> Path:
    """Folder of an exported model: ``source`` itself, or a released model, exported into the cache.

    Args:
        source: folder made by ``scripts/export.py``, or a released model's name.
        on_export: called with the name before a released model is exported for the first time.

    Raises:
        ArtifactError: neither.
        AssetError: a released file cannot be fetched.
        ExportError: the released model does not pass the parity gate on this machine.
    """
    if source not in RELEASED_NAMES:
        if not Path(source).is_dir():
            raise ArtifactError(
                f"{source!r}: neither a folder nor a released model ({', '.join(RELEASED_NAMES)}); "
                "make a folder with scripts/export.py"
            )
        return Path(source)
    folder = cache_dir() / "exported" / ocr_pipeline.__version__ / source
    if not folder.exists():
        on_export(source)
        export_static(load_trainable(source), folder, ExportConfig())
    return folder
