"""Accuracy on cut-out text lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.ctc import TextLine
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.metrics import TextScore, normalise_text, score_lines

_CHUNK = 256
"""Pictures in memory at a time."""


@dataclass(frozen=True)
class LineReport:
    """What a recognizer read on a labelled set.

    Attributes:
        samples: in the order of ``lines``.
        lines: text and confidence read.
        raw: score of the text as it is.
        normalised: score after NFKC, upper case, without white space and middle dots.
    """

    samples: Sequence[RecSample]
    lines: Sequence[TextLine]
    raw: TextScore
    normalised: TextScore

    def metrics(self) -> dict[str, float]:
        """The figures by name, percent; ``*_normalised`` beside the raw ones."""
        names = ("exact", "cer", "ned")
        raw = {name: float(getattr(self.raw, name)) for name in names}
        folded = {f"{name}_normalised": float(getattr(self.normalised, name)) for name in names}
        return raw | folded


def evaluate_lines(
    recognizer: Recognizer, samples: Sequence[RecSample], read: Callable[[RecSample], BGRImage]
) -> LineReport:
    """Read every sample; none is left out or replaced.

    Args:
        recognizer: is measured.
        samples: their pictures and labels.
        read: gives the picture of a sample, ``[H, W, 3]`` uint8 BGR.

    Raises:
        ImageError: a picture cannot be read.
        ValueError: no sample.
    """
    return score_read(samples, read_lines(recognizer, samples, read))


def read_lines(
    recognizer: Recognizer, samples: Sequence[RecSample], read: Callable[[RecSample], BGRImage]
) -> list[TextLine]:
    """What a recognizer reads on each sample; see :func:`evaluate_lines`."""
    lines: list[TextLine] = []
    for start in range(0, len(samples), _CHUNK):
        chunk = samples[start : start + _CHUNK]
        lines += recognizer.recognize([read(sample) for sample in chunk])
    return lines


def score_read(samples: Sequence[RecSample], lines: Sequence[TextLine]) -> LineReport:
    """Score what was read, ``lines``, against the labels of ``samples``, pair by pair.

    Raises:
        ValueError: no sample, or not as many lines.
    """
    found = [line.text for line in lines]
    truth = [sample.text for sample in samples]
    return LineReport(
        samples=samples,
        lines=lines,
        raw=score_lines(found, truth),
        normalised=score_lines(
            [normalise_text(text) for text in found], [normalise_text(text) for text in truth]
        ),
    )
