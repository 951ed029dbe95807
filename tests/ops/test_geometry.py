from itertools import permutations
from math import cos, radians, sin

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.ops.geometry import (
    Points,
    crop_line,
    is_vertical,
    line_parts,
    order_corners,
    reading_order,
)


def box(left: float, top: float, width: float, height: float = 30) -> Points:
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def turned(points: Points, degrees: float, about: tuple[float, float] = (500, 500)) -> Points:
    """Clockwise on the screen."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    moved = (points - about) @ np.array([[c, s], [-s, c]])
    return (moved + about).astype(np.float32)


def quarters(width: int, height: int) -> NDArray[np.uint8]:
    """A level line whose quarters are, clockwise from top-left, 40, 90, 160 and 220."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 40
    image[: height // 2, width // 2 :] = 90
    image[height // 2 :, width // 2 :] = 160
    image[height // 2 :, : width // 2] = 220
    return image


def quarter_levels(image: NDArray[np.uint8]) -> list[int]:
    height, width = image.shape[:2]
    spots = [(1, 1), (1, 3), (3, 3), (3, 1)]
    return [int(image[height * row // 4, width * column // 4, 0]) for row, column in spots]


@pytest.mark.parametrize("degrees", [0, 10, -10, 40, -40])
def test_corners_in_any_order_come_clockwise_from_top_left(degrees: float) -> None:
    corners = turned(box(300, 400, 400, 40), degrees)
    for order in permutations(range(4)):
        np.testing.assert_array_equal(order_corners(corners[list(order)]), corners)


def test_ordered_corners_of_a_trapezium_go_round_it() -> None:
    corners = np.array([[10, 12], [90, 5], [95, 44], [4, 40]], np.float32)
    np.testing.assert_array_equal(order_corners(corners[[2, 0, 3, 1]]), corners)


def test_crop_of_a_level_box_is_the_part_of_the_picture() -> None:
    page = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    crop = crop_line(page, box(12, 20, 50, 15))
    assert crop.dtype == np.uint8
    np.testing.assert_array_equal(crop, page[20:35, 12:62])


@pytest.mark.parametrize("degrees", [8, -25])
def test_crop_of_a_slanted_line_is_straightened(degrees: float) -> None:
    corners = turned(box(100, 130, 200, 40), degrees, about=(200, 150))
    y, x = np.mgrid[:300, :400]
    level = turned(np.stack([x, y], axis=-1).reshape(-1, 2), -degrees, about=(200, 150))
    column = ((level[:, 0] - 100) // 100).astype(int).reshape(300, 400)
    row = ((level[:, 1] - 130) // 20).astype(int).reshape(300, 400)
    page = np.zeros((300, 400, 3), np.uint8)
    for (r, c), value in {(0, 0): 40, (0, 1): 90, (1, 1): 160, (1, 0): 220}.items():
        page[(row == r) & (column == c)] = value
    crop = crop_line(page, corners)
    assert abs(crop.shape[0] - 40) <= 1
    assert abs(crop.shape[1] - 200) <= 1
    assert quarter_levels(crop) == [40, 90, 160, 220]


def test_crop_takes_the_longer_of_opposite_sides() -> None:
    page = np.zeros((100, 100, 3), np.uint8)
    corners = np.array([[10, 10], [70, 10], [90, 50], [10, 40]], np.float32)
    height, width = crop_line(page, corners).shape[:2]
    assert width == 81  # from (10, 40) to (90, 50): 80.6
    assert height == 45  # from (70, 10) to (90, 50): 44.7


def test_tall_crop_is_turned_counter_clockwise() -> None:
    page = quarters(width=40, height=120)
    crop = crop_line(page, box(0, 0, 40, 120))
    assert crop.shape == (40, 120, 3)
    # The top of the column is now on the left, its right side on top.
    assert quarter_levels(crop) == [90, 160, 220, 40]


@pytest.mark.parametrize(("height", "shape"), [(59, (59, 40)), (60, (40, 60))])
def test_crop_is_turned_from_one_and_a_half_times_as_tall_as_wide(
    height: int, shape: tuple[int, int]
) -> None:
    page = np.zeros((100, 100, 3), np.uint8)
    assert crop_line(page, box(5, 5, 40, height)).shape[:2] == shape


def test_crop_of_a_point_has_one_pixel() -> None:
    page = np.full((10, 10, 3), 7, np.uint8)
    assert crop_line(page, box(3, 3, 0, 0)).shape == (1, 1, 3)


def test_parts_of_a_level_line_lie_side_by_side() -> None:
    parts = line_parts(box(100, 50, 200, 40), [(0, 0.25), (0.25, 1)])
    np.testing.assert_allclose(parts[0], box(100, 50, 50, 40), atol=1e-3)
    np.testing.assert_allclose(parts[1], box(150, 50, 150, 40), atol=1e-3)
    assert parts[0].dtype == np.float32


@pytest.mark.parametrize("degrees", [8, -25, 180])
def test_parts_of_a_slanted_line_are_slanted(degrees: float) -> None:
    line = turned(box(300, 400, 200, 40), degrees)
    [part] = line_parts(line, [(0.5, 0.75)])
    np.testing.assert_allclose(part, turned(box(400, 400, 50, 40), degrees), atol=1e-2)


def test_parts_of_a_tall_line_follow_from_top_to_bottom() -> None:
    first, last = line_parts(box(100, 50, 40, 200), [(0, 0.25), (0.75, 1)])
    np.testing.assert_allclose(first, box(100, 50, 40, 50), atol=1e-3)
    np.testing.assert_allclose(last, box(100, 200, 40, 50), atol=1e-3)


@pytest.mark.parametrize("size", [(200, 40), (40, 200)])
def test_crop_of_a_part_is_that_part_of_the_crop(size: tuple[int, int]) -> None:
    page = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    line = box(30, 30, *size)
    [part] = line_parts(line, [(0.2, 0.6)])
    np.testing.assert_array_equal(crop_line(page, part), crop_line(page, line)[:, 40:120])


def test_whole_line_is_a_part_of_itself_in_perspective_too() -> None:
    line = np.array([[10, 12], [290, 5], [295, 44], [4, 40]], np.float32)
    [part] = line_parts(line, [(0, 1)])
    np.testing.assert_allclose(part, line, atol=1e-3)
    assert line_parts(line, []) == []


def test_line_is_vertical_where_its_crop_is_turned() -> None:
    assert not is_vertical(box(5, 5, 40, 59))
    assert is_vertical(box(5, 5, 40, 60))


def test_no_boxes_have_no_rows() -> None:
    assert reading_order([]) == []


def test_lines_below_each_other_are_rows_from_the_top() -> None:
    assert reading_order([box(50, top, 300) for top in (200, 50, 150, 100)]) == [[1], [3], [2], [0]]


def test_boxes_side_by_side_are_one_row_from_the_left() -> None:
    boxes = [box(300, 52, 80), box(60, 100, 90), box(50, 50, 90), box(170, 47, 100)]
    assert reading_order(boxes) == [[2, 3, 0], [1]]


def test_high_and_low_box_share_a_row_when_their_middles_meet() -> None:
    boxes = [box(200, 50, 100, height=60), box(50, 68, 100, height=20)]
    assert reading_order(boxes) == [[1, 0]]


def test_boxes_that_overlap_less_than_half_are_two_rows() -> None:
    boxes = [box(50, 50, 100), box(200, 68, 100)]
    assert reading_order(boxes) == [[0], [1]]


@pytest.mark.parametrize("degrees", [-6, -3, 3, 6])
def test_slanted_page_has_the_rows_of_the_level_one(degrees: float) -> None:
    # Between the ends of a row lie 700 px: at 3 degrees 37 px, more than the pitch of the rows.
    level = [box(left, 300 + 35 * row, 150) for row in range(6) for left in (100, 800)]
    order = np.random.default_rng(0).permutation(len(level)).tolist()
    rows = reading_order([turned(level[index], degrees) for index in order])
    assert [[order[index] for index in row] for row in rows] == [
        [2 * row, 2 * row + 1] for row in range(6)
    ]


def test_every_box_is_in_the_order_once() -> None:
    random = np.random.default_rng(3)
    boxes = [
        box(float(left), float(top), float(width))
        for left, top, width in random.uniform([0, 0, 20], [900, 900, 300], (60, 3))
    ]
    rows = reading_order(boxes)
    assert sorted(index for row in rows for index in row) == list(range(60))
