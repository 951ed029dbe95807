import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.config.train import RecAugmentConfig
from ocr_pipeline.ops.rec_augment import augment_line

NOTHING = {"perspective": 0.0, "crop": 0.0, "blur": 0.0, "noise": 0.0, "light": 0.0}
SEEDS = range(40)


def line(height: int = 48, width: int = 160) -> NDArray[np.uint8]:
    return np.random.default_rng(9).integers(0, 256, (height, width, 3), dtype=np.uint8)


def augmented(image: NDArray[np.uint8], seed: int, **values: float) -> NDArray[np.uint8]:
    config = RecAugmentConfig.model_validate({"probability": 1.0, **values})
    return augment_line(image, config, np.random.default_rng(seed))


def test_same_seed_gives_the_same_line_and_another_seed_another() -> None:
    first, again, other = (augmented(line(), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_probability_0_changes_nothing() -> None:
    for seed in SEEDS:
        out = augmented(line(), seed, probability=0.0, invert=True)
        np.testing.assert_array_equal(out, line())


def test_strength_0_changes_nothing() -> None:
    for seed in SEEDS:
        difference = augmented(line(), seed, **NOTHING).astype(int) - line()
        assert np.abs(difference).max() <= 1


def test_given_picture_is_left_as_it_was() -> None:
    image = line()
    for seed in SEEDS:
        augmented(image, seed, invert=True)
    np.testing.assert_array_equal(image, line())


def test_result_is_a_bgr_picture_of_the_same_width() -> None:
    for seed in SEEDS:
        out = augmented(line(), seed)
        assert out.dtype == np.uint8
        assert out.shape[1:] == (160, 3)
        assert out.shape[0] <= 48


def test_crop_takes_rows_from_top_and_bottom_within_its_share() -> None:
    rows = np.repeat(np.arange(100, dtype=np.uint8)[:, None, None], 60, axis=1).repeat(3, axis=2)
    tops, bottoms = set(), set()
    for seed in SEEDS:
        out = augmented(rows, seed, **(NOTHING | {"crop": 0.2}))
        values = out[:, 0, 0]
        assert (np.diff(values.astype(int)) == 1).all()
        tops.add(int(values[0]))
        bottoms.add(99 - int(values[-1]))
    for cut in (tops, bottoms):
        assert max(cut) <= 20
        assert len(cut) > 5


def test_invert_gives_the_negative() -> None:
    out = augmented(line(), 0, **NOTHING, invert=True)
    assert np.abs(out.astype(int) - (255 - line())).max() <= 1


def test_invert_is_off_unless_asked_for() -> None:
    bright = np.full((48, 160, 3), 250, np.uint8)
    assert min(augmented(bright, seed).mean() for seed in SEEDS) > 127


@pytest.mark.parametrize("kind", ["blur", "noise", "light", "perspective"])
def test_each_kind_changes_the_line_by_itself(kind: str) -> None:
    strength = {"blur": 2.0, "noise": 10.0, "light": 0.3, "perspective": 0.1}[kind]
    changed = [
        not np.array_equal(augmented(line(), seed, **(NOTHING | {kind: strength})), line())
        for seed in SEEDS
    ]
    assert sum(changed) > len(SEEDS) // 2


def test_noise_stays_in_its_strength() -> None:
    grey = np.full((48, 160, 3), 128, np.uint8)
    spread = [augmented(grey, seed, **(NOTHING | {"noise": 8.0})).std() for seed in SEEDS]
    assert max(spread) < 8.5
    assert max(spread) > 4


def test_very_small_picture_is_neither_bent_nor_cropped() -> None:
    for seed in SEEDS:
        out = augmented(line(7, 30), seed, **(NOTHING | {"perspective": 0.4, "crop": 0.29}))
        np.testing.assert_array_equal(out, line(7, 30))


def test_probability_is_the_share_of_changed_lines() -> None:
    config = RecAugmentConfig.model_validate(
        NOTHING | {"probability": 0.25, "invert": True, "light": 0.0}
    )
    random = np.random.default_rng(0)
    dark = np.zeros((4, 4, 3), np.uint8)
    inverted = sum(augment_line(dark, config, random).mean() > 200 for _ in range(2000))
    assert 420 < inverted < 580
