"""Accuracy on whole pictures: of the regions that a detector finds, and of what is read on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ocr_pipeline.artifacts.dataset import DetSample
from ocr_pipeline.errors import DataError
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.reader import OcrReader, PageText
from ocr_pipeline.ops.db_decode import DetectedText
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_metrics import ComparedPage, Outline, RegionScore, compare_page, total
from ocr_pipeline.ops.metrics import normalise_text

ReadPicture = Callable[[DetSample], BGRImage]
"""Gives the picture of a sample, ``[H, W, 3]`` uint8 BGR."""


@dataclass(frozen=True)
class RegionReport:
    """What a detector found on a labelled set.

    Attributes:
        samples: as they were given.
        detections: of each sample, in their order.
        pages: counts of each sample.
        score: of all samples together.
    """

    samples: Sequence[DetSample]
    detections: Sequence[DetectedText]
    pages: Sequence[RegionScore]
    score: RegionScore

    def metrics(self) -> dict[str, float]:
        """The figures by name, percent."""
        return region_figures(self.score)


@dataclass(frozen=True)
class ReadingReport:
    """What a reader found and read on a labelled set.

    A region without text in its label counts as one marked "ignore": nobody can say what would be
    right there.

    Attributes:
        samples: as they were given.
        texts: of each sample, in their order.
        pages: counts of each sample, of the text as it is.
        found: regions alone, whatever was read on them.
        raw: found, and the text is the same as it is.
        normalised: found, and the text is the same after NFKC, in upper case, without white space
            and middle dots.
        without_text: regions without text that are not marked "ignore" themselves.
    """

    samples: Sequence[DetSample]
    texts: Sequence[PageText]
    pages: Sequence[RegionScore]
    found: RegionScore
    raw: RegionScore
    normalised: RegionScore
    without_text: int

    def metrics(self) -> dict[str, float]:
        """The figures by name, percent; ``*_normalised`` beside the raw ones."""
        folded = region_figures(self.normalised)
        return region_figures(self.raw) | {f"{k}_normalised": v for k, v in folded.items()}


def region_figures(score: RegionScore) -> dict[str, float]:
    """Precision, recall and their harmonic mean by name, percent."""
    return {"precision": score.precision, "recall": score.recall, "hmean": score.hmean}


def evaluate_regions(
    detector: Detector, samples: Sequence[DetSample], read: ReadPicture
) -> RegionReport:
    """Look for text on every sample; none is left out or replaced.

    Args:
        detector: is measured.
        samples: their pictures and regions.
        read: gives the picture of a sample.

    Raises:
        ImageError: a picture cannot be read.
        ValueError: no sample, or a region of fewer than 3 points.
    """
    _refuse_none(samples)
    detections, pages = [], []
    for sample in samples:
        found = detector.detect(read(sample))
        ignore = [region.ignore for region in sample.regions]
        pages.append(_compare([p.points for p in found.polygons], sample, ignore).score())
        detections.append(found)
    return RegionReport(samples, detections, pages, total(pages))


def evaluate_reading(
    reader: OcrReader, samples: Sequence[DetSample], read: ReadPicture
) -> ReadingReport:
    """Read every sample from end to end; none is left out or replaced.

    A line that was read is right where it matches a region by :mod:`ocr_pipeline.ops.det_metrics`
    and says the same.

    Args:
        reader: is measured.
        samples: their pictures and regions with text.
        read: gives the picture of a sample.

    Raises:
        DataError: there are regions, but none has a text.
        ImageError: a picture cannot be read.
        ValueError: no sample, or a region of fewer than 3 points.
    """
    _refuse_none(samples)
    without_text = _count_without_text(samples)
    texts, scores = [], []
    for sample in samples:
        page = reader.read(read(sample))
        texts.append(page)
        scores.append(_score_page(page, sample))
    found, raw, normalised = zip(*scores, strict=True)
    return ReadingReport(
        samples, texts, list(raw), total(found), total(raw), total(normalised), without_text
    )


def _refuse_none(samples: Sequence[DetSample]) -> None:
    if not samples:
        raise ValueError("0 samples to evaluate; expected >= 1")


def _count_without_text(samples: Sequence[DetSample]) -> int:
    counted = [region for sample in samples for region in sample.regions if not region.ignore]
    without = sum(not region.text for region in counted)
    if counted and without == len(counted):
        raise DataError(
            f"none of the {without} regions has a text; reading is measured on labels with "
            "transcriptions (a detector alone needs none)"
        )
    return without


def _compare(found: Sequence[Outline], sample: DetSample, ignore: Sequence[bool]) -> ComparedPage:
    truths = [np.array(region.points, dtype=np.float64) for region in sample.regions]
    return compare_page(found, truths, ignore)


def _score_page(page: PageText, sample: DetSample) -> tuple[RegionScore, RegionScore, RegionScore]:
    """Counts of regions alone, of the same text, of the same text after normalisation."""
    ignore = [region.ignore or not region.text for region in sample.regions]
    found = [line.points if line.outline is None else line.outline for line in page.lines]
    compared = _compare(found, sample, ignore)
    read = [line.text for line in page.lines]
    true = [region.text for region in sample.regions]
    return (
        compared.score(),
        _same(compared, read, true),
        _same(
            compared,
            [normalise_text(text) for text in read],
            [normalise_text(text) for text in true],
        ),
    )


def _same(compared: ComparedPage, read: Sequence[str], true: Sequence[str]) -> RegionScore:
    return compared.score(lambda found, truth: read[found] == true[truth])
