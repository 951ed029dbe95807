from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from ocr_pipeline.ops.draw import Annotation, annotate
from ocr_pipeline.ops.geometry import Points

GREEN = (84, 139, 34)
ORANGE = (20, 92, 208)


@pytest.fixture
def font(tmp_path: Path) -> Path:
    """Pillow's own font: Latin letters are enough here."""
    path = tmp_path / "font.ttf"
    built_in = ImageFont.load_default(12)
    assert isinstance(built_in, ImageFont.FreeTypeFont)
    path.write_bytes(built_in.font_bytes)
    return path


def box(left: float, top: float, width: float, height: float) -> Points:
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def page(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), 240, np.uint8)


def dark_columns(part: np.ndarray) -> np.ndarray:
    return np.flatnonzero((part.min(axis=2) < 100).any(axis=0))


def test_without_a_font_only_the_page_is_drawn() -> None:
    image = annotate(page(), [Annotation(box(50, 60, 120, 40), "text", 0.9)], None)
    assert image.shape == (200, 300, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("confidence", "color"), [(1.0, GREEN), (0.85, GREEN), (0.84, ORANGE), (0.0, ORANGE)]
)
def test_box_has_the_colour_of_its_confidence(
    confidence: float, color: tuple[int, int, int]
) -> None:
    image = annotate(page(), [Annotation(box(50, 60, 120, 40), "text", confidence)], None)
    for y, x in [(60, 100), (100, 100), (80, 50), (80, 170)]:
        assert tuple(image[y, x].tolist()) == color
    assert tuple(image[30, 20].tolist()) == (240, 240, 240)


def test_inside_of_a_box_stays_readable() -> None:
    image = annotate(page(), [Annotation(box(50, 60, 120, 40), "text", 0.9)], None)
    assert image[80, 100].min() > 190
    assert tuple(image[80, 100].tolist()) != (240, 240, 240)


def test_with_a_font_the_text_stands_beside_the_page_at_its_place(font: Path) -> None:
    image = annotate(page(), [Annotation(box(50, 60, 200, 40), "Text 123", 0.9)], font)
    assert image.shape == (200, 600, 3)
    right = image[:, 300:]
    written = dark_columns(right)
    assert 50 <= written.min() <= 60
    assert written.max() < 250
    rows = np.flatnonzero((right.min(axis=2) < 100).any(axis=1))
    assert 60 <= rows.min() < rows.max() <= 100
    assert right[:50].min() > 200


def test_long_text_is_no_wider_than_its_box(font: Path) -> None:
    image = annotate(page(), [Annotation(box(20, 60, 150, 40), "abcdefghij" * 2, 0.9)], font)
    assert dark_columns(image[:, 300:]).max() <= 175


def test_unsure_text_is_written_in_its_colour(font: Path) -> None:
    image = annotate(page(), [Annotation(box(20, 40, 250, 80), "WWW", 0.1)], font)
    assert (image[:, 300:] == ORANGE).all(axis=2).any()


def test_large_page_is_drawn_smaller_with_its_boxes() -> None:
    image = annotate(page(1000, 4000), [Annotation(box(400, 200, 800, 400), "text", 0.9)], None)
    assert image.shape == (500, 2000, 3)
    assert tuple(image[100, 400].tolist()) == GREEN
    assert tuple(image[200, 200].tolist()) == GREEN
    assert tuple(image[400, 400].tolist()) == (240, 240, 240)


def test_given_page_is_left_as_it_was() -> None:
    given = page()
    annotate(given, [Annotation(box(50, 60, 120, 40), "text", 0.9)], None)
    np.testing.assert_array_equal(given, page())


def test_page_without_lines_is_the_page() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(annotate(image, [], None), image)


@pytest.mark.parametrize("shape", [(1, 5000, 3), (5000, 1, 3)])
def test_an_extreme_page_is_drawn(shape: tuple[int, int, int]) -> None:
    assert min(annotate(np.zeros(shape, np.uint8), [], None).shape) >= 1
