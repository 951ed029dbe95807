"""Scripted detectors and readers, then a real pair on pages drawn for it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import DetSample, Region
from ocr_pipeline.errors import DataError, ImageError
from ocr_pipeline.evaluation.regions import evaluate_reading, evaluate_regions
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.ops.db_decode import DetectedText, TextPolygon
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_metrics import RegionScore
from ocr_pipeline.ops.geometry import Points
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair

ROWS = 4


def row(number: float, width: float = 100) -> Points:
    """A line of 20 px height; one in 40 px."""
    top, bottom = 40 * number, 40 * number + 20
    return np.array([[0, top], [width, top], [width, bottom], [0, bottom]], dtype=np.float32)


def page(name: str, *texts: str, ignore: Sequence[int] = ()) -> DetSample:
    """One region a row."""
    regions = [
        Region(tuple((float(x), float(y)) for x, y in row(at)), text, at in ignore)
        for at, text in enumerate(texts)
    ]
    return DetSample(name, 40 * ROWS, 100, tuple(regions))


def picture(sample: DetSample) -> BGRImage:
    """Says which sample it is of, by its first pixel."""
    image = np.zeros((40 * ROWS, 100, 3), dtype=np.uint8)
    image[0, 0, 0] = int(sample.image)
    return image


class ScriptedDetector(Detector):
    """Finds what is written down for the picture of that number."""

    def __init__(self, *found: Sequence[Points]) -> None:
        self._found = found

    def detect(self, image: BGRImage) -> DetectedText:
        return DetectedText(
            [TextPolygon(points, 0.9, points) for points in self._found[image[0, 0, 0]]]
        )


class ScriptedReader(OcrReader):
    """Reads what is written down for the picture of that number: texts in rows."""

    def __init__(self, *read: Sequence[tuple[str, float]]) -> None:
        self._read = read

    def read(self, picture: object, limits: object = None) -> PageText:
        assert isinstance(picture, np.ndarray)
        entries = self._read[picture[0, 0, 0]]
        lines = [ReadLine(text, 0.9, row(at), 0.9, 0) for text, at in entries]
        return PageText(lines, 100, 40 * ROWS, {}, {})


def test_every_sample_is_counted() -> None:
    samples = [page("0", "a", "b"), page("1"), page("2", "a", "b", "c", ignore=[1, 2])]
    found = [[row(0), row(1, 30)], [row(3)], [row(0), row(1), row(2, 40), row(3)]]
    report = evaluate_regions(ScriptedDetector(*found), samples, picture)
    assert report.samples == samples
    assert [len(one.polygons) for one in report.detections] == [2, 1, 4]
    assert report.pages == [
        RegionScore(2, 2, 1),
        RegionScore(0, 1, 0),
        RegionScore(1, 2, 1, 2, 2),
    ]
    assert report.score == RegionScore(3, 5, 2, 2, 2)
    assert report.metrics() == {
        "precision": 40,
        "recall": pytest.approx(200 / 3),
        "hmean": pytest.approx(50),
    }


def test_regions_of_any_outline_are_evaluated() -> None:
    ell = ((0.0, 0.0), (100.0, 0.0), (100.0, 20.0), (10.0, 20.0), (10.0, 90.0), (0.0, 90.0))
    sample = DetSample("0", 160, 100, (Region(ell, "a"),))
    assert evaluate_regions(ScriptedDetector([row(0)]), [sample], picture).score.matched == 1
    whole = np.array([[0, 0], [100, 0], [100, 90], [0, 90]], dtype=np.float32)
    assert evaluate_regions(ScriptedDetector([whole]), [sample], picture).score.matched == 0


def test_a_picture_that_cannot_be_read_ends_the_evaluation() -> None:
    def broken(sample: DetSample) -> BGRImage:
        raise ImageError(f"{sample.image}: cannot read this picture")

    with pytest.raises(ImageError, match="0: cannot read"):
        evaluate_regions(ScriptedDetector([]), [page("0", "a")], broken)


def test_no_sample_is_a_fault_of_the_caller() -> None:
    for evaluate in (
        lambda: evaluate_regions(ScriptedDetector(), [], picture),
        lambda: evaluate_reading(ScriptedReader(), [], picture),
    ):
        with pytest.raises(ValueError, match="0 samples to evaluate; expected >= 1"):
            evaluate()


def test_a_line_is_right_where_it_stands_and_says_the_same() -> None:
    samples = [page("0", "AB1", "合计：", "no 3", "x"), page("1", "a", "b")]
    read = [
        [("AB1", 0), ("合计:", 1), ("NO3", 2), ("y", 3)],  # right, right when folded, the same, not
        [("b", 0), ("a", 1), ("z", 3)],  # in each other's place; one invented
    ]
    report = evaluate_reading(ScriptedReader(*read), samples, picture)
    assert report.found == RegionScore(6, 7, 6)
    assert report.raw == RegionScore(6, 7, 1)
    assert report.normalised == RegionScore(6, 7, 3)
    assert report.pages == [RegionScore(4, 4, 1), RegionScore(2, 3, 0)]
    assert [len(text.lines) for text in report.texts] == [4, 3]
    assert report.without_text == 0
    metrics = report.metrics()
    assert metrics["recall"] == pytest.approx(100 / 6)
    assert metrics["precision_normalised"] == pytest.approx(300 / 7)
    assert metrics["hmean_normalised"] == pytest.approx(600 / 13)
    assert len(metrics) == 6


def test_a_text_may_be_read_twice_but_counts_once() -> None:
    report = evaluate_reading(ScriptedReader([("a", 0), ("a", 0.05)]), [page("0", "a")], picture)
    assert report.raw == RegionScore(1, 2, 1)


def test_a_line_stands_where_its_outline_does() -> None:
    class Generous(ScriptedReader):
        def read(self, picture: object, limits: object = None) -> PageText:
            page = super().read(picture, limits)
            lines = [
                replace(line, points=3 * line.points, outline=line.points) for line in page.lines
            ]
            return replace(page, lines=lines)

    report = evaluate_reading(Generous([("a", 0), ("b", 1)]), [page("0", "a", "b")], picture)
    assert report.raw == RegionScore(2, 2, 2)


def test_regions_without_text_are_left_out_of_account() -> None:
    samples = [page("0", "a", "", "c", ignore=[2])]
    report = evaluate_reading(ScriptedReader([("a", 0), ("b", 1), ("x", 2)]), samples, picture)
    assert report.raw == report.found == RegionScore(1, 1, 1, 2, 2)
    assert report.without_text == 1
    with pytest.raises(DataError, match="none of the 2 regions has a text; reading is measured"):
        evaluate_reading(ScriptedReader([]), [page("0", "", "")], picture)
    assert evaluate_reading(ScriptedReader([]), [page("0")], picture).raw == RegionScore()


def test_a_real_pair_finds_and_reads_a_drawn_page(exported_tiny: ExportedPair) -> None:
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec)
    image = golden_pages()[0]
    lines = reader.read(image).lines
    regions = [
        Region(tuple((float(x), float(y)) for x, y in line.points), text)
        for line, text in zip(
            lines,
            ["No. 20260317-0042", "TOTAL 1,280.50", "PaddleOCX", "6222 0210 0117 3345 908"],
            strict=True,
        )
    ]
    missed = Region(((500.0, 0.0), (600.0, 0.0), (600.0, 20.0), (500.0, 20.0)), "gone")
    sample = DetSample("golden", *image.shape[:2], regions=(*regions, missed))
    report = evaluate_reading(reader, [sample], lambda _: image)
    assert report.found == RegionScore(5, 4, 4)
    assert report.normalised.matched == 3
    alone = evaluate_regions(reader.detector, [sample], lambda _: image)
    assert alone.score == RegionScore(5, 4, 4)
