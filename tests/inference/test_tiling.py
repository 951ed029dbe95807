"""A picture in tiles is read as the whole one; on a scripted network and on the real one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.tiling import TilingConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.geometry import Points
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.inference.scripted import DarkIsText

SMALL_TILES = TilingConfig(enabled=True, above=300, tile=320, overlap=96)


def detector(tiling: TilingConfig, max_side: int = 4000) -> tuple[Detector, DarkIsText]:
    engine = DarkIsText()
    spec = DetModelSpec(size="tiny", image=DetImageSpec(max_side=max_side))
    return Detector(engine, spec, tiling), engine


def bars() -> BGRImage:
    """White, with dark bars; some across every border of small tiles, some beside one."""
    page = np.full((960, 1280, 3), 255, dtype=np.uint8)
    for top in range(20, 940, 60):
        page[top : top + 20, 40:1240] = 0
        page[top : top + 20, 300 + top // 2 : 330 + top // 2] = 255
    return page


def sorted_points(found: list[Points]) -> NDArray[np.float32]:
    return np.array(sorted(found, key=lambda points: tuple(points.ravel())))


def test_lines_across_tiles_are_found_whole_and_once() -> None:
    tiled, engine = detector(SMALL_TILES)
    whole, _ = detector(TilingConfig(enabled=False))
    page = bars()
    expected = [polygon.points for polygon in whole.detect(page).polygons]
    found = [polygon.points for polygon in tiled.detect(page).polygons]
    assert len(expected) == 32
    np.testing.assert_allclose(sorted_points(found), sorted_points(expected), atol=0.01)
    assert len(engine.shapes) > 12
    assert len(set(engine.shapes)) == 1


@pytest.mark.parametrize(
    ("tiling", "shapes"),
    [
        (TilingConfig(enabled=True, above=1280, tile=320, overlap=96), {(1, 3, 960, 1280)}),
        (TilingConfig(enabled=True, above=1279, tile=640, overlap=96), {(1, 3, 544, 512)}),
        (TilingConfig(enabled=False, above=300), {(1, 3, 960, 1280)}),
    ],
)
def test_tiles_begin_above_the_limit(tiling: TilingConfig, shapes: set[tuple[int, ...]]) -> None:
    finder, engine = detector(tiling)
    finder.detect(bars())
    assert set(engine.shapes) == shapes


def test_without_tiles_a_huge_picture_is_shrunk() -> None:
    finder, engine = detector(TilingConfig(enabled=False), max_side=640)
    finder.detect(bars())
    assert engine.shapes == [(1, 3, 480, 640)]


def test_text_of_a_page_in_tiles_is_that_of_the_page(exported_tiny: ExportedPair) -> None:
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec)
    page = np.hstack([golden_pages()[0]] * 2)
    whole = reader.read(page)
    reader.detector.tiling = TilingConfig(enabled=True, above=1000, tile=736, overlap=192)
    tiled = reader.read(page)
    assert tiled.text == whole.text
    assert tiled.text.count("TOTAL 1,280.50") == 2
    for line, expected in zip(tiled.lines, whole.lines, strict=True):
        assert np.abs(line.points - expected.points).max() < 6
