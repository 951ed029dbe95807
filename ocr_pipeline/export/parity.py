"""The parity gate: a backend must compute, read and find what the checkpoint does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import Drop, GoldenBoxes, GoldenLine, Parity
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.errors import EngineError, ExportError
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.inference.load import CLOSENESS
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.resize import det_input, rec_input
from ocr_pipeline.ops.same_boxes import same_boxes
from ocr_pipeline.weights.trainable import TrainableModel

_BATCHES = (1, 3)
_NOTHING = "export refused, nothing was written: "


@dataclass(frozen=True)
class Expected:
    """What the checkpoint itself says on the golden pictures.

    Attributes:
        inputs: each ``[N, 3, H, W]``; a recognizer's lines both alone and in a batch.
        probs: what the network gives for each.
        golden: lines as read, or boxes as found.
    """

    inputs: Sequence[NDArray[np.float32]]
    probs: Sequence[NDArray[np.float32]]
    golden: list[GoldenLine] | list[GoldenBoxes]


def expect(reference: Engine, model: TrainableModel) -> Expected:
    """Run the checkpoint's network on its golden pictures.

    Raises:
        ExportError: there is none.
    """
    if not model.golden:
        raise ExportError("the checkpoint holds no golden picture to compare with; train it again")
    spec = model.spec
    inputs: list[NDArray[np.float32]] = []
    for picture in model.golden:
        if isinstance(spec, RecModelSpec):
            image = rec_input(picture, spec.image)[None]
            inputs += [np.repeat(image, batch, axis=0) for batch in _BATCHES]
        else:
            inputs.append(det_input(picture, spec.image))
    probs = [reference.run(images) for images in inputs]
    return Expected(inputs, probs, _golden(reference, model))


def _golden(engine: Engine, model: TrainableModel) -> list[GoldenLine] | list[GoldenBoxes]:
    if isinstance(model.spec, RecModelSpec):
        assert model.charset is not None  # noqa: S101  (a recognizer has one)
        lines = Recognizer(engine, model.spec, model.charset, batch=8).recognize(model.golden)
        return [GoldenLine(text=line.text, confidence=line.confidence) for line in lines]
    detector = Detector(engine, model.spec, skip_blank=False)  # as the self-test finds them
    pages = []
    for picture in model.golden:
        polygons = detector.detect(picture).polygons
        pages.append(
            GoldenBoxes(
                points=[[(float(x), float(y)) for x, y in p.points] for p in polygons],
                scores=[polygon.score for polygon in polygons],
            )
        )
    return pages


def compare(
    expected: Expected,
    candidate: Engine,
    model: TrainableModel,
    variant: Variant,
    config: ExportConfig,
) -> Parity:
    """Compare probabilities and results on the golden pictures.

    Raises:
        ExportError: the outputs cannot be compared.
    """
    differences = [
        _differences(probs, candidate, images, variant)
        for images, probs in zip(expected.inputs, expected.probs, strict=True)
    ]
    largest, mean = config.det_tolerance, config.det_mean_tolerance.model_dump()
    if model.spec.task == "rec":
        largest, mean = config.rec_tolerance, config.rec_mean_tolerance.model_dump()
    return Parity(
        max_abs_diff=max(float(found.max()) for found in differences),
        tolerance=largest.model_dump()[variant.precision],
        mean_abs_diff=float(np.concatenate(differences).mean()),
        mean_tolerance=mean[variant.precision],
        same_result=_same(expected.golden, _golden(candidate, model), variant),
        pictures=len(model.golden),
    )


def _same(
    expected: Sequence[GoldenLine] | Sequence[GoldenBoxes],
    found: Sequence[GoldenLine] | Sequence[GoldenBoxes],
    variant: Variant,
) -> bool:
    near = CLOSENESS[variant.precision]
    for wanted, other in zip(expected, found, strict=True):
        if isinstance(wanted, GoldenLine) and isinstance(other, GoldenLine):
            same = near.same_text(other.text, wanted.text)
        else:
            assert isinstance(wanted, GoldenBoxes)  # noqa: S101  (both come from one model)
            assert isinstance(other, GoldenBoxes)  # noqa: S101
            same = same_boxes(
                [np.array(box) for box in other.points],
                [np.array(box) for box in wanted.points],
                near.points,
            )
        if not same:
            return False
    return True


def check(parity: Parity, model: TrainableModel, variant: Variant, config: ExportConfig) -> None:
    """Let through what is near enough.

    Raises:
        ExportError: it is not; every figure is given.
    """
    drop = parity.drop
    lost = 0.0 if drop is None else drop.reference - drop.value
    near = parity.max_abs_diff <= parity.tolerance and parity.mean_abs_diff <= parity.mean_tolerance
    if near and parity.same_result and lost <= config.max_drop:
        return
    what = "texts" if model.spec.task == "rec" else "boxes"
    told = (
        f"{variant.name} differs from the checkpoint by {parity.max_abs_diff:.2g} (allowed "
        f"{parity.tolerance:g}), on average by {parity.mean_abs_diff:.2g} (allowed "
        f"{parity.mean_tolerance:g}), {what} "
        f"{'are equal on all' if parity.same_result else 'differ on some'} of "
        f"{parity.pictures} golden pictures"
    )
    if drop is not None:
        told += f", {_drop_told(drop)} (allowed: {config.max_drop:g} points less)"
    raise ExportError(
        f"{_NOTHING}{told}. Leave {variant.name} out, or say why a larger tolerance is right and "
        "set it; Paddle 3.2 is what requirements/train.txt pins"
    )


def _drop_told(drop: Drop) -> str:
    return (
        f"{drop.metric} {drop.reference:.2f} -> {drop.value:.2f} % on {drop.samples} validation "
        f"samples (95 % interval of the change {drop.low:+.2f} to {drop.high:+.2f})"
    )


def _differences(
    expected: NDArray[np.float32],
    candidate: Engine,
    images: NDArray[np.float32],
    variant: Variant,
) -> NDArray[np.float32]:
    """One value for each time step or pixel: that of the class that differs most."""
    try:
        found = candidate.run(images)
    except EngineError as error:
        raise ExportError(f"{_NOTHING}{variant.name}: {error}") from None
    if expected.shape != found.shape or not np.isfinite(found).all():
        raise ExportError(
            f"{_NOTHING}for input {images.shape} the checkpoint gives {expected.shape}, "
            f"{variant.name} {found.shape}"
            f"{'' if np.isfinite(found).all() else ' with values that are not finite'}"
        )
    apart = np.abs(expected - found)
    return np.asarray(apart.max(axis=2) if apart.ndim == 3 else apart).ravel()
