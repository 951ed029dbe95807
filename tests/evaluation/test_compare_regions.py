import pytest

from ocr_pipeline.evaluation.compare_regions import compare_regions
from tests.evaluation.reports import SOURCES, corners, found_as, page

LOW, HIGH, WIDE = (10, 10, 60, 20), (10, 40, 60, 70), (100, 10, 290, 30)
AWAY = (200, 150, 240, 170)
PAGES = [
    page("one.png", [LOW, HIGH]),
    page("two.png", [WIDE], ignore=[AWAY], source=1),
    page("three.png", [HIGH], source=1),
]


def test_figures_are_those_of_the_region_reports() -> None:
    before = found_as(PAGES, [[LOW], [AWAY], [HIGH, WIDE]])
    after = found_as(PAGES, [[LOW, HIGH], [WIDE, AWAY], [HIGH, LOW]])
    found = compare_regions(before, after, SOURCES)
    assert (found.pages, found.regions) == (3, 4)
    for metric in found.metrics:
        assert metric.before is not None
        assert metric.after is not None
        assert metric.before.value == pytest.approx(before.metrics()[metric.name])
        assert metric.after.value == pytest.approx(after.metrics()[metric.name])
        assert metric.p is not None
    assert [metric.name for metric in found.metrics] == ["precision", "recall", "hmean"]


def test_a_detector_that_finds_nothing_has_no_precision() -> None:
    nothing = found_as(PAGES, [[], [], []])
    found = compare_regions(nothing, found_as(PAGES, [[LOW], [], []]), SOURCES)
    precision, recall, _ = found.metrics
    assert (precision.before, precision.change) == (None, None)
    assert precision.after is not None
    assert precision.after.value == 100
    assert recall.change is not None
    assert recall.change.value == 25
    assert compare_regions(None, nothing, SOURCES).confidence is None


def test_faults_of_a_page_with_their_outlines() -> None:
    found = compare_regions(None, found_as(PAGES, [[LOW, AWAY], [WIDE, AWAY], [HIGH]]), SOURCES)
    (worst,) = found.worst  # pages without a fault are not shown
    assert worst.sample.image == "one.png"
    assert worst.after.right == (corners(LOW),)
    assert worst.after.missed == (corners(HIGH),)
    assert worst.after.false == (corners(AWAY),)
    assert (found.worse, found.better) == ((), ())


def test_pages_that_changed() -> None:
    before = found_as(PAGES, [[LOW, HIGH], [], []])
    found = compare_regions(before, found_as(PAGES, [[LOW], [WIDE], []]), SOURCES)
    assert [one.sample.image for one in found.worse] == ["one.png"]
    assert [(one.sample.image, one.change) for one in found.better] == [("two.png", -1)]
    assert [one.sample.image for one in found.worst] == ["one.png", "three.png"]


def test_recall_by_height_and_source() -> None:
    before = found_as(PAGES, [[], [WIDE], []])
    found = compare_regions(before, found_as(PAGES, [[HIGH], [WIDE], [HIGH]]), SOURCES)
    assert [(s.title, s.total, s.before, s.after) for s in found.by_height] == [
        ("8 to 12 px", 1, 0, 0),
        ("16 to 24 px", 1, 1, 1),
        ("24 to 32 px", 2, 0, 2),
    ]
    assert [(s.title, s.total, s.before, s.after) for s in found.by_source] == [
        ("slips", 2, 0, 1),
        ("forms", 2, 1, 2),
    ]


def test_confidence_is_of_detections_that_count() -> None:
    after = found_as(PAGES, [[(LOW, 0.8), (AWAY, 0.6)], [(AWAY, 0.95)], []])
    found = compare_regions(None, after, SOURCES).confidence
    assert found is not None
    assert found.samples == 2
    assert found.after.counts.nonzero()[0].tolist() == [5, 7]  # 0.6 and 0.8 are upper ends
    assert found.thresholds[0].measured is not None
    assert found.thresholds[0].measured.threshold == pytest.approx(0.8)


def test_other_pages_are_refused() -> None:
    with pytest.raises(ValueError, match="3 pages before and 1 after"):
        compare_regions(found_as(PAGES, [[], [], []]), found_as(PAGES[:1], [[]]), SOURCES)
