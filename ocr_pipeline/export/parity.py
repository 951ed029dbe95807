"""The parity gate: a backend must compute, read and find what the checkpoint does."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import GoldenBoxes, GoldenLine, Parity
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import ExportError
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import det_input, rec_input

_POINT_TOLERANCE = 1.0
_BATCHES = (1, 3)


def compare_recognizer(
    reference: Engine,
    candidate: Engine,
    spec: RecModelSpec,
    charset: Charset,
    pictures: Sequence[BGRImage],
    *,
    tolerance: float,
) -> tuple[Parity, list[GoldenLine]]:
    """Compare probabilities (alone and in a batch) and texts on golden lines.

    Returns:
        The figures, and what the reference reads on each picture.

    Raises:
        ExportError: there is no golden picture, or the outputs cannot be compared.
    """
    _check(pictures)
    worst = 0.0
    for picture in pictures:
        image = rec_input(picture, spec.image)[None]
        for batch in _BATCHES:
            images = np.repeat(image, batch, axis=0)
            worst = max(worst, _difference(reference, candidate, images))
    expected = Recognizer(reference, spec, charset, batch=1).recognize(pictures)
    found = Recognizer(candidate, spec, charset, batch=8).recognize(pictures)
    same = [line.text for line in expected] == [line.text for line in found]
    parity = Parity(
        max_abs_diff=worst, tolerance=tolerance, same_result=same, pictures=len(pictures)
    )
    return parity, [GoldenLine(text=line.text, confidence=line.confidence) for line in expected]


def compare_detector(
    reference: Engine,
    candidate: Engine,
    spec: DetModelSpec,
    pictures: Sequence[BGRImage],
    *,
    tolerance: float,
) -> tuple[Parity, list[GoldenBoxes]]:
    """Compare probability maps and boxes on golden pages; see :func:`compare_recognizer`."""
    _check(pictures)
    worst, same, golden = 0.0, True, []
    for picture in pictures:
        worst = max(worst, _difference(reference, candidate, det_input(picture, spec.image)))
        expected = Detector(reference, spec).detect(picture).polygons
        found = Detector(candidate, spec).detect(picture).polygons
        same = same and len(expected) == len(found)
        same = same and all(
            np.abs(a.points - b.points).max() <= _POINT_TOLERANCE
            for a, b in zip(expected, found, strict=False)
        )
        golden.append(
            GoldenBoxes(
                points=[[(float(x), float(y)) for x, y in p.points] for p in expected],
                scores=[polygon.score for polygon in expected],
            )
        )
    parity = Parity(
        max_abs_diff=worst, tolerance=tolerance, same_result=same, pictures=len(pictures)
    )
    return parity, golden


def _difference(reference: Engine, candidate: Engine, images: NDArray[np.float32]) -> float:
    expected, found = reference.run(images), candidate.run(images)
    if expected.shape != found.shape or not np.isfinite(found).all():
        raise ExportError(
            f"export refused, nothing was written: for input {images.shape} the checkpoint gives "
            f"{expected.shape}, the exported model {found.shape}"
            f"{'' if np.isfinite(found).all() else ' with values that are not finite'}"
        )
    return float(np.abs(expected - found).max())


def _check(pictures: Sequence[BGRImage]) -> None:
    if not pictures:
        raise ExportError("the checkpoint holds no golden picture to compare with; train it again")
