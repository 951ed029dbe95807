from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.preprocess.synthesis import degrade

Effect = Callable[[BGRImage, float, np.random.Generator], BGRImage]


def seen_from_the_side(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    return degrade.perspective(picture, strength, random)[0]


EFFECTS: tuple[Effect, ...] = (
    degrade.blur, degrade.jpeg, degrade.uneven_light, degrade.noise, degrade.fold,
    degrade.low_resolution, seen_from_the_side,
)  # fmt: skip


def picture() -> BGRImage:
    image = np.full((80, 200, 3), (220, 225, 230), np.uint8)
    cv2.putText(image, "Text 123", (10, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (40, 30, 30), 2)
    return image


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_changes_the_picture_as_its_chance_says(effect: Effect) -> None:
    before = picture()
    for strength in (0.0, 0.5, 1.0):
        for seed in range(6):
            one = effect(before, strength, np.random.default_rng(seed))
            two = effect(before, strength, np.random.default_rng(seed))
            assert one.dtype == np.uint8
            assert one.shape == before.shape
            assert np.array_equal(one, two)
            assert not np.array_equal(one, before)
    assert np.array_equal(before, picture()), "the input stays as it was"
    other = effect(before, 1.0, np.random.default_rng(99))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_stronger_effect_changes_more(effect: Effect) -> None:
    before = picture().astype(np.float32)

    def change(strength: float) -> float:
        pictures = [effect(picture(), strength, np.random.default_rng(s)) for s in range(20)]
        return float(np.mean([np.abs(one - before).mean() for one in pictures]))

    assert change(1.0) > 1.2 * change(0.0)


def test_the_matrix_of_a_perspective_takes_points_along() -> None:
    dots = np.zeros((100, 160, 3), np.uint8)
    spots = np.array([[20, 20], [140, 25], [135, 80], [25, 75]], np.float32)
    for x, y in spots:
        cv2.circle(dots, (int(x), int(y)), 3, (255, 255, 255), -1)
    for seed in range(5):
        moved, matrix = degrade.perspective(dots, 1.0, np.random.default_rng(seed))
        table = moved[0, 0].astype(int)
        places = cv2.perspectiveTransform(spots[None], matrix)[0]
        corners = np.array([[[0, 0], [159, 0], [159, 99], [0, 99]]], np.float32)
        inside = cv2.perspectiveTransform(corners, matrix)[0]
        assert inside.min() >= 0
        assert (inside <= (159, 99)).all()
        for x, y in places:
            assert moved[round(float(y)), round(float(x))].min() > 200, (seed, table)
