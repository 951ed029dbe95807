"""Blank borders of a page."""

import numpy as np
import pytest

from ocr_pipeline.ops.blank import Window, whole_window, written_window
from ocr_pipeline.ops.decode import BGRImage


def page(colour: tuple[int, int, int] = (255, 255, 255)) -> BGRImage:
    return np.full((640, 960, 3), colour, dtype=np.uint8)


def test_what_is_written_is_kept_with_paper_around_it() -> None:
    image = page()
    image[200:210, 500:700] = (255, 255, 0)
    window = written_window(image, margin=32, multiple=32)
    assert window == Window(160, 256, 448, 736)
    assert (image[window.place] != 255).sum() == (image != 255).sum()


@pytest.mark.parametrize("place", [(0, 5), (639, 5), (5, 959), (639, 959)])
def test_a_spot_at_an_end_is_kept(place: tuple[int, int]) -> None:
    image = page()
    image[place] = 0
    top, bottom, left, right = (place[0], place[0] + 1, place[1], place[1] + 1)
    window = written_window(image, margin=32, multiple=32)
    assert window.top <= top < bottom <= window.bottom <= 640
    assert window.left <= left < right <= window.right <= 960


def test_a_page_without_anything_is_empty_whatever_its_colour() -> None:
    for colour in ((255, 255, 255), (0, 0, 0), (10, 200, 90)):
        assert written_window(page(colour), margin=32, multiple=32).is_empty


def test_noise_of_three_levels_is_paper_and_four_are_not() -> None:
    noise = np.random.default_rng(0).integers(-3, 4, (640, 960, 3))
    noise[0, 0] = 0
    image = (page((200, 180, 160)) + noise).astype(np.uint8)
    assert written_window(image, margin=32, multiple=32).is_empty
    image[400, 300, 1] = 180 - 4
    assert written_window(image, margin=32, multiple=32) == Window(352, 448, 256, 352)


def test_a_photograph_is_kept_whole() -> None:
    image = np.random.default_rng(1).integers(0, 256, (640, 960, 3), dtype=np.uint8)
    assert written_window(image, margin=32, multiple=32) == whole_window(image)


def test_sizes_that_are_no_multiple_end_where_the_picture_ends() -> None:
    image = np.full((100, 75, 3), 255, dtype=np.uint8)
    image[95:99, 70:74] = 0
    assert written_window(image, margin=0, multiple=32) == Window(64, 100, 64, 75)
