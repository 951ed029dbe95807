import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from ocr_pipeline.config.base import dump_config, load_config
from ocr_pipeline.config.det_augment import (
    ColourConfig,
    CopyPasteConfig,
    CropConfig,
    DetAugmentConfig,
)
from ocr_pipeline.ops.det_augment import AugmentedPage, augment_page, change_colours, fit_page
from ocr_pipeline.ops.det_copy_paste import cut_donors, place_donors
from ocr_pipeline.ops.det_geometry import choose_crop
from ocr_pipeline.ops.polygons import signed_area
from tests.conftest import SHARED

SEEDS = range(60)
OFF = {
    "copy_paste": {"probability": 0},
    "colour": {"probability": 0},
    "flip": 0,
    "rotation": {"probability": 0},
    "resize": {"probability": 0},
    "perspective": {"probability": 0},
    "crop": {"probability": 0},
}
PRESETS = ("fine_tune", "v6", "v4")


@dataclass(frozen=True)
class Box:
    points: Sequence[Sequence[float]]
    ignore: bool = False


def config(**changes: object) -> DetAugmentConfig:
    """Only what is named; 320 px."""
    return DetAugmentConfig.model_validate({**OFF, "size": 320, **changes})


def page(height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    """White text boxes with a red left end on blue paper."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (200, 60, 20)
    for box in BOXES:
        (left, top), _, (right, bottom), _ = box.points
        image[int(top) : int(bottom), int(left) : int(right)] = 255
        image[int(top) : int(bottom), int(left) : int(left) + 10] = (0, 0, 255)
    return image


BOXES = [
    Box([(30, 20), (150, 20), (150, 50), (30, 50)]),
    Box([(30, 80), (200, 80), (200, 110), (30, 110)]),
    Box([(180, 140), (280, 140), (280, 170), (180, 170)]),
]


def augmented(
    seed: int, settings: DetAugmentConfig, **donors: list[NDArray[np.uint8]]
) -> AugmentedPage:
    return augment_page(page(), BOXES, settings, np.random.default_rng(seed), **donors)


def colour_inside(found: AugmentedPage, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean colour of the middle of a region."""
    middle = points.mean(axis=0)
    mask = np.zeros(found.image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint((points - middle) * 0.6 + middle).astype(np.int32)], (1,))
    return np.array(cv2.mean(found.image, mask)[:3])


def whiteness(found: AugmentedPage) -> float:
    """Share of the regions' pixels that is text, and of the text's pixels that is in a region."""
    labelled = np.zeros(found.image.shape[:2], np.uint8)
    for points in found.points:
        cv2.fillPoly(labelled, [np.rint(points).astype(np.int32)], (1,))
    blue = (found.image[:, :, 2] < 140).astype(np.uint8)  # paper and padding have little red
    text = blue == 0
    return float((text & (labelled > 0)).sum() / max(1, (text | (labelled > 0)).sum()))


def test_nothing_on_is_the_page_fit_into_the_corner() -> None:
    image = page(200, 400)
    found = augment_page(image, BOXES, config(), np.random.default_rng(0))
    assert found.image.shape == (320, 320, 3)
    assert found.image.dtype == np.uint8
    difference = found.image[:160].astype(int) - cv2.resize(image, (320, 160))
    assert np.abs(difference).max() <= 8  # OpenCV's steps of 1/32 px
    assert not found.image[160:].any()
    for points, box in zip(found.points, BOXES, strict=True):
        np.testing.assert_allclose(points, np.array(box.points) * 0.8, rtol=1e-5)
    fit = fit_page(image, BOXES, 320)
    np.testing.assert_array_equal(fit.image, found.image)
    assert fit.ignore == found.ignore == [False] * 3


def test_small_page_is_enlarged_as_resize_does_it() -> None:
    image = page(40, 80)
    image[10:30, 20:60] = 255
    found = fit_page(image, [], 640)
    difference = found.image[:320].astype(int) - cv2.resize(image, (640, 320))
    assert np.abs(difference).max() <= 8


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_gives_the_same_page_and_the_source_is_left_alone(preset: str) -> None:
    settings = DetAugmentConfig.model_validate(preset)
    image, donors = page(), [page()[20:50, 30:150]]
    different = 0
    for seed in range(5):
        first, again, other = (
            augment_page(image, BOXES, settings, np.random.default_rng(s), donors)
            for s in (seed, seed, seed + 100)
        )
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_equal(first.points, again.points)
        different += not np.array_equal(first.image, other.image)
    assert different >= 4
    np.testing.assert_array_equal(image, page())


@pytest.mark.parametrize(
    "change",
    [
        {"flip": 1},
        {"rotation": {"probability": 1, "max_angle": 45}},
        {"rotation": {"probability": 1, "max_angle": 45}, "grow_canvas": False},
        {"perspective": {"probability": 1, "max_shear": 20, "strength": 0.32}},
        {"crop": {"probability": 1}},
        {"resize": {"probability": 1, "smallest": 0.5}},
        {
            "flip": 0.5,
            "rotation": {"probability": 1, "max_angle": 180},
            "perspective": {"probability": 1},
            "crop": {"probability": 1},
        },
    ],
    ids=lambda change: "+".join(change),
)
def test_regions_stay_on_their_text(change: dict[str, object]) -> None:
    for seed in SEEDS:
        found = augmented(seed, config(**change))
        assert len(found.points) > 0
        assert whiteness(found) > 0.85
        for points in found.points:
            assert signed_area(points) > 0
            assert points.min() >= 0
            assert points.max() <= 320


def test_flip_mirrors_the_text_and_its_corners_start_top_left() -> None:
    found = augmented(0, config(flip=1))
    for points, box in zip(found.points, BOXES, strict=True):
        assert len(points) == 4
        given = np.array(box.points, dtype=np.float32)
        expected = given * np.float32([-1, 1]) + np.float32([300, 0])
        np.testing.assert_allclose(points, expected[[1, 0, 3, 2]] * 320 / 300, rtol=1e-4)
        (left, top), (right, bottom) = points[0], points[2]
        row = found.image[int((top + bottom) / 2)]
        assert row[int(right) - 4, 0] < 60 < 200 < row[int(left) + 4, 0]  # the red end is right


def test_unmirrored_text_begins_at_the_first_corner() -> None:
    settings = config(rotation={"probability": 1, "max_angle": 180})
    for seed in SEEDS:
        found = augmented(seed, settings)
        for points in found.points:
            start = points[[0, 3]].mean(axis=0) * 0.97 + points[[1, 2]].mean(axis=0) * 0.03
            blue, _, red = found.image[int(start[1]), int(start[0])].tolist()
            assert red > 150
            assert blue < 100


def test_grown_canvas_keeps_every_region_whole() -> None:
    for seed in SEEDS:
        found = augmented(seed, config(rotation={"probability": 1, "max_angle": 180}))
        assert [len(points) for points in found.points] == [4, 4, 4]
        assert found.ignore == [False] * 3


def test_region_of_which_little_is_left_is_ignored_and_one_that_is_gone_is_dropped() -> None:
    settings = {"rotation": {"probability": 1, "max_angle": 45}, "grow_canvas": False}
    wide = page(60, 600)
    text = [Box([(0, 10), (600, 10), (600, 50), (0, 50)]), Box([(0, 0), (9, 0), (9, 9), (0, 9)])]
    lenient, strict, kept = 0, 0, 0
    for seed in SEEDS:
        for share in (0.05, 0.9):
            changed = config(min_visible=share, **settings)
            found = augment_page(wide, text, changed, np.random.default_rng(seed))
            kept += len(found.points)
            lenient += share < 0.5 and found.ignore[0]
            strict += share > 0.5 and found.ignore[0]
    assert lenient == 0
    assert strict > 0.7 * len(SEEDS)
    assert kept < 3 * len(SEEDS)  # of 4


def test_ignored_regions_stay_ignored() -> None:
    boxes = [Box(box.points, ignore=True) for box in BOXES]
    found = augment_page(page(), boxes, config(flip=1), np.random.default_rng(0))
    assert found.ignore == [True] * 3


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (4000, 37)])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_size_of_page_and_no_regions(preset: str, size: tuple[int, int]) -> None:
    settings = DetAugmentConfig.model_validate({"preset": preset, "size": 64})
    image = np.full((*size, 3), 77, np.uint8)
    for seed in range(20):
        found = augment_page(image, [], settings, np.random.default_rng(seed))
        assert found.image.shape == (64, 64, 3)
        assert found.points == found.ignore == []


def test_large_page_is_shrunk_without_aliasing() -> None:
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    found = augment_page(stripes, [], config(rotation={"probability": 1}), np.random.default_rng(1))
    inner = found.image[120:200, 120:200]
    assert np.abs(inner.astype(int) - 128).max() <= 2


def test_resize_loses_detail_and_keeps_places() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), dtype=np.uint8)
    sharp = augment_page(noise, BOXES, config(), np.random.default_rng(0))
    settings = config(resize={"probability": 1, "smallest": 0.1, "largest": 1})
    deviations = set()
    for seed in SEEDS:
        found = augment_page(noise, BOXES, settings, np.random.default_rng(seed))
        np.testing.assert_equal(found.points, sharp.points)
        deviations.add(round(float(found.image.std() / sharp.image.std()), 2))
    assert min(deviations) < 0.5 < 0.9 < max(deviations) <= 1


def test_crop_cuts_no_text_and_holds_one() -> None:
    boxes = np.array([[*box.points[0], *box.points[2]] for box in BOXES], dtype=np.float64)
    crops = set()
    for seed in range(200):
        random = np.random.default_rng(seed)
        crop = choose_crop(boxes, (300.0, 200.0), CropConfig(min_side=0.1), random)
        left, top, right, bottom = crop
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 200
        assert right - left >= 30
        assert bottom - top >= 20
        inside = 0
        for x0, y0, x1, y1 in boxes:
            apart = x1 <= left or x0 >= right or y1 <= top or y0 >= bottom
            whole = left <= x0 and x1 <= right and top <= y0 and y1 <= bottom
            assert apart or whole
            inside += whole
        assert inside >= 1
        crops.add(crop)
    assert len(crops) > 150


def test_crop_of_a_page_covered_by_text_is_the_page() -> None:
    boxes = np.array([[-5.0, -5, 200, 150], [100, 50, 305, 210]])
    for seed in SEEDS:
        crop = choose_crop(boxes, (300.0, 200.0), CropConfig(), np.random.default_rng(seed))
        assert crop == (0, 0, 300, 200)


def test_crop_of_a_page_without_text_is_any_part_of_it() -> None:
    crops = [
        choose_crop(np.empty((0, 4)), (300.0, 200.0), CropConfig(), np.random.default_rng(seed))
        for seed in SEEDS
    ]
    assert len(set(crops)) == len(SEEDS)


@pytest.mark.parametrize(
    ("strengths", "limits"),
    [
        ({"brightness": 0.4}, (0.6, 1.4)),
        ({"contrast": 0.4}, (0.6, 1.4)),
        ({"saturation": 0.7}, (0.3, 1.7)),
    ],
)
def test_colour_strengths(strengths: dict[str, float], limits: tuple[float, float]) -> None:
    off = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    settings = ColourConfig.model_validate({**off, **strengths})
    image = np.random.default_rng(0).integers(90, 150, (40, 40, 3), dtype=np.uint8)
    weights = np.array([0.114, 0.587, 0.299])
    before = image.astype(float)
    factors = []
    for seed in SEEDS:
        after = change_colours(image, settings, np.random.default_rng(seed)).astype(float)
        if "brightness" in strengths:
            factor = after.mean() / before.mean()
            expected = before * factor
        elif "contrast" in strengths:
            mean = (before @ weights).mean()
            factor = after.std() / before.std()
            expected = (before - mean) * factor + mean
        else:
            grey = (before @ weights)[:, :, None]
            factor = (after - grey).std() / (before - grey).std()
            expected = (before - grey) * factor + grey
        np.testing.assert_allclose(after, expected, atol=2)
        factors.append(factor)
    assert limits[0] - 0.02 <= min(factors) < limits[0] + 0.1
    assert limits[1] - 0.1 < max(factors) <= limits[1] + 0.02


def test_hue_turns_colours_and_keeps_grey() -> None:
    settings = ColourConfig(brightness=0, contrast=0, saturation=0, hue=0.1)
    image = np.empty((4, 4, 3), np.uint8)
    image[:2], image[2:] = 128, (100, 120, 160)
    turns = []
    for seed in SEEDS:
        after = change_colours(image, settings, np.random.default_rng(seed))
        assert np.abs(after[:2].astype(int) - 128).max() <= 1
        grey = after[3, 3] @ np.array([0.114, 0.587, 0.299])
        assert grey == pytest.approx(image[3, 3] @ np.array([0.114, 0.587, 0.299]), abs=1.5)
        hue = cv2.cvtColor(after, cv2.COLOR_BGR2HSV)[3, 3, 0]
        turns.append((int(hue) - 10 + 90) % 180 - 90)  # of 180
    assert -30 <= min(turns) < -10
    assert 10 < max(turns) <= 30


def test_white_stays_below_256() -> None:
    image = np.full((4, 4, 3), 250, np.uint8)
    for seed in SEEDS:
        after = change_colours(image, ColourConfig(brightness=0.4), np.random.default_rng(seed))
        assert after.min() > 100  # no wrap-around


def test_pasted_text_is_where_its_region_says_and_overlaps_nothing() -> None:
    green = np.zeros((16, 40, 3), np.uint8)
    green[:] = (0, 255, 0)
    settings = config(copy_paste={"probability": 1, "max_angle": 180})
    counts = set()
    for seed in SEEDS:
        found = augmented(seed, settings, donors=[green] * 4)
        counts.add(len(found.points) - len(BOXES))
        taken = np.zeros((320, 320), np.uint8)
        for points in found.points:
            mine = np.zeros_like(taken)
            cv2.fillPoly(
                mine, [np.rint((points - points.mean(0)) * 0.9 + points.mean(0)).astype(int)], (1,)
            )
            taken += mine
        assert taken.max() == 1
        for points in found.points[len(BOXES) :]:
            sides = np.hypot(*(points - np.roll(points, -1, axis=0)).T) * 300 / 320
            np.testing.assert_allclose(sides, (40, 16, 40, 16), atol=0.5)
            assert signed_area(points) > 0
            assert np.abs(colour_inside(found, points) - (0, 255, 0)).max() < 8
        for points in found.points[: len(BOXES)]:
            assert colour_inside(found, points).min() > 200
    assert max(counts) >= 3


def test_paste_touches_nothing_outside_its_region() -> None:
    settings = config(copy_paste={"probability": 1, "max_angle": 90})
    plain = augmented(0, config()).image
    for seed in range(20):
        found = augmented(seed, settings, donors=[np.full((20, 50, 3), 255, np.uint8)])
        inside = np.zeros((320, 320), np.uint8)
        for points in found.points[len(BOXES) :]:
            cv2.fillPoly(inside, [np.rint(points).astype(np.int32)], (1,))
        inside = cv2.dilate(inside, np.ones((5, 5), np.uint8))
        np.testing.assert_array_equal(found.image[inside == 0], plain[inside == 0])


def test_pasted_text_goes_through_the_geometry_with_its_page() -> None:
    settings = config(
        copy_paste={"probability": 1, "max_angle": 180},
        rotation={"probability": 1, "max_angle": 180},
        flip=0.5,
        crop={"probability": 1},
    )
    for seed in SEEDS:
        found = augmented(seed, settings, donors=[np.full((16, 40, 3), 255, np.uint8)] * 3)
        assert whiteness(found) > 0.75  # its edges are thin


def test_pasted_text_is_shrunk_with_its_page_without_aliasing() -> None:
    stripes = np.zeros((400, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    settings = config(copy_paste={"probability": 1, "max_angle": 20})
    blank = np.zeros((2560, 2560, 3), np.uint8)
    found = augment_page(blank, [], settings, np.random.default_rng(3), [stripes])
    (points,) = found.points
    assert np.abs(colour_inside(found, points) - 127.5).max() < 3
    middle_x, middle_y = points.mean(axis=0).astype(int).tolist()
    inner = found.image[middle_y - 10 : middle_y + 10, middle_x - 20 : middle_x + 20]
    assert np.abs(inner.astype(int) - 128).max() <= 3


def test_donor_larger_than_the_page_is_left_out() -> None:
    rule = CopyPasteConfig(probability=1, max_angle=0)
    donors = [np.zeros((20, 400, 3), np.uint8), np.zeros((20, 40, 3), np.uint8)]
    pastes = place_donors((200, 300), [], donors, rule, np.random.default_rng(0))
    assert [one.image.shape for one in pastes] == [(20, 40, 3)]


def test_at_most_max_count_donors_are_pasted() -> None:
    rule = CopyPasteConfig(probability=1, max_count=2)
    donors = [np.zeros((5, 5, 3), np.uint8)] * 9
    assert len(place_donors((200, 300), [], donors, rule, np.random.default_rng(0))) == 2


def test_cut_donors_takes_a_share_of_the_usable_texts() -> None:
    points = [np.array(box.points, dtype=np.float32) for box in BOXES] * 4
    ignore = [False, True, False] * 4
    random = np.random.default_rng(0)
    rule = CopyPasteConfig(ratio=0.5)
    crops = cut_donors(page(), points, ignore, rule, random)
    assert len(crops) == 4
    assert {crop.shape for crop in crops} <= {(30, 120, 3), (30, 100, 3)}
    assert min(crop[:, 15:].mean() for crop in crops) > 250
    one = cut_donors(page(), points, ignore, CopyPasteConfig(ratio=0), random)
    assert len(one) == 1
    none = cut_donors(page(), points, [True] * 12, rule, random)
    assert none == []
    assert (
        len(cut_donors(page(), points, ignore, CopyPasteConfig(ratio=1, max_count=3), random)) == 3
    )


def test_presets() -> None:
    v6, v4 = (DetAugmentConfig.model_validate(name) for name in ("v6", "v4"))
    assert DetAugmentConfig() == DetAugmentConfig.model_validate("fine_tune")
    assert DetAugmentConfig().flip == 0
    assert (v6.flip, v6.rotation.max_angle, v6.colour.saturation) == (0.5, 45, 0.7)
    assert (v4.colour.probability, v4.rotation.max_angle, v4.resize.largest) == (0, 10, 3)


def test_preset_fills_what_is_not_given() -> None:
    given = {"preset": "v6", "flip": 0, "crop": {"min_side": 0.2}}
    found = DetAugmentConfig.model_validate(given)
    assert (found.flip, found.crop.min_side, found.crop.probability) == (0, 0.2, 1)
    assert found.colour == DetAugmentConfig(preset="v6").colour


def test_config_read_back_from_its_own_file_is_equal(tmp_path: Path) -> None:
    found = DetAugmentConfig.model_validate({"preset": "v6", "flip": 0, "crop": {"min_side": 0.3}})
    dump_config(found, tmp_path / "augment.yaml")
    assert load_config(TypeAdapter(DetAugmentConfig), tmp_path / "augment.yaml") == found


@pytest.mark.parametrize("value", ["v9", {"preset": ["v6"]}, {"preset": "v6", "flipp": 1}, 3])
def test_wrong_preset_or_key_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        DetAugmentConfig.model_validate(value)


@pytest.mark.parametrize("name", ["wire_tags", "game_quest_ui"])
def test_real_pages_keep_text_in_their_regions(name: str) -> None:
    labels = SHARED / "data" / name / "det_train.txt"
    if not labels.is_file():
        pytest.skip(f"{labels} is absent")
    lines = labels.read_text(encoding="utf-8").splitlines()[:24]
    contrasts = []
    for seed, line in enumerate(lines):
        path, regions = line.split("\t")
        image = cv2.imdecode(np.fromfile(labels.parent / path, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        boxes = [Box(region["points"]) for region in json.loads(regions)]
        settings = DetAugmentConfig.model_validate({"preset": "v4", "grow_canvas": True})
        found = augment_page(
            np.asarray(image, np.uint8), boxes, settings, np.random.default_rng(seed)
        )
        assert found.points
        grey = cv2.cvtColor(found.image, cv2.COLOR_BGR2GRAY)
        for points in found.points:
            before = fit_page(np.asarray(image, np.uint8), boxes, 640)
            mask = np.zeros_like(grey)
            cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], (1,))
            contrasts.append(float(grey[mask > 0].std()))
            assert before.image.any()
    assert np.median(contrasts) > 10  # strokes and paper
