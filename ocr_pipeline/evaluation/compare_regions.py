"""What a training changed on whole pages: the regions that a detector finds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

import cv2
import numpy as np

from ocr_pipeline.artifacts.dataset import DetSample, SourceCard
from ocr_pipeline.evaluation.comparison import (
    Confidence,
    Metric,
    Rated,
    Share,
    compare,
    compare_confidences,
    share_of,
)
from ocr_pipeline.evaluation.regions import RegionReport
from ocr_pipeline.ops.db_decode import DetectedText
from ocr_pipeline.ops.det_metrics import RegionScore, compare_page
from ocr_pipeline.ops.statistics import Parts

_HEIGHTS = (0, 8, 12, 16, 24, 32, 48)
"""Regions are grouped by their shorter side from each of these on, px of the page."""
_PAGES_SHOWN = 12
_CHANGED_SHOWN = 6

Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FoundPage:
    """One page as a detector sees it; outlines are (x, y) px.

    Attributes:
        score: counts.
        right: detections that match a region.
        missed: regions that were not found.
        false: detections that match none.
        aside: regions marked "ignore".
        is_found: of each region that counts, in the order of the label.
        rated: confidence of each detection that counts, and whether it matches.
    """

    score: RegionScore
    right: tuple[Outline, ...]
    missed: tuple[Outline, ...]
    false: tuple[Outline, ...]
    aside: tuple[Outline, ...]
    is_found: tuple[bool, ...]
    rated: tuple[tuple[float, bool], ...]

    @property
    def faults(self) -> int:
        """Regions missed and detections of nothing."""
        return len(self.missed) + len(self.false)


@dataclass(frozen=True)
class ComparedPages:
    """One page as both models see it; ``before`` is None where there is no model before."""

    sample: DetSample
    source: str
    before: FoundPage | None
    after: FoundPage

    @property
    def change(self) -> int:
        """Faults more than before."""
        return 0 if self.before is None else self.after.faults - self.before.faults


@dataclass(frozen=True)
class RegionComparison:
    """Everything a report says of pages.

    Attributes:
        pages: number of them.
        regions: that count.
        metrics: precision, recall and hmean.
        by_height: recall by the shorter side of a region.
        by_source: recall of each source.
        confidence: of detections.
        worst: pages with the most faults after the training.
        worse, better: more or fewer faults than before, the largest change first.
    """

    pages: int
    regions: int
    metrics: tuple[Metric, ...]
    by_height: tuple[Share, ...]
    by_source: tuple[Share, ...]
    confidence: Confidence | None
    worst: tuple[ComparedPages, ...]
    worse: tuple[ComparedPages, ...]
    better: tuple[ComparedPages, ...]


def compare_regions(
    before: RegionReport | None, after: RegionReport, sources: Sequence[SourceCard]
) -> RegionComparison:
    """Compare what two detectors found on the same pages.

    Args:
        before: None: there is only the model after.
        after: of the same samples in the same order.
        sources: of the dataset, by number.

    Raises:
        ValueError: not the same number of pages.
    """
    if before is not None and len(before.detections) != len(after.detections):
        raise ValueError(
            f"{len(before.detections)} pages before and {len(after.detections)} after; expected "
            "the same"
        )
    pages = []
    for index, (sample, found) in enumerate(zip(after.samples, after.detections, strict=True)):
        name = sources[sample.source].name if sample.source < len(sources) else ""
        first = None if before is None else _look(sample, before.detections[index])
        pages.append(ComparedPages(sample, name, first, _look(sample, found)))
    return RegionComparison(
        pages=len(pages),
        regions=sum(page.after.score.truths for page in pages),
        metrics=_metrics(pages),
        by_height=_by_height(pages),
        by_source=_by_source(pages),
        confidence=_confidence(pages),
        worst=_first(pages, lambda page: -page.after.faults, most=_PAGES_SHOWN),
        worse=_first(pages, lambda page: -page.change, most=_CHANGED_SHOWN),
        better=_first(pages, attrgetter("change"), most=_CHANGED_SHOWN),
    )


def _look(sample: DetSample, found: DetectedText) -> FoundPage:
    truths = [np.array(region.points, dtype=np.float64) for region in sample.regions]
    ignore = [region.ignore for region in sample.regions]
    compared = compare_page([polygon.points for polygon in found.polygons], truths, ignore)
    pairs = compared.pairs()
    right, hit = {at for at, _ in pairs}, {to for _, to in pairs}
    detected = [
        (tuple((float(x), float(y)) for x, y in polygon.points), at in right)
        for at, polygon in enumerate(found.polygons)
        if compared.counted_found[at]
    ]
    counted = [(region, to in hit) for to, region in enumerate(sample.regions) if not region.ignore]
    return FoundPage(
        score=compared.score(),
        right=tuple(points for points, is_right in detected if is_right),
        missed=tuple(region.points for region, is_found in counted if not is_found),
        false=tuple(points for points, is_right in detected if not is_right),
        aside=tuple(region.points for region in sample.regions if region.ignore),
        is_found=tuple(is_found for _, is_found in counted),
        rated=tuple(
            (float(polygon.score), at in right)
            for at, polygon in enumerate(found.polygons)
            if compared.counted_found[at]
        ),
    )


def _metrics(pages: Sequence[ComparedPages]) -> tuple[Metric, ...]:
    # hmean = 2 PR / (P + R) = 2 matched / (detections + truths): a ratio of sums as well.
    counted: dict[str, Callable[[RegionScore], tuple[float, float]]] = {
        "precision": lambda score: (score.matched, score.detections),
        "recall": lambda score: (score.matched, score.truths),
        "hmean": lambda score: (2 * score.matched, score.detections + score.truths),
    }
    return tuple(compare(name, name, *_parts(pages, part)) for name, part in counted.items())


def _parts(
    pages: Sequence[ComparedPages], part: Callable[[RegionScore], tuple[float, float]]
) -> tuple[Parts | None, Parts]:
    after = np.array([part(page.after.score) for page in pages], dtype=np.float64)
    earlier = [part(page.before.score) for page in pages if page.before is not None]
    before = np.array(earlier, dtype=np.float64) if len(earlier) == len(pages) else None
    return before, after


def _by_height(pages: Sequence[ComparedPages]) -> tuple[Share, ...]:
    rows: list[tuple[float, tuple[bool | None, bool]]] = []
    for page in pages:
        counted = [region for region in page.sample.regions if not region.ignore]
        for number, region in enumerate(counted):
            _, sides, _ = cv2.minAreaRect(np.array(region.points, dtype=np.float32))
            rows.append((min(sides), _found(page, number)))
    shares = []
    for start, end in pairwise([*_HEIGHTS, None]):
        assert start is not None  # noqa: S101  (only the last end is open)
        title = f"{start} px and more" if end is None else f"{start} to {end} px"
        chosen = [row for side, row in rows if start <= side and (end is None or side < end)]
        shares.append(share_of(title, chosen))
    return tuple(share for share in shares if share.total)


def _by_source(pages: Sequence[ComparedPages]) -> tuple[Share, ...]:
    shares = []
    for number in sorted({page.sample.source for page in pages}):
        chosen = [page for page in pages if page.sample.source == number]
        rows = [_found(page, at) for page in chosen for at in range(len(page.after.is_found))]
        shares.append(share_of(chosen[0].source or "?", rows))
    return tuple(share for share in shares if share.total)


def _found(page: ComparedPages, number: int) -> tuple[bool | None, bool]:
    before = None if page.before is None else page.before.is_found[number]
    return before, page.after.is_found[number]


def _confidence(pages: Sequence[ComparedPages]) -> Confidence | None:
    before = None
    if all(page.before is not None for page in pages):
        before = Rated.of(row for page in pages if page.before for row in page.before.rated)
    return compare_confidences(before, Rated.of(row for page in pages for row in page.after.rated))


def _first(
    pages: Sequence[ComparedPages], key: Callable[[ComparedPages], int], *, most: int
) -> tuple[ComparedPages, ...]:
    """Those with a negative key, the lowest first."""
    return tuple(sorted((page for page in pages if key(page) < 0), key=key)[:most])
