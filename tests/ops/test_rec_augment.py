import subprocess
import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from ocr_pipeline.config.rec_augment import RecAugmentConfig, RecChances
from ocr_pipeline.ops.rec_augment import (
    KINDS,
    augment_line,
    concat_count,
    concat_lines,
    line_width,
    plan_concat,
)

NOTHING = {
    "distort": 0.0,
    "stretch": 0.0,
    "perspective": 0.0,
    "crop": 0.0,
    "blur": 0.0,
    "light": 0.0,
    "shift": 0.0,
    "noise": 0.0,
}
SEEDS = range(40)
Value = float | bool | str


def line(height: int = 48, width: int = 160) -> NDArray[np.uint8]:
    return np.random.default_rng(9).integers(0, 256, (height, width, 3), dtype=np.uint8)


def augmented(
    image: NDArray[np.uint8],
    seed: int,
    *,
    height: int | None = None,
    max_width: int | None = None,
    **values: Value,
) -> NDArray[np.uint8]:
    config = RecAugmentConfig.model_validate({"probability": 1.0, **values})
    random = np.random.default_rng(seed)
    return augment_line(image, config, random, height=height, max_width=max_width)


def alone(**values: Value) -> dict[str, Value]:
    return {**NOTHING, **values}


def test_same_seed_gives_the_same_line_and_another_seed_another() -> None:
    first, again, other = (augmented(line(), seed, preset="released") for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_result_does_not_depend_on_the_process_or_on_what_came_before() -> None:
    program = (
        "import sys, numpy as np\n"
        "from ocr_pipeline.config.rec_augment import RecAugmentConfig\n"
        "from ocr_pipeline.ops.rec_augment import augment_line\n"
        "image = np.random.default_rng(9).integers(0, 256, (48, 160, 3), dtype=np.uint8)\n"
        "config = RecAugmentConfig(probability=1.0)\n"
        "out = augment_line(image, config, np.random.default_rng(5), height=32)\n"
        "sys.stdout.write(str(out.astype(int).sum()))\n"
    )
    for seed in SEEDS:
        augmented(line(), seed)
    here = augmented(line(), 5, height=32).astype(int).sum()
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(there.stdout) == here


@pytest.mark.parametrize("height", [None, 48])
def test_probability_0_changes_nothing(height: int | None) -> None:
    for seed in SEEDS:
        out = augmented(line(), seed, height=height, probability=0.0, invert=True)
        np.testing.assert_array_equal(out, line())


def test_probability_0_with_a_height_only_scales() -> None:
    out = augmented(line(60, 200), 0, height=48, probability=0.0)
    np.testing.assert_array_equal(out, cv2.resize(line(60, 200), (160, 48)))


def test_strength_0_changes_nothing() -> None:
    for seed in SEEDS:
        difference = augmented(line(), seed, **NOTHING).astype(int) - line()
        assert np.abs(difference).max() <= 1


def test_given_picture_is_left_as_it_was() -> None:
    image = line()
    for seed in SEEDS:
        augmented(image, seed, preset="released")
    np.testing.assert_array_equal(image, line())


def test_result_is_a_bgr_picture_of_the_same_width() -> None:
    for seed in SEEDS:
        out = augmented(line(), seed)
        assert out.dtype == np.uint8
        assert out.shape[1:] == (160, 3)
        assert out.shape[0] <= 48


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((48, 160), (32, 107)),
        ((20, 200), (32, 320)),
        ((100, 150), (32, 48)),
        ((8, 9000), (32, 400)),
    ],
)
def test_height_and_greatest_width_are_those_asked_for(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    for seed in range(10):
        out = augmented(line(*shape), seed, preset="released", height=32, max_width=400)
        assert out.shape == (*expected, 3)
    assert line_width(line(*shape), 32, 400) == expected[1]


@pytest.mark.parametrize("preset", ["fine_tune", "released"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 70), (70, 1), (2, 3), (9, 9), (8, 2000), (200, 8), (64, 64), (8, 40_000)]
)
def test_any_size_gives_a_picture(preset: str, shape: tuple[int, int]) -> None:
    for seed in range(8):
        out = augmented(line(*shape), seed, preset=preset)
        assert out.dtype == np.uint8
        assert out.shape[1:] == (shape[1], 3)
        assert 1 <= out.shape[0] <= shape[0]
        assert augmented(line(*shape), seed, preset=preset, height=16).shape[0] == 16


def test_crop_takes_rows_from_top_and_bottom_within_its_share() -> None:
    rows = np.repeat(np.arange(100, dtype=np.uint8)[:, None, None], 60, axis=1).repeat(3, axis=2)
    tops, bottoms = set(), set()
    for seed in SEEDS:
        out = augmented(rows, seed, **alone(crop=0.2))
        values = out[:, 0, 0]
        assert (np.diff(values.astype(int)) == 1).all()
        tops.add(int(values[0]))
        bottoms.add(99 - int(values[-1]))
    for cut in (tops, bottoms):
        assert max(cut) <= 20
        assert len(cut) > 5


@pytest.mark.parametrize("values", [{}, {"preset": "released"}])
@pytest.mark.parametrize("shape", [(48, 40), (48, 320), (32, 900)])
def test_bending_cuts_nothing_off(values: dict[str, Value], shape: tuple[int, int]) -> None:
    """A frame of ink near each side is still there: its outermost px may be lost, no more."""
    framed = np.full((*shape, 3), 255, np.uint8)
    cv2.rectangle(framed, (2, 2), (shape[1] - 3, shape[0] - 3), (0, 0, 0), 2)
    for seed in SEEDS:
        out = augmented(framed, seed, **(values | {"crop": 0.0, "shift": 0.0, "invert": False}))
        middle = out.shape[0] // 2
        for profile in (out[middle, : shape[1] // 2], out[middle, : shape[1] // 2 : -1]):
            assert profile.min() < 170
        for column in (shape[1] // 4, shape[1] // 2, 3 * shape[1] // 4):
            assert out[:middle, column].min() < 170
            assert out[middle:, column].min() < 170


@pytest.mark.parametrize(
    ("values", "most_x", "most_y"),
    [
        ({"perspective": 0.1}, 0.05 * 320, 4.8),  # the smaller end is seen from further away
        ({"distort": 0.1}, 3.0, 5.0),
        ({"stretch": 0.2}, 0.25 * 320 / 3, 1.0),
    ],
)
def test_points_move_no_further_than_the_strength_says(
    values: dict[str, Value], most_x: float, most_y: float
) -> None:
    # Two channels hold x and y: a pixel of the result says where it came from.
    source = np.zeros((48, 320, 3), np.uint8)
    source[:, :, 0] = np.linspace(0, 255, 320).round()[None]
    source[:, :, 1] = np.linspace(0, 255, 48).round()[:, None]
    moved = []
    for seed in SEEDS:
        out = augmented(source, seed, **alone(**values)).astype(float)
        x = out[:, :, 0] * 319 / 255 - np.arange(320)
        y = out[:, :, 1] * 47 / 255 - np.arange(48)[:, None]
        moved.append((np.abs(x).max(), np.abs(y).max()))
        # Along a line everything stays in its order: no character is folded over another.
        assert (np.diff(out[:, :, 0], axis=1) >= -1).all()
    # A value of 255 stands for 1.25 px of x, and the fit lets points between move a little further.
    assert max(x for x, _ in moved) < 1.25 * most_x + 2
    assert max(y for _, y in moved) < 1.25 * most_y + 2
    assert max(max(pair) for pair in moved) > 0.3 * max(most_x, most_y)


def test_stretch_alone_keeps_both_ends_of_the_line() -> None:
    source = np.repeat(np.linspace(0, 255, 320).astype(np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    for seed in SEEDS:
        out = augmented(source, seed, **alone(stretch=0.4)).astype(int)
        assert out[:, 0].max() <= 6
        assert out[:, -1].min() >= 249


def test_invert_gives_the_negative() -> None:
    out = augmented(line(), 0, **NOTHING, invert=True)
    assert np.abs(out.astype(int) - (255 - line())).max() <= 1


def test_invert_is_off_unless_asked_for() -> None:
    bright = np.full((48, 160, 3), 250, np.uint8)
    assert min(augmented(bright, seed).mean() for seed in SEEDS) > 127


@pytest.mark.parametrize(
    ("kind", "strength"),
    [
        ("distort", 0.1),
        ("stretch", 0.2),
        ("perspective", 0.1),
        ("crop", 0.1),
        ("blur", 2.0),
        ("light", 0.3),
        ("shift", 2.0),
        ("noise", 10.0),
    ],
)
def test_each_kind_changes_the_line_by_itself(kind: str, strength: float) -> None:
    changed = [
        not np.array_equal(augmented(line(), seed, **alone(**{kind: strength})), line())
        for seed in SEEDS
    ]
    assert sum(changed) > len(SEEDS) // 2


def test_noise_stays_in_its_strength_and_around_the_picture() -> None:
    grey = np.full((48, 160, 3), 128, np.uint8)
    out = [augmented(grey, seed, **alone(noise=8.0)) for seed in SEEDS]
    assert max(picture.std() for picture in out) < 8.5
    assert max(picture.std() for picture in out) > 4
    assert max(abs(picture.mean() - 128) for picture in out) < 0.5


def test_noise_of_a_picture_larger_than_the_pool() -> None:
    grey = np.full((600, 700, 3), 128, np.uint8)
    assert 1 < augmented(grey, 3, **alone(noise=8.0)).std() < 8.5


def test_shift_moves_the_line_as_a_whole() -> None:
    seen = set()
    for seed in SEEDS:
        out = augmented(line(), seed, **alone(shift=2.0))
        places = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(
                out[2:-2, 2:-2], line()[2 - down : 46 - down, 2 - right : 158 - right]
            )
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 10


def test_very_small_picture_is_neither_bent_nor_cropped() -> None:
    for seed in SEEDS:
        values = alone(perspective=0.4, distort=0.3, stretch=0.4, crop=0.29, shift=4.0)
        np.testing.assert_array_equal(augmented(line(7, 30), seed, **values), line(7, 30))


def test_probability_is_the_share_of_changed_lines() -> None:
    config = RecAugmentConfig.model_validate(
        {**NOTHING, "probability": 0.0, "invert": True, "chances": {"invert": 0.25}}
    )
    random = np.random.default_rng(0)
    dark = np.zeros((4, 4, 3), np.uint8)
    inverted = sum(augment_line(dark, config, random).mean() > 200 for _ in range(2000))
    assert 420 < inverted < 580


def test_own_probability_of_a_kind_goes_before_the_common_one() -> None:
    config = RecAugmentConfig(probability=0.3, chances=RecChances(blur=0.0, noise=0.9))
    chances = {kind: config.chance(kind) for kind in KINDS}
    assert chances.pop("blur") == 0.0
    assert chances.pop("noise") == 0.9
    assert set(chances.values()) == {0.3}


def test_preset_fills_what_is_not_given() -> None:
    released = RecAugmentConfig.model_validate("released")
    assert (released.concat, released.invert) == (0.5, True)
    assert RecAugmentConfig.model_validate({"preset": "released", "concat": 0.1}).concat == 0.1
    assert (RecAugmentConfig().concat, RecAugmentConfig().invert) == (0.0, False)
    for config in (released, RecAugmentConfig()):
        assert RecAugmentConfig.model_validate(config.model_dump()) == config
    with pytest.raises(ValidationError, match="'fine_tune' or 'released'"):
        RecAugmentConfig.model_validate("strong")


def test_lines_are_joined_left_to_right_at_one_height() -> None:
    first, second, third = line(48, 100), line(24, 31), line(96, 50)
    joined = concat_lines([first, second, third], 48)
    assert joined.shape == (48, 100 + 62 + 25, 3)
    np.testing.assert_array_equal(joined[:, :100], first)
    np.testing.assert_array_equal(joined[:, 100:162], cv2.resize(second, (62, 48)))
    np.testing.assert_array_equal(joined[:, 162:], cv2.resize(third, (25, 48)))
    np.testing.assert_array_equal(concat_lines([first], 48), first)


@pytest.mark.parametrize(
    ("widths", "lengths", "joined"),
    [
        ([100, 100, 100], [5, 5, 5], [0, 1, 2]),
        ([100, 150, 100], [5, 5, 5], [0, 1]),
        ([100, 250, 100], [5, 5, 5], [0, 2]),
        ([100, 100, 100], [5, 21, 20], [0, 2]),
        ([100, 100, 120], [5, 10, 10], [0, 1, 2]),
        ([400, 10], [5, 5], [0]),
        ([100, 10], [30, 1], [0]),
        ([100], [5], [0]),
    ],
)
def test_what_fits_is_joined(widths: list[int], lengths: list[int], joined: list[int]) -> None:
    assert plan_concat(widths, lengths, max_width=320, max_length=25) == joined


def test_joining_has_a_probability_of_its_own() -> None:
    random = np.random.default_rng(0)
    config = RecAugmentConfig(probability=0.0, concat=0.5, concat_lines=3)
    drawn = [concat_count(config, random) for _ in range(1000)]
    assert set(drawn) == {0, 3}
    assert 430 < drawn.count(3) < 570
    assert {concat_count(RecAugmentConfig(), random) for _ in range(100)} == {0}


def test_a_line_is_turned_as_often_as_asked_for() -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 40, 3), dtype=np.uint8)
    random = np.random.default_rng(1)
    config = RecAugmentConfig(probability=0.0, turn=0.25)
    results = [augment_line(image, config, random) for _ in range(400)]
    turned = sum(np.array_equal(result, image[::-1, ::-1]) for result in results)
    upright = sum(np.array_equal(result, image) for result in results)
    assert turned + upright == 400
    assert 70 <= turned <= 130
