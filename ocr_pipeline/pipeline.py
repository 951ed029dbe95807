"""Where the stages meet: prepare -> train -> export."""

from pathlib import Path

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.export import export_model
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training import train_recognizer
from ocr_pipeline.training.fit import Progress
from ocr_pipeline.weights.source import load_trainable, recognizer_rules


def run_pipeline(
    preparing: PrepareConfig,
    training: RecTrainConfig,
    exporting: ExportConfig,
    exported: Path,
    progress: Progress,
) -> ExportedModel:
    """Labels to an exported recognizer. ``training.dataset`` must be ``preparing.out``."""
    charset, image = recognizer_rules(preparing.model)
    prepare(preparing, charset, image=image)
    checkpoint = train_recognizer(training, progress)
    return export_model(load_trainable(str(checkpoint.folder)), exported, exporting)
