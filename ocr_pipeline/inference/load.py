"""From an exported model on disk to a detector or recognizer ready to run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocr_pipeline.artifacts.exported import ExportedModel, GoldenBoxes, GoldenLine
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.config.sources import Task
from ocr_pipeline.config.variant import Precision, Variant
from ocr_pipeline.errors import ArtifactError, EngineError
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.inference.lite_engine import LiteEngine
from ocr_pipeline.inference.onnx_engine import OnnxEngine
from ocr_pipeline.inference.openvino_engine import OpenVinoDetector, OpenVinoRecognizer
from ocr_pipeline.inference.paddle_engine import PaddleEngine
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.metrics import normalise_text
from ocr_pipeline.ops.same_boxes import same_boxes


@dataclass(frozen=True)
class Closeness:
    """What counts as the same result as the checkpoint's.

    Attributes:
        confidence: largest difference of a line's confidence.
        points: largest distance of a box's corner, px.
        letter: texts are the same to the letter; else after normalisation, since in few bits a
            space or the case of a letter may fall to either side.
    """

    confidence: float
    points: float
    letter: bool

    def same_text(self, found: str, expected: str) -> bool:
        """Tell whether two readings say the same."""
        if self.letter:
            return found == expected
        return normalise_text(found) == normalise_text(expected)


CLOSENESS: dict[Precision, Closeness] = {
    "fp32": Closeness(confidence=0.01, points=1.0, letter=True),
    "fp16": Closeness(confidence=0.02, points=2.0, letter=False),
    "bf16": Closeness(confidence=0.1, points=4.0, letter=False),
    "int8": Closeness(confidence=0.2, points=6.0, letter=False),
}


def open_engine(model: ExportedModel, variant: Variant, config: EngineConfig) -> Engine:
    """Load one of the forms that a model was exported in.

    Raises:
        ArtifactError: the model was not exported in this form.
        EngineError: the runtime is absent or cannot load it.
    """
    if variant.name not in model.card.backends:
        raise ArtifactError(
            f"{model.folder}: not exported as {variant.name}; it holds "
            f"{', '.join(model.card.backends)}. Set engine.variant to one of these, or export "
            f"again with --to and --precision"
        )
    return engine_of(model.folder / variant.folder, model.card.model.task, variant, config)


def engine_of(folder: Path, task: Task, variant: Variant, config: EngineConfig) -> Engine:
    """Load the files of one form; see :func:`open_engine`.

    A recognizer's engine has a lane for each thread: its inputs are many and small.
    """
    lanes = config.threads if task == "rec" else 1
    if variant.backend == "paddle":
        return PaddleEngine(folder, config)
    if variant.backend == "openvino":
        kind = OpenVinoRecognizer if task == "rec" else OpenVinoDetector
        return kind(folder, config, variant.precision, lanes=lanes)
    if variant.backend == "onnx":
        return OnnxEngine(folder, config, lanes=lanes)
    if variant == Variant("lite", "fp32"):
        return LiteEngine(folder, config)
    raise EngineError(f"{variant.name}: is not run from Python; see docs/export.md")


def detector_of(model: ExportedModel, engine: Engine, config: EngineConfig) -> Detector:
    """Put a detector's rules around its engine.

    Raises:
        ArtifactError: the model is a recognizer.
    """
    if not isinstance(model.card.model, DetModelSpec):
        raise ArtifactError(
            f"{model.folder}: holds a recognizer; give a detector here (task det in exported.json)"
        )
    return Detector(engine, model.card.model, config.tiling, skip_blank=config.skip_blank)


def recognizer_of(model: ExportedModel, engine: Engine, config: EngineConfig) -> Recognizer:
    """Put a recognizer's rules around its engine.

    Raises:
        ArtifactError: the model is a detector, or has no character set.
    """
    charset = model.charset()
    if not isinstance(model.card.model, RecModelSpec) or charset is None:
        raise ArtifactError(
            f"{model.folder}: holds a detector; give a recognizer here (task rec in exported.json)"
        )
    return Recognizer(engine, model.card.model, charset, batch=config.rec_batch)


def self_test(model: ExportedModel, engine: Engine, variant: Variant, config: EngineConfig) -> None:
    """Read or find the golden pictures again, on this machine.

    Raises:
        EngineError: a text or box is missing, new, or further away than the precision explains.
    """
    if isinstance(model.card.model, DetModelSpec):
        as_at_export = config.model_copy(update={"skip_blank": False})
        self_test_detector(detector_of(model, engine, as_at_export), model, variant)
    else:
        self_test_recognizer(recognizer_of(model, engine, config), model, variant)


def self_test_detector(detector: Detector, model: ExportedModel, variant: Variant) -> None:
    """Find the golden pictures' boxes again; see :func:`self_test`."""
    limit = CLOSENESS[variant.precision].points
    for number, (picture, golden) in enumerate(zip(model.golden(), model.card.golden, strict=True)):
        found = detector.detect(picture).polygons
        expected = golden.points if isinstance(golden, GoldenBoxes) else []
        boxes = [np.array(points) for points in expected]
        if not same_boxes([polygon.points for polygon in found], boxes, limit):
            raise EngineError(
                f"{model.card.name}: self-test of {variant.name} failed on golden picture "
                f"{number}: {len(found)} boxes against {len(expected)} at export, or moved by more "
                f"than {limit:g} px; it computes something else on this machine and must not serve"
            )


def self_test_recognizer(recognizer: Recognizer, model: ExportedModel, variant: Variant) -> None:
    """Read the golden pictures again; see :func:`self_test`."""
    near = CLOSENESS[variant.precision]
    lines = recognizer.recognize(model.golden())
    for number, (line, golden) in enumerate(zip(lines, model.card.golden, strict=True)):
        same = (
            isinstance(golden, GoldenLine)
            and near.same_text(line.text, golden.text)
            and abs(line.confidence - golden.confidence) <= near.confidence
        )
        if not same:
            raise EngineError(
                f"{model.card.name}: self-test of {variant.name} failed on golden picture "
                f"{number}: read {line.text!r} ({line.confidence:.3f}), at export it was {golden}; "
                "it computes something else on this machine and must not serve"
            )
