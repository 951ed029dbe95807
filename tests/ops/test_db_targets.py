from collections.abc import Callable

import cv2
import numpy as np
import pyclipper
import pytest
from numpy.typing import NDArray

from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.ops.db_decode import decode_polygons
from ocr_pipeline.ops.db_targets import DBTargets, db_targets, shrink_ratio_at, shrinks_away
from ocr_pipeline.ops.polygons import clockwise, perimeter, signed_area

CONFIG = DBTargetConfig()
SIDE = 400
SEEDS = range(25)
Points = NDArray[np.float32]
Shape = Callable[[int], Points]


def rectangle(seed: int, *, low: float = 20, high: float = 120) -> Points:
    """A turned rectangle near the middle."""
    random = np.random.default_rng(seed)
    w, h, angle = random.uniform(60, 200), random.uniform(low, high), random.uniform(0, np.pi)
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
    c, s = np.cos(angle), np.sin(angle)
    middle = SIDE / 2 + random.uniform(-20, 20, 2)
    return (corners @ np.array([[c, s], [-s, c]]) + middle).astype(np.float32)


def slanted(seed: int) -> Points:
    """A quadrilateral without parallel edges, some with sharp corners."""
    random = np.random.default_rng(seed)
    corners = np.array([[100, 150], [300, 150], [300, 250], [100, 250]])
    return (corners + random.uniform(-48, 48, (4, 2))).astype(np.float32)


def star(seed: int) -> Points:
    """A concave outline of 12 points."""
    random = np.random.default_rng(seed)
    angles = (np.arange(12) + random.uniform(0, 0.8, 12)) * np.pi / 6
    radii = random.uniform(60, 150, 12)
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1).astype(np.float32) + 200


def arc(seed: int) -> Points:
    """A bent line of text."""
    random = np.random.default_rng(seed)
    x = np.linspace(-150, 150, 7)
    y = random.uniform(20, 60) * np.cos(x / 115) * 2
    top = np.stack([x, y], axis=1)
    bottom = top[::-1] + np.array([0, random.uniform(15, 40)])
    return (np.concatenate([top, bottom]) + np.array([200, 120])).astype(np.float32)


SHAPES = [rectangle, slanted, star, arc]


def targets(*regions: Points, ratio: float = 0.4, ignore: bool = False) -> DBTargets:
    flags = [ignore] * len(regions)
    return db_targets(regions, flags, (SIDE, SIDE), CONFIG, ratio)


def inset_of(points: Points, ratio: float) -> float:
    return abs(signed_area(points)) * (1 - ratio * ratio) / perimeter(points)


def offset(points: Points, distance: float) -> list[NDArray[np.float64]]:
    """The reference: the outline grown by ``distance`` with round joins."""
    clipper = pyclipper.PyclipperOffset(arc_tolerance=2)
    path = [tuple(point) for point in np.rint(clockwise(points) * 64).astype(int).tolist()]
    clipper.AddPath(path, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return [np.array(piece) / 64 for piece in clipper.Execute(distance * 64)]


def drawn(*pieces: NDArray[np.floating]) -> NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for piece in pieces:
        cv2.fillPoly(mask, [np.rint(piece).astype(np.int32)], (1,))
    return mask > 0


def overlap(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    a, b = a > 0, b > 0
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ratio", [0.4, 0.6])
def test_shrink_map_is_the_offset_polygon(shape: Shape, ratio: float) -> None:
    compared = 0
    sums = []
    for seed in SEEDS:
        points = shape(seed)
        pieces = offset(points, -inset_of(points, ratio))
        if len(pieces) != 1:
            continue
        compared += 1
        reference = drawn(*pieces)
        shrink_map = targets(points, ratio=ratio).shrink_map
        assert overlap(shrink_map, reference) > 0.85
        assert not (shrink_map > 0)[
            cv2.dilate(reference.astype(np.uint8), np.ones((3, 3))) == 0
        ].any()
        sums.append(shrink_map.sum() / reference.sum())
    assert compared > 15
    assert np.mean(sums) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_threshold_mask_is_the_grown_polygon(shape: Shape) -> None:
    for seed in SEEDS:
        points = shape(seed)
        reference = drawn(*offset(points, inset_of(points, 0.4)))
        found = targets(points).threshold_mask
        assert overlap(found, reference) > 0.93
        extra = (found > 0)[cv2.dilate(reference.astype(np.uint8), np.ones((3, 3))) == 0]
        assert not extra.any()


@pytest.mark.parametrize("shape", SHAPES)
def test_threshold_map_falls_with_the_distance_to_the_outline(shape: Shape) -> None:
    for seed in range(4):
        points = shape(seed)
        reach = inset_of(points, 0.4)
        found = targets(points).threshold_map
        contour = points.reshape(-1, 1, 2)
        for y, x in np.random.default_rng(seed).integers(0, SIDE, (500, 2)).tolist():
            distance = abs(cv2.pointPolygonTest(contour, (x, y), True))
            expected = 0.3 + 0.4 * max(0.0, 1 - distance / reach)
            assert found[y, x] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("low", [8, 20, 60])
def test_decoding_finds_the_box_again(low: float) -> None:
    config = DBTargetConfig(min_side=4)
    for seed in SEEDS:
        points = rectangle(seed, low=low, high=low * 2)
        reach = inset_of(points, 0.6)
        w, h = np.hypot(*(points[1] - points[0])), np.hypot(*(points[3] - points[0]))
        w, h = w - 2 * reach, h - 2 * reach
        spec = DBDecodeSpec(unclip_ratio=float(reach * 2 * (w + h) / (w * h)), min_side=1)
        maps = db_targets([points], [False], (SIDE, SIDE), config, 0.6)
        found = decode_polygons(maps.shrink_map, source_size=(SIDE, SIDE), spec=spec).polygons
        assert len(found) == 1
        area, _ = cv2.intersectConvexConvex(points, found[0].points)
        union = abs(signed_area(points)) + abs(signed_area(found[0].points)) - area
        assert area / union > (0.75 if low < 20 else 0.9)


def test_several_regions_are_all_drawn_and_the_outlines_of_neighbours_stay() -> None:
    first = np.array([[20, 20], [200, 20], [200, 50], [20, 50]], dtype=np.float32)
    second = first + np.float32([0, 34])
    both, alone = targets(first, second), targets(first)
    assert both.shrink_map.sum() == 2 * alone.shrink_map.sum()
    assert both.threshold_map[50, 100] == pytest.approx(0.7)
    assert both.threshold_map[54, 100] == pytest.approx(0.7)
    assert (both.threshold_map >= alone.threshold_map).all()


def test_background_levels() -> None:
    empty = targets()
    for plane, level in zip(empty.maps, (0, 1, 0.3, 0), strict=True):
        np.testing.assert_array_equal(plane, np.float32(level))


def test_ignored_region_is_masked_out_and_nothing_else() -> None:
    points = rectangle(3)
    found = targets(points, ignore=True)
    assert overlap(found.shrink_mask == 0, drawn(points)) == 1
    assert not found.shrink_map.any()
    assert not found.threshold_mask.any()
    assert found.too_small == found.shrunk_away == ()


def test_small_region_is_masked_out_and_named() -> None:
    small = np.array([[20, 20], [90, 20], [90, 27.5], [20, 27.5]], dtype=np.float32)
    large = small * np.float32([1, 2])
    found = targets(large, small)
    assert found.too_small == (1,)
    assert found.shrink_mask[24, 50] == 0
    assert found.shrink_mask[48, 50] == 1
    assert found.shrink_map[48, 50] == 1


@pytest.mark.parametrize(
    "points", [[[5, 5], [5, 5], [5, 5], [5, 5]], [[0, 0], [60, 60], [60, 0], [0, 60]]]
)
def test_region_without_area_is_masked_out_and_named(points: list[list[float]]) -> None:
    region = np.array(points, dtype=np.float32)
    found = targets(region)
    assert found.too_small + found.shrunk_away == (0,)
    assert not found.shrink_map.any()
    assert (found.shrink_mask == 0).any()
    assert shrinks_away(region, CONFIG, 0.4)


@pytest.mark.parametrize("shape", SHAPES)
def test_shrinks_away_agrees_with_the_targets(shape: Shape) -> None:
    for seed in SEEDS:
        for scale in (0.05, 0.1, 1):
            points = (shape(seed) * scale).astype(np.float32)
            gone = shrinks_away(points, CONFIG, 0.4)
            assert gone == (not targets(points).shrink_map.any())
            assert shrinks_away(points + 5000, CONFIG, 0.4) == gone


def test_region_that_falls_apart_gets_a_thinner_inset() -> None:
    left = [[150, 150], [50, 150], [50, 50], [150, 50], [150, 95]]
    right = [[250, 95], [250, 50], [350, 50], [350, 150], [250, 150], [250, 105]]
    dumb_bell = np.array([*left, *right, [150, 105]], dtype=np.float32)
    assert len(offset(dumb_bell, -inset_of(dumb_bell, 0.4))) == 2
    shrink_map = targets(dumb_bell).shrink_map.astype(np.uint8)
    assert cv2.connectedComponents(shrink_map)[0] == 2  # the background and one piece
    thinner = [r for r in (0.8, 1.0) if len(offset(dumb_bell, -inset_of(dumb_bell, r))) == 1]
    expected = offset(dumb_bell, -inset_of(dumb_bell, thinner[0]))
    assert overlap(shrink_map, drawn(*expected)) > 0.95


def test_order_and_start_of_the_points_do_not_matter() -> None:
    for shape in (rectangle, arc):
        points = shape(5)
        first = targets(points).maps
        for other in (points[::-1], np.roll(points, 1, axis=0), np.repeat(points, 2, axis=0)):
            np.testing.assert_allclose(targets(other).maps, first, atol=1e-4)


@pytest.mark.parametrize("shape", [rectangle, slanted, arc])
@pytest.mark.parametrize("shift", [(-180, 0), (150, 160), (0, -170), (900, 0)])
def test_region_partly_outside_is_what_a_larger_picture_shows(
    shape: Shape, shift: tuple[int, int]
) -> None:
    points = (shape(2) + np.float32(shift)).astype(np.float32)
    large = db_targets([points + 1000], [False], (2400, 2400), CONFIG, 0.4).maps
    cut = large[:, 1000 : 1000 + SIDE, 1000 : 1000 + SIDE]
    np.testing.assert_allclose(targets(points).maps, cut, atol=1e-4)


def test_out_is_drawn_into_and_cleared() -> None:
    out = np.full((4, SIDE, SIDE), 9, dtype=np.float32)
    points = rectangle(1)
    found = db_targets([points], [False], (SIDE, SIDE), CONFIG, 0.4, out=out)
    assert found.maps is out
    np.testing.assert_array_equal(out, targets(points).maps)


def test_wrong_input_is_named() -> None:
    points = rectangle(0)
    with pytest.raises(ValueError, match="2 regions, 1 flags"):
        db_targets([points, points], [False], (SIDE, SIDE), CONFIG, 0.4)
    with pytest.raises(ValueError, match=r"shrink ratio 1\.0; allowed"):
        targets(points, ratio=1.0)
    with pytest.raises(ValueError, match="shrink ratio 0; allowed"):
        shrinks_away(points, CONFIG, 0)
    with pytest.raises(ValueError, match="expected float32"):
        db_targets(
            [points], [False], (SIDE, SIDE), CONFIG, 0.4, out=np.zeros((4, 9, 9), np.float32)
        )


def test_shrink_ratio_grows_evenly() -> None:
    assert [shrink_ratio_at(p, CONFIG) for p in (0, 0.5, 1)] == pytest.approx([0.4, 0.5, 0.6])
    with pytest.raises(ValueError, match=r"progress 1\.5; allowed"):
        shrink_ratio_at(1.5, CONFIG)


def test_threshold_levels_must_be_in_order() -> None:
    with pytest.raises(ValueError, match=r"threshold_high 0\.2 is not above threshold_low 0\.3"):
        DBTargetConfig(threshold_high=0.2)


def test_crumb_that_rounding_makes_is_no_second_piece() -> None:
    points = star(238)
    expected = offset(points, -inset_of(points, 0.4))
    assert len(expected) == 1
    assert overlap(targets(points).shrink_map, drawn(*expected)) > 0.95


def test_region_whose_band_alone_is_in_the_picture_is_not_masked_out() -> None:
    points = np.array([[-100, 50], [10, 50], [10, 100], [-100, 100]], dtype=np.float32)
    found = targets(points)
    assert not found.shrink_map.any()
    assert found.threshold_mask[75, 5] == 1
    assert found.shrink_mask.all()
    assert found.shrunk_away == ()
