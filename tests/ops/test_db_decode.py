from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.ops.db_decode import DetectedText, decode_polygons

SPEC = DBDecodeSpec()


@dataclass(frozen=True)
class Rectangle:
    """Centre, sides in px, and the slope of its long side in degrees, clockwise on the screen."""

    x: float
    y: float
    width: float
    height: float
    degrees: float = 0.0

    def corners(self, grow: float = 0.0) -> NDArray[np.float64]:
        """Clockwise from top-left, for slopes below 45 degrees."""
        half_x, half_y = self.width / 2 + grow, self.height / 2 + grow
        along = np.array([cos(radians(self.degrees)), sin(radians(self.degrees))])
        across = np.array([-along[1], along[0]])
        signs = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        middle = np.array([self.x, self.y])
        return np.array([middle + a * half_x * along + b * half_y * across for a, b in signs])

    def grown_corners(self, ratio: float) -> NDArray[np.float64]:
        area, perimeter = self.width * self.height, 2 * (self.width + self.height)
        return self.corners(grow=area * ratio / perimeter)

    def covers(self, height: int, width: int) -> NDArray[np.bool_]:
        y, x = np.mgrid[:height, :width]
        dx, dy = x - self.x, y - self.y
        along = dx * cos(radians(self.degrees)) + dy * sin(radians(self.degrees))
        across = dy * cos(radians(self.degrees)) - dx * sin(radians(self.degrees))
        return (np.abs(along) <= self.width / 2) & (np.abs(across) <= self.height / 2)


def drawn(*rectangles: tuple[Rectangle, float], size: tuple[int, int] = (320, 480)) -> NDArray:
    prob_map = np.zeros(size, dtype=np.float32)
    for rectangle, probability in rectangles:
        prob_map[rectangle.covers(*size)] = probability
    return prob_map


def decoded(prob_map: NDArray, spec: DBDecodeSpec = SPEC) -> DetectedText:
    return decode_polygons(prob_map, source_size=prob_map.shape, spec=spec)


@pytest.mark.parametrize(
    "rectangle",
    [
        Rectangle(200, 150, 120, 16),
        Rectangle(200, 150, 40, 40),
        Rectangle(200, 150, 14, 100),
        Rectangle(200, 150, 200, 20, degrees=5),
        Rectangle(200, 150, 150, 18, degrees=-12),
        Rectangle(240, 160, 180, 24, degrees=30),
        Rectangle(240, 160, 120, 24, degrees=-38),
    ],
)
@pytest.mark.parametrize("ratio", [1.5, 2.0])
def test_corners_are_those_of_the_grown_rectangle(rectangle: Rectangle, ratio: float) -> None:
    found = decoded(drawn((rectangle, 0.9)), DBDecodeSpec(unclip_ratio=ratio))
    (polygon,) = found.polygons
    assert polygon.points.shape == (4, 2)
    assert polygon.points.dtype == np.float32
    np.testing.assert_allclose(polygon.points, rectangle.grown_corners(ratio), atol=1.5)
    assert (found.too_small, found.low_score, found.over_limit) == (0, 0, 0)


def test_what_is_read_has_a_margin_about_the_outline() -> None:
    rectangle = Rectangle(240, 160, 180, 24, degrees=17)
    tiny = Rectangle(60, 60, 40, 3)  # grown without the margin it is too small
    prob_map = drawn((rectangle, 0.9), (tiny, 0.9))
    rule = DBDecodeSpec(unclip_ratio=0.5, reading_margin=1.5)
    found = decoded(prob_map, rule)
    (polygon,) = found.polygons
    np.testing.assert_allclose(polygon.points, rectangle.grown_corners(0.5), atol=1.5)
    np.testing.assert_allclose(polygon.to_read, rectangle.grown_corners(2.0), atol=1.5)
    assert found.too_small == 1
    (plain,) = decoded(prob_map, DBDecodeSpec(unclip_ratio=0.5)).polygons
    np.testing.assert_array_equal(plain.to_read, plain.points)


def test_growth_is_that_of_polygon_clipping() -> None:
    pyclipper = pytest.importorskip("pyclipper")
    rectangle = Rectangle(240, 160, 180, 24, degrees=17)
    prob_map = drawn((rectangle, 0.9))
    contours, _ = cv2.findContours(
        (prob_map > 0.3).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    box = cv2.boxPoints(cv2.minAreaRect(contours[0]))
    distance = cv2.contourArea(box) * SPEC.unclip_ratio / cv2.arcLength(box, closed=True)
    fine = 1000  # pyclipper counts in whole numbers
    offset = pyclipper.PyclipperOffset(arc_tolerance=1.0)
    outline = (box * fine).astype(int).tolist()
    offset.AddPath(outline, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    (grown,) = offset.Execute(distance * fine)
    expected = cv2.boxPoints(cv2.minAreaRect(np.array(grown, dtype=np.float32) / fine))
    (polygon,) = decoded(prob_map).polygons
    for corner in polygon.points:
        assert np.hypot(*(expected - corner).T).min() < 0.1


def test_score_is_the_mean_probability_of_the_region() -> None:
    level = decoded(drawn((Rectangle(200, 150, 120, 16), 0.75))).polygons[0]
    slanted = decoded(drawn((Rectangle(200, 150, 120, 30, degrees=20), 0.75))).polygons[0]
    assert level.score == pytest.approx(0.75, abs=0.001)
    assert slanted.score == pytest.approx(0.75, abs=0.03)


def test_score_counts_weak_parts_of_a_region() -> None:
    prob_map = drawn((Rectangle(200, 150, 120, 16), 0.9))
    prob_map[:, 200:] = np.where(prob_map[:, 200:] > 0, 0.5, 0)
    assert decoded(prob_map).polygons[0].score == pytest.approx(0.7, abs=0.01)


def test_map_without_text_gives_an_empty_list() -> None:
    assert decoded(np.zeros((64, 96), np.float32)) == DetectedText([])


def test_probability_at_the_threshold_is_no_text() -> None:
    spec = DBDecodeSpec(threshold=0.5, min_score=0)
    rectangle = Rectangle(200, 150, 120, 16)
    assert decoded(drawn((rectangle, 0.5)), spec).polygons == []
    assert len(decoded(drawn((rectangle, 0.51)), spec).polygons) == 1


def test_polygons_come_top_to_bottom_then_left_to_right() -> None:
    rectangles = [
        Rectangle(350, 60, 100, 16),
        Rectangle(100, 200, 100, 16),
        Rectangle(100, 60, 100, 16),
        Rectangle(350, 200, 100, 16),
    ]
    polygons = decoded(drawn(*((rectangle, 0.9) for rectangle in rectangles))).polygons
    middles = [polygon.points.mean(axis=0) for polygon in polygons]
    expected = [(100, 60), (350, 60), (100, 200), (350, 200)]
    np.testing.assert_allclose(middles, expected, atol=1.5)


def test_points_are_in_pixels_of_the_source_picture() -> None:
    rectangle = Rectangle(200, 150, 120, 16)
    found = decode_polygons(drawn((rectangle, 0.9)), source_size=(640, 1440), spec=SPEC)
    expected = rectangle.grown_corners(SPEC.unclip_ratio) * (3, 2)
    np.testing.assert_allclose(found.polygons[0].points, expected, atol=4.5)


def test_points_stay_inside_the_source_picture() -> None:
    edges = [Rectangle(30, 5, 80, 16), Rectangle(450, 315, 80, 16)]
    found = decode_polygons(
        drawn(*((edge, 0.9) for edge in edges)), source_size=(640, 960), spec=SPEC
    )
    points = np.concatenate([polygon.points for polygon in found.polygons])
    np.testing.assert_array_equal(points.min(axis=0), [0, 0])
    np.testing.assert_array_equal(points.max(axis=0), [960, 640])


def test_dropped_regions_are_counted_by_reason() -> None:
    found = decoded(
        drawn(
            (Rectangle(100, 50, 100, 16), 0.9),
            (Rectangle(300, 50, 100, 16), 0.5),
            (Rectangle(300, 120, 100, 16), 0.4),
            (Rectangle(100, 200, 80, 2), 0.9),
        )
    )
    assert len(found.polygons) == 1
    assert (found.too_small, found.low_score, found.over_limit) == (1, 2, 0)


def test_region_that_hardly_grew_is_too_small() -> None:
    prob_map = drawn((Rectangle(100, 50, 80, 4), 0.9))
    assert len(decoded(prob_map).polygons) == 1
    found = decoded(prob_map, DBDecodeSpec(unclip_ratio=0.1))
    assert (found.polygons, found.too_small) == ([], 1)


def test_candidates_above_the_limit_are_counted() -> None:
    rectangles = [Rectangle(100, 30 + 40 * row, 100, 16) for row in range(7)]
    prob_map = drawn(*((rectangle, 0.9) for rectangle in rectangles))
    found = decoded(prob_map, DBDecodeSpec(max_candidates=5))
    assert (len(found.polygons), found.over_limit) == (5, 2)
    assert decoded(prob_map, DBDecodeSpec(max_candidates=7)).over_limit == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, r"probability map from 0 to 1\.5; allowed: 0 to 1 \(apply the sigmoid first\)"),
        (-0.25, r"probability map from -0\.25 to 0; allowed: 0 to 1"),
        (float("nan"), r"probability map from nan to nan; allowed: 0 to 1"),
        (float("inf"), r"probability map from 0 to inf; allowed: 0 to 1"),
    ],
)
def test_values_that_are_no_probabilities_are_refused(value: float, message: str) -> None:
    prob_map = np.zeros((32, 32), np.float32)
    prob_map[4, 5] = value
    with pytest.raises(ValueError, match=message):
        decoded(prob_map)


@pytest.mark.parametrize("shape", [(1, 32, 32), (32,), (0, 32)])
def test_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"probability map of shape \(.*\); expected \[H, W\]"):
        decode_polygons(np.zeros(shape, np.float32), source_size=(32, 32), spec=SPEC)
