"""Sets of samples, and what made-up models read and found on them."""

from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np

from ocr_pipeline.artifacts.dataset import DetSample, RecSample, Region, SourceCard
from ocr_pipeline.evaluation.lines import LineReport
from ocr_pipeline.evaluation.regions import RegionReport
from ocr_pipeline.ops.ctc import TextLine
from ocr_pipeline.ops.db_decode import DetectedText, TextPolygon
from ocr_pipeline.ops.det_metrics import compare_page, total
from ocr_pipeline.ops.metrics import normalise_text, score_lines

SOURCES = [
    SourceCard(name="slips", images="/a"),
    SourceCard(name="forms", images="/b"),
    SourceCard(name="replay", images="replay", replay=True),
]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""


class Elements(HTMLParser):
    """Names, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def line(text: str, *, source: int = 0, image: str = "") -> RecSample:
    return RecSample(image or f"{source}/{text}.png", text, height=32, width=100, source=source)


def read_as(samples: Sequence[RecSample], read: Sequence[str | tuple[str, float]]) -> LineReport:
    """A report in which each sample is read so, with a confidence of 0.9 where none is given."""
    lines = [TextLine(r, 0.9) if isinstance(r, str) else TextLine(*r) for r in read]
    found, truth = [r.text for r in lines], [s.text for s in samples]
    folded = score_lines([*map(normalise_text, found)], [*map(normalise_text, truth)])
    return LineReport(samples, lines, score_lines(found, truth), folded)


def corners(box: Box) -> tuple[tuple[float, float], ...]:
    left, top, right, bottom = box
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def page(
    name: str, boxes: Sequence[Box], *, ignore: Sequence[Box] = (), source: int = 0
) -> DetSample:
    regions = [Region(corners(box), "text") for box in boxes]
    regions += [Region(corners(box), "###", ignore=True) for box in ignore]
    return DetSample(name, height=200, width=300, regions=tuple(regions), source=source)


def found_as(
    samples: Sequence[DetSample], found: Sequence[Sequence[Box | tuple[Box, float]]]
) -> RegionReport:
    """A report in which these boxes are found, with a score of 0.9 where none is given."""
    detections, pages = [], []
    for sample, boxes in zip(samples, found, strict=True):
        scored = [box if len(box) == 2 else (box, 0.9) for box in boxes]
        polygons = [
            TextPolygon(points, score, points)
            for points, score in ((np.array(corners(b), np.float32), s) for b, s in scored)
        ]
        truths = [np.array(region.points) for region in sample.regions]
        ignore = [region.ignore for region in sample.regions]
        pages.append(compare_page([p.points for p in polygons], truths, ignore).score())
        detections.append(DetectedText(polygons))
    return RegionReport(samples, detections, pages, total(pages))
