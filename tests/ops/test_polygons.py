import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.ops.polygons import (
    clip_to_frame,
    clockwise,
    crosses_itself,
    measure,
    mirrored,
    perimeter,
    shorter_side,
    signed_area,
    thickness,
    without_repeats,
)


def outline(*points: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(points, dtype=np.float32)


SQUARE = outline((0, 0), (4, 0), (4, 4), (0, 4))
LONG = outline((10, 10), (50, 10), (50, 20), (10, 20))
ELL = outline((0, 0), (10, 0), (10, 4), (4, 4), (4, 10), (0, 10))
BOW_TIE = outline((0, 0), (10, 10), (10, 0), (0, 10))
PENTAGRAM = outline(*((50 * np.cos(t), 50 * np.sin(t)) for t in np.arange(5) * 0.8 * np.pi))


def turned(points: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (points @ np.array([[c, s], [-s, c]])).astype(np.float32)


def test_area_is_positive_clockwise_on_the_screen() -> None:
    assert signed_area(SQUARE) == 16
    assert signed_area(SQUARE[::-1]) == -16


def test_clockwise_keeps_the_first_point() -> None:
    np.testing.assert_array_equal(clockwise(SQUARE), SQUARE)
    back = clockwise(SQUARE[::-1])
    assert signed_area(back) == 16
    np.testing.assert_array_equal(back[0], SQUARE[-1])


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
def test_sides_do_not_depend_on_the_angle(degrees: float) -> None:
    points = turned(LONG, degrees)
    assert perimeter(points) == pytest.approx(100, rel=1e-5)
    assert shorter_side(points) == pytest.approx(10, rel=1e-5)
    assert thickness(points) == pytest.approx(10, rel=1e-5)


@pytest.mark.parametrize("degrees", [0, 45, 90])
def test_thickness_of_many_points_is_taken_across_at_any_angle(degrees: float) -> None:
    middle = np.insert(LONG, 1, [[30, 10]], axis=0).astype(np.float32)
    assert thickness(turned(middle, degrees)) == pytest.approx(10, rel=1e-4)


@pytest.mark.parametrize(
    ("points", "expected"), [(SQUARE, False), (ELL, False), (BOW_TIE, True), (PENTAGRAM, True)]
)
def test_crosses_itself(points: NDArray[np.float32], expected: bool) -> None:
    assert crosses_itself(points) is expected


def ring(count: int) -> NDArray[np.float32]:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return (500 + 400 * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)


def test_crosses_itself_takes_memory_for_each_point_not_for_each_pair() -> None:
    points = ring(2000)
    tracemalloc.start()
    try:
        assert not crosses_itself(points)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("at", [0, 1, 30, 57, 58])
def test_two_swapped_points_cross_wherever_they_are(at: int) -> None:
    points = ring(60)
    points[[at, at + 1]] = points[[at + 1, at]]
    assert crosses_itself(points)


def test_without_repeats_looks_round_the_end() -> None:
    points = outline((0, 0), (0, 0), (4, 0), (4, 4), (4, 4), (0, 4), (0, 0))
    np.testing.assert_array_equal(without_repeats(points), outline((4, 0), (4, 4), (0, 4), (0, 0)))


@pytest.mark.parametrize(
    ("points", "convex"),
    [(SQUARE, True), (LONG, True), (ELL, False), (BOW_TIE, False), (PENTAGRAM, False)],
)
def test_measure_knows_convex_outlines(points: NDArray[np.float32], convex: bool) -> None:
    for given in (points, points[::-1]):
        measured = measure(given)
        assert measured is not None
        assert measured.convex is convex


@pytest.mark.parametrize("points", [SQUARE, LONG, ELL, turned(LONG, 33), turned(ELL, 70)])
def test_measure_agrees_with_the_single_measures(points: NDArray[np.float32]) -> None:
    for given in (points, points[::-1], np.repeat(points, 2, axis=0)):
        measured = measure(given)
        assert measured is not None
        assert measured.area == pytest.approx(abs(signed_area(points)), rel=1e-5)
        assert measured.perimeter == pytest.approx(perimeter(points), rel=1e-5)
        assert measured.thickness == pytest.approx(thickness(points), rel=1e-5)
        corners = np.array([measured.xs, measured.ys]).T
        assert signed_area(corners) > 0
        steps = np.roll(corners, -1, axis=0) - corners
        lengths = np.hypot(*steps.T)[:, None]
        np.testing.assert_allclose(np.array(measured.runs) * lengths, steps, atol=1e-4)


@pytest.mark.parametrize("points", [[], [(1, 1)], [(1, 1), (2, 2)], [(1, 1), (1, 1), (2, 2)]])
def test_measure_of_less_than_three_corners_is_none(points: list[tuple[float, float]]) -> None:
    assert measure(np.array(points, dtype=np.float32).reshape(-1, 2)) is None


def test_mirrored_stays_clockwise_and_starts_at_the_new_left_of_the_top() -> None:
    moved = LONG * np.float32([-1, 1]) + np.float32([100, 0])
    np.testing.assert_array_equal(mirrored(moved), outline((50, 10), (90, 10), (90, 20), (50, 20)))
    curved = outline((0, 0), (5, -1), (10, 0), (10, 5), (5, 4), (0, 5)) * np.float32([-1, 1])
    assert signed_area(mirrored(curved)) > 0
    assert {tuple(p) for p in mirrored(curved)} == {tuple(p) for p in curved}


def test_clip_leaves_what_is_inside() -> None:
    np.testing.assert_array_equal(clip_to_frame(LONG, 50, 20), LONG)


def test_clip_cuts_at_each_side() -> None:
    big = outline((-5, -5), (30, -5), (30, 40), (-5, 40))
    clipped = clip_to_frame(big, 20, 25)
    assert sorted(map(tuple, clipped.tolist())) == [(0, 0), (0, 25), (20, 0), (20, 25)]
    assert signed_area(clipped) == 20 * 25


def test_clip_of_a_corner_cut_off_adds_a_point() -> None:
    clipped = clip_to_frame(turned(SQUARE, 45) + np.float32([5, -1]), 10, 10)
    assert len(clipped) == 5
    assert signed_area(clipped) == pytest.approx(15, rel=1e-4)


def test_clip_of_what_is_outside_is_empty() -> None:
    assert clip_to_frame(SQUARE + 100, 50, 50).shape == (0, 2)


def test_clip_has_the_area_that_pixels_count() -> None:
    random = np.random.default_rng(0)
    ys, xs = np.mgrid[0:60, 0:80] + 0.5
    for _ in range(20):
        points = (turned(LONG, random.uniform(0, 360)) + random.uniform(0, 80, 2)).astype(
            np.float32
        )
        measured = measure(points)
        assert measured is not None
        inside = np.ones(xs.shape, dtype=bool)
        for x, y, (run_x, run_y) in zip(measured.xs, measured.ys, measured.runs, strict=True):
            inside &= run_x * (ys - y) - run_y * (xs - x) >= 0
        clipped = clip_to_frame(points, 80, 60)
        area = signed_area(clipped) if len(clipped) else 0.0
        assert area == pytest.approx(inside.sum(), abs=12)
