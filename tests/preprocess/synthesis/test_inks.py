import numpy as np
import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.synthesis.inks import (
    SEGMENT_CHARACTERS,
    dot_lights,
    needle_printed,
    needle_wear,
    penned,
    printed,
    seven_segments,
)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def lit_share(char: str) -> float:
    lights = seven_segments(char, 60, random())
    return float(lights.lit.sum() / lights.ghost.sum())


def test_seven_segments_light_what_a_digit_needs() -> None:
    assert lit_share("8") == pytest.approx(1, abs=0.01)
    segments = {"1": 2, "7": 3, "4": 4, "2": 5, "3": 5, "5": 5, "0": 6, "6": 6, "9": 6}
    for char, count in segments.items():
        assert lit_share(char) == pytest.approx(count / 7, abs=0.06), char
    shapes = {seven_segments(c, 60, random()).lit.tobytes() for c in "0123456789-ACEFHLPU"}
    assert len(shapes) == 19


def test_lit_segments_are_a_part_of_all_segments() -> None:
    lights = seven_segments("1234-5", 50, random(3))
    assert lights.lit.shape == lights.ghost.shape
    assert (lights.lit <= lights.ghost + 1e-6).all()


def test_a_point_takes_no_place_of_its_own() -> None:
    plain, pointed = (seven_segments(t, 60, random(1)).lit for t in ("12", "1.2"))
    assert abs(plain.shape[1] - pointed.shape[1]) < 20
    assert pointed.sum() > plain.sum()
    rows = np.flatnonzero((pointed[:, : plain.shape[1]] - plain[:, : pointed.shape[1]]).any(axis=1))
    assert rows.min() > 40, "the point stands at the foot"


def test_what_seven_segments_cannot_show_is_named() -> None:
    with pytest.raises(DataError, match="'12国V': seven segments cannot show '国', 'V'; allowed: "):
        seven_segments("12国V", 40, random())
    assert {"B", "b", "D", "I", "O", "S", "Z"}.isdisjoint(SEGMENT_CHARACTERS)


def test_dots_of_light_stand_where_the_mask_has_ink() -> None:
    mask = np.zeros((6, 9), np.uint8)
    mask[2, 3] = mask[4, 7] = 255
    lights = dot_lights(mask, 4, random())
    assert lights.lit.shape == lights.ghost.shape == (24, 36)
    cells = lights.lit.reshape(6, 4, 9, 4).max(axis=(1, 3)) > 0.3
    assert np.array_equal(cells, mask > 0)
    assert lights.ghost.reshape(6, 4, 9, 4).max(axis=(1, 3)).min() > 0.3


@pytest.mark.parametrize("worn", [0.0, 0.5, 1.0])
def test_worn_ink_can_still_be_seen(worn: float) -> None:
    mask = np.zeros((40, 200), np.uint8)
    mask[8:30, 20:180:9] = 255
    dots = np.zeros((20, 100), np.uint8)
    dots[3:17, 10:90:5] = 255
    for seed in range(10):
        for alpha in (
            printed(mask, worn, random(seed)),
            penned(mask, random(seed)),
            penned(np.ascontiguousarray(mask.T), random(seed)),
            needle_printed(dots, 24, needle_wear(worn, random(seed)), random(seed)),
        ):
            assert alpha.dtype == np.float32
            assert alpha.min() >= 0
            assert alpha.max() <= 1
            assert np.percentile(alpha, 98) > 0.2
            assert np.median(alpha) < 0.2


def test_wear_takes_ink_away() -> None:
    mask = np.full((40, 200), 255, np.uint8)
    assert printed(mask, 1.0, random()).mean() < 0.85 * printed(mask, 0.0, random()).mean()
    dots = np.full((20, 100), 255, np.uint8)
    new, old = (needle_printed(dots, 30, needle_wear(w, random()), random()) for w in (0.0, 1.0))
    assert (old > 0.5 * old.max()).mean() < 0.8 * (new > 0.5 * new.max()).mean()
