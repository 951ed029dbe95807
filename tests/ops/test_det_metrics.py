"""Scores by hand; areas against other ways to compute them."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.ops.det_metrics import (
    RegionScore,
    compare_page,
    overlap_area,
    region_area,
    total,
)
from ocr_pipeline.ops.polygons import crosses_itself, signed_area

Outline = NDArray[np.float64]


def outline(*points: tuple[float, float]) -> Outline:
    return np.array(points, dtype=np.float64)


def box(left: float, top: float, width: float, height: float) -> Outline:
    right, bottom = left + width, top + height
    return outline((left, top), (right, top), (right, bottom), (left, bottom))


def turned(points: Outline, degrees: float) -> Outline:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(points @ np.array([[c, s], [-s, c]]))


def star(random: np.random.Generator, points: int, radius: float = 40) -> Outline:
    """A simple outline that is hardly ever convex, about the origin."""
    angles = np.sort(random.uniform(0, 2 * np.pi, points))
    reach = radius * random.uniform(0.2, 1, points)
    return np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)


def score(
    found: list[Outline], truths: list[Outline], ignore: list[bool] | None = None
) -> RegionScore:
    return compare_page(found, truths, ignore or [False] * len(truths)).score()


ELL = outline((0, 0), (10, 0), (10, 4), (4, 4), (4, 10), (0, 10))
COMB = outline((0, 0), (9, 0), (9, 6), (7, 6), (7, 2), (5, 2), (5, 6), (3, 6), (3, 2), (0, 2))
BOW_TIE = outline((0, 0), (10, 10), (10, 0), (0, 10))
SPECK = box(1000.25, 500.5, 0.5, 0.25)


@pytest.mark.parametrize(
    ("first", "second", "area"),
    [
        (box(0, 0, 4, 2), box(0, 0, 4, 2), 8),
        (box(0, 0, 4, 2), box(1, 1, 9, 9), 3),
        (box(0, 0, 4, 2), box(4, 0, 4, 2), 0),  # an edge is shared
        (box(0, 0, 4, 2), box(4, 2, 4, 2), 0),  # a corner is shared
        (box(0, 0, 4, 2), box(9, 0, 4, 2), 0),
        (box(0, 0, 10, 10), box(2, 2, 1, 1), 1),
        (box(-5, -5, 10, 10), turned(box(-5, -5, 10, 10), 45), 200 * (2**0.5 - 1)),
        (ELL, box(2, 2, 8, 8), 28),  # 8 x 8 without the notch of 6 x 6
        (ELL, box(4, 4, 6, 6), 0),  # the notch itself
        (COMB, box(0, 3, 9, 2), 8),  # two teeth
        (COMB, ELL, 28),
        (BOW_TIE, box(0, 0, 10, 5), 25),
        (SPECK, box(1000.5, 500.5, 1, 1), 0.0625),
        (outline((0, 0), (5, 0), (9, 0)), box(0, 0, 9, 9), 0),  # no area
        (outline((0, 0), (0, 0), (4, 4), (4, 4), (0, 4)), box(0, 0, 4, 4), 8),
    ],
)
def test_shared_areas(first: Outline, second: Outline, area: float) -> None:
    for a, b in ((first, second), (second, first), (first[::-1], np.roll(second, 1, axis=0))):
        assert overlap_area(a, b) == pytest.approx(area, abs=1e-9)
        assert overlap_area(a + 0.1, b + 0.1) == pytest.approx(area, abs=1e-8)


def test_areas_agree_with_the_shoelace_and_with_counted_points() -> None:
    random = np.random.default_rng(0)
    x, y = random.uniform(-40, 40, (2, 20_000))
    for points in (3, 4, 7, 14, 60):
        first, second = star(random, points), turned(star(random, points), 30) + 5
        assert not crosses_itself(first)
        assert region_area(first) == pytest.approx(abs(signed_area(first)), rel=1e-12)
        share = np.mean(_inside(first, x, y) & _inside(second, x, y))
        assert overlap_area(first, second) == pytest.approx(6400 * share, abs=60)
        whole = overlap_area(first, box(-50, -50, 100, 20)) + overlap_area(
            first, box(-50, -30, 100, 80)
        )
        assert whole == pytest.approx(region_area(first), rel=1e-12)


def _inside(points: Outline, x: Outline, y: Outline) -> NDArray[np.bool_]:
    """Even-odd rule, by rays to the right."""
    crossings = np.zeros(len(x), dtype=int)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        beside = (y0 > y) != (y1 > y)
        crossings += beside & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0 if y1 != y0 else 1))
    return np.asarray(crossings % 2 == 1)


def test_areas_in_many_bands_are_summed() -> None:
    teeth = [(float(n), float(n % 2) + n / 1000) for n in range(601)]
    saw = outline(*teeth, (600, 50), (0, 50))
    assert overlap_area(saw, saw) == pytest.approx(abs(signed_area(saw)), rel=1e-12)
    assert overlap_area(saw, box(0, 10, 600, 60)) == pytest.approx(600 * 40, rel=1e-12)


def test_counts_and_percentages_of_a_page() -> None:
    truths = [box(0, 0, 100, 20), box(0, 40, 100, 20), box(0, 80, 100, 20)]
    found = [box(2, 1, 100, 20), box(0, 40, 40, 20), box(200, 200, 9, 9), box(0, 80, 100, 21)]
    result = score(found, truths)
    assert result == RegionScore(truths=3, detections=4, matched=2)
    assert result.precision == 50
    assert result.recall == pytest.approx(200 / 3)
    assert result.hmean == pytest.approx(400 / 7)


@pytest.mark.parametrize(("shift", "matched"), [(3.33, 1), (3.34, 0)])  # a third: IoU is 1/2
def test_a_pair_matches_above_one_half(shift: float, matched: int) -> None:
    assert score([box(shift, 0, 10, 10)], [box(0, 0, 10, 10)]).matched == matched


def test_half_of_a_region_is_not_above_one_half() -> None:
    assert score([box(0, 0, 5, 10)], [box(0, 0, 10, 10)]).matched == 0
    assert score([box(0, 0, 5.01, 10)], [box(0, 0, 10, 10)]).matched == 1


def test_boxes_that_overlap_are_no_match_where_the_outlines_do_not() -> None:
    corner = outline((1, 10), (10, 1), (10, 10))
    other = outline((0, 0), (9, 0), (0, 9))
    assert score([corner], [other]).matched == 0
    assert score([turned(box(0, 0, 30, 3), 40)], [box(0, 0, 23, 21)]).matched == 0


def test_each_region_is_matched_once() -> None:
    truth = box(0, 0, 100, 20)
    assert score([truth, truth + 1, truth], [truth]) == RegionScore(1, 3, 1)
    assert score([truth], [truth, truth + 1]) == RegionScore(2, 1, 1)


def test_the_order_of_the_lists_does_not_matter() -> None:
    # The middle detection may take either region; the others may take one of them only.
    left, right = box(0, 0, 100, 20), box(30, 0, 100, 20)
    found = [box(15, 0, 100, 20), box(-25, 0, 100, 20), box(300, 0, 5, 5)]
    for truths in ([left, right], [right, left]):
        for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
            compared = compare_page([found[n] for n in order], truths, [False, False])
            assert compared.score() == RegionScore(2, 3, 2)
    random = np.random.default_rng(1)
    truths = [box(*random.uniform(0, 60, 2), 40, 12) for _ in range(30)]
    found = [truth + random.normal(0, 3, 2) for truth in truths]
    ignore = [bool(n % 5 == 0) for n in range(30)]
    first = score(found, truths, ignore)
    for _ in range(5):
        a, b = random.permutation(30), random.permutation(30)
        again = score([found[n] for n in a], [truths[n] for n in b], [ignore[n] for n in b])
        assert again == first


def test_an_ignored_region_counts_neither_found_nor_missed() -> None:
    text, smear = box(0, 0, 100, 20), box(0, 100, 100, 50)
    for found, counted in (
        ([text], 1),
        ([text, smear], 1),  # found
        ([text, box(0, 100, 10, 10), box(50, 120, 10, 10)], 1),  # parts of it
        ([text, box(-9, 100, 20, 10)], 1),  # 11 of 20 px lie inside
        ([text, box(-10, 100, 20, 10)], 2),  # a half is not enough
        ([text, box(0, 0, 1000, 1000)], 2),  # it lies inside the detection
    ):
        result = score(found, [text, smear], [False, True])
        assert result == RegionScore(1, counted, 1, 1, len(found) - counted)


def test_halves_in_two_ignored_regions_do_not_add_up() -> None:
    found = [box(0, 0, 20, 10)]
    result = score(found, [box(-10, 0, 20, 10), box(10, 0, 20, 10)], [True, True])
    assert result == RegionScore(0, 1, 0, 2, 0)


def test_a_detection_in_an_ignored_region_matches_nothing() -> None:
    text = box(0, 0, 100, 20)
    result = score([text], [text, box(-10, -10, 200, 50)], [False, True])
    assert result == RegionScore(truths=1, detections=0, ignored_truths=1, ignored_detections=1)
    assert (result.precision, result.recall, result.hmean) == (0, 0, 0)


def test_an_ignored_region_of_any_outline() -> None:
    result = score([box(5, 5, 4, 4), box(0, 0, 4, 4)], [ELL], [True])
    assert result == RegionScore(detections=1, ignored_truths=1, ignored_detections=1)


def test_regions_without_area_are_missed_or_wrong() -> None:
    line = outline((0, 0), (5, 0), (9, 0))
    assert score([line], [line]) == RegionScore(1, 1, 0)
    assert score([line], [box(-5, -5, 90, 90)], [True]) == RegionScore(0, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("truths", "found", "percentages"),
    [(0, 0, (100, 100, 100)), (0, 2, (0, 100, 0)), (2, 0, (0, 0, 0))],
)
def test_pages_without_text_or_without_detections(
    truths: int, found: int, percentages: tuple[float, float, float]
) -> None:
    text = box(0, 0, 100, 20)
    result = score([text] * found, [text] * truths)
    assert result == RegionScore(truths, found, 0)
    assert (result.precision, result.recall, result.hmean) == percentages


def test_the_total_is_of_counts_not_of_percentages() -> None:
    whole = total([RegionScore(1, 1, 1, 2, 3), RegionScore(9, 4, 2, 1, 0), RegionScore()])
    assert whole == RegionScore(10, 5, 3, 3, 3)
    assert (whole.precision, whole.recall, whole.hmean) == (60, 30, 40)
    assert total([]) == RegionScore()


def test_pairs_may_be_refused() -> None:
    text = box(0, 0, 100, 20)
    compared = compare_page([text, text + 1], [text, text + 2], [False, False])
    assert compared.close[0] == (0, 0)  # the closest
    assert len(compared.pairs()) == 2
    assert compared.pairs(lambda found, truth: found == 1) in ([(1, 0)], [(1, 1)])
    assert compared.pairs(lambda found, truth: found != truth) == [(0, 1), (1, 0)]
    assert compared.score(lambda found, truth: False) == RegionScore(2, 2, 0)


def test_pages_of_many_regions_are_quick() -> None:
    truths = [box(60 * (n % 25), 20 * (n // 25), 56, 16) for n in range(500)]
    found = [truth + 1.5 for truth in truths]
    started = time.perf_counter()
    result = score(found, truths)
    assert result == RegionScore(500, 500, 500)
    assert time.perf_counter() - started < 10  # 0.3 s alone; all pairs would take a minute


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (box(0, 0, 1, 1)[:2], r"an outline of shape \(2, 2\); expected \[P, 2\] with P >= 3"),
        (np.zeros((4, 3)), r"shape \(4, 3\)"),
        (outline((0, 0), (1, 0), (float("nan"), 1)), r"points that are not finite: .*nan"),
    ],
)
def test_outlines_are_checked(bad: Outline, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_page([bad], [], [])
    with pytest.raises(ValueError, match=message):
        compare_page([], [bad], [True])


def test_every_region_has_a_mark() -> None:
    with pytest.raises(ValueError, match="1 ignore marks for 0 truth regions"):
        compare_page([], [], [True])
