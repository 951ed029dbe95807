"""What a backend loses on labelled samples that the network was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.artifacts.exported import Drop
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.errors import ExportError
from ocr_pipeline.evaluation.regions import evaluate_regions
from ocr_pipeline.evaluation.sources import labelled_lines, labelled_pages
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.inference.load import CLOSENESS, Closeness
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.metrics import normalise_text
from ocr_pipeline.ops.same_boxes import same_boxes
from ocr_pipeline.ops.statistics import Parts, bootstrap_change
from ocr_pipeline.weights.trainable import TrainableModel

SampleT = TypeVar("SampleT")
Answer = str | list[NDArray[np.float32]]
_LINES_AT_ONCE = 64


@dataclass(frozen=True)
class Results:
    """What one engine says on the samples.

    Attributes:
        parts: ``[N, 2]`` of the metric, see :mod:`ocr_pipeline.ops.statistics`.
        answers: the text of each line, or the boxes of each page.
    """

    parts: Parts
    answers: Sequence[Answer]


class Validation:
    """The validation part of a dataset, and what the checkpoint's numbers say on it.

    Args:
        model: what is exported.
        config: names the dataset.
        reference: engine that has passed the gate in single precision.

    Raises:
        ArtifactError, DataError: the dataset is incomplete, or its validation part is empty.
        ExportError: it is for the other task.
    """

    def __init__(self, model: TrainableModel, config: ExportConfig, reference: Engine) -> None:
        assert config.dataset is not None  # noqa: S101  (the caller has looked)
        self._model = model
        self._config = config
        task = Dataset.load(config.dataset).manifest.task
        if task != model.spec.task:
            raise ExportError(
                f"dataset={config.dataset}: is for {task}, the model for {model.spec.task}; give "
                "the dataset that it was trained on"
            )
        self._expected = self._results(reference)

    def measure(self, engine: Engine, variant: Variant) -> Drop:
        """Compare one engine with the reference, sample by sample."""
        expected, found = self._expected, self._results(engine)
        change = bootstrap_change(expected.parts, found.parts)
        pairs = zip(expected.answers, found.answers, strict=True)
        near = CLOSENESS[variant.precision]
        return Drop(
            metric="exact" if self._model.spec.task == "rec" else "hmean",
            samples=len(expected.parts),
            reference=100 * _ratio(expected.parts),
            value=100 * _ratio(found.parts),
            low=100 * change.low,
            high=100 * change.high,
            differing=sum(not _same(a, b, near) for a, b in pairs),
        )

    def _results(self, engine: Engine) -> Results:
        spec = self._model.spec
        if isinstance(spec, RecModelSpec):
            assert self._model.charset is not None  # noqa: S101  (a recognizer has one)
            batch = self._config.engine.rec_batch
            return self._lines(Recognizer(engine, spec, self._model.charset, batch=batch))
        return self._pages(Detector(engine, spec))

    def _lines(self, recognizer: Recognizer) -> Results:
        assert self._config.dataset is not None  # noqa: S101
        samples, read = labelled_lines(self._config.dataset, None)
        chosen = _spread(samples, self._config.validation_samples)
        texts: list[str] = []
        for start in range(0, len(chosen), _LINES_AT_ONCE):
            pictures = [read(sample) for sample in chosen[start : start + _LINES_AT_ONCE]]
            texts += [line.text for line in recognizer.recognize(pictures)]
        right = [
            normalise_text(text) == normalise_text(sample.text)
            for text, sample in zip(texts, chosen, strict=True)
        ]
        return Results(np.array([(float(r), 1.0) for r in right]), list(texts))

    def _pages(self, detector: Detector) -> Results:
        assert self._config.dataset is not None  # noqa: S101
        samples, read = labelled_pages(self._config.dataset, None)
        report = evaluate_regions(detector, _spread(samples, self._config.validation_samples), read)
        parts = [
            (2.0 * page.matched, float(page.detections + page.truths)) for page in report.pages
        ]
        boxes = [[box.points for box in found.polygons] for found in report.detections]
        return Results(np.array(parts), boxes)


def _same(expected: Answer, found: Answer, near: Closeness) -> bool:
    if isinstance(expected, str) or isinstance(found, str):
        return expected == found  # to the letter: it is a count, not a limit
    return same_boxes(found, expected, near.points)


def _spread(samples: Sequence[SampleT], most: int) -> list[SampleT]:
    """At most so many of them, evenly spread."""
    count = min(most, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]


def _ratio(parts: Parts) -> float:
    total = parts.sum(axis=0)
    return float(total[0] / total[1])
