"""From an exported model on disk to a detector or recognizer ready to run."""

import numpy as np

from ocr_pipeline.artifacts.exported import ExportedModel, GoldenBoxes, GoldenLine
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import ArtifactError, EngineError
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.paddle_engine import FOLDER, PaddleEngine
from ocr_pipeline.inference.recognizer import Recognizer

_CONFIDENCE_TOLERANCE = 0.01
_POINT_TOLERANCE = 1.0


def load_detector(model: ExportedModel, config: EngineConfig) -> Detector:
    """Load an exported detector.

    Raises:
        ArtifactError: the model is a recognizer.
        EngineError: the engine cannot load it.
    """
    if not isinstance(model.card.model, DetModelSpec):
        raise ArtifactError(
            f"{model.folder}: holds a recognizer; give a detector here (task det in exported.json)"
        )
    return Detector(PaddleEngine(model.folder / FOLDER, config), model.card.model)


def load_recognizer(model: ExportedModel, config: EngineConfig) -> Recognizer:
    """Load an exported recognizer.

    Raises:
        ArtifactError: the model is a detector, or has no character set.
        EngineError: the engine cannot load it.
    """
    charset = model.charset()
    if not isinstance(model.card.model, RecModelSpec) or charset is None:
        raise ArtifactError(
            f"{model.folder}: holds a detector; give a recognizer here (task rec in exported.json)"
        )
    engine = PaddleEngine(model.folder / FOLDER, config)
    return Recognizer(engine, model.card.model, charset, batch=config.rec_batch)


def self_test_detector(detector: Detector, model: ExportedModel) -> None:
    """Find the golden pictures' boxes again, on this machine.

    Raises:
        EngineError: a box is missing, new, or more than 1 px away.
    """
    for number, (picture, golden) in enumerate(zip(model.golden(), model.card.golden, strict=True)):
        found = detector.detect(picture).polygons
        expected = golden.points if isinstance(golden, GoldenBoxes) else []
        same = len(found) == len(expected) and all(
            np.abs(polygon.points - np.array(points)).max() <= _POINT_TOLERANCE
            for polygon, points in zip(found, expected, strict=True)
        )
        if not same:
            raise EngineError(
                f"{model.folder}: self-test failed on golden picture {number}: {len(found)} boxes "
                f"against {len(expected)} at export, or moved by more than {_POINT_TOLERANCE} px; "
                "this engine computes something else on this machine and must not serve"
            )


def self_test_recognizer(recognizer: Recognizer, model: ExportedModel) -> None:
    """Read the golden pictures again, on this machine.

    Raises:
        EngineError: a text differs, or a confidence by more than 0.01.
    """
    lines = recognizer.recognize(model.golden())
    for number, (line, golden) in enumerate(zip(lines, model.card.golden, strict=True)):
        same = (
            isinstance(golden, GoldenLine)
            and line.text == golden.text
            and abs(line.confidence - golden.confidence) <= _CONFIDENCE_TOLERANCE
        )
        if not same:
            raise EngineError(
                f"{model.folder}: self-test failed on golden picture {number}: read {line.text!r} "
                f"({line.confidence:.3f}), at export it was {golden}; "
                "this engine computes something else on this machine and must not serve"
            )
