"""Many pictures, and text that runs downwards."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import AssetError, EngineError, ImageError, ImageTooLargeError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.reader import PageText, Picture
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.geometry import Points, crop_line
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair

WAIT_S = 30


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    return OcrReader.load(
        exported_tiny.det, exported_tiny.rec, EngineConfig(variant="openvino-fp32")
    )


def pictures() -> list[BGRImage]:
    """Golden pages of several sizes."""
    first, second = golden_pages()
    return [first, second, np.vstack([second, first[:, :480]]), second[:, ::-1].copy(), first[:160]]


def lines_of(page: PageText | ImageError) -> object:
    assert isinstance(page, PageText)
    return page.as_dict()["lines"]


def test_many_pictures_are_read_as_each_alone_and_in_order(reader: OcrReader) -> None:
    given = pictures() * 3
    alone = [lines_of(reader.read(picture)) for picture in pictures()] * 3
    assert [lines_of(page) for page in reader.read_many(given)] == alone


def test_words_and_limits_hold_for_many_pictures_too(reader: OcrReader, tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    _, content = cv2.imencode(".png", golden_pages()[1])
    path.write_bytes(content.tobytes())
    given: list[Picture] = [path, str(path), path.read_bytes(), golden_pages()[1]]
    results = list(reader.read_many(given, words=True))
    assert [lines_of(page) for page in results] == [lines_of(reader.read(path, words=True))] * 4
    limits = ImageLimits(max_pixels=100)
    assert [type(page) for page in reader.read_many(given[:1], limits)] == [ImageTooLargeError]


def test_picture_that_cannot_be_read_leaves_the_others_alone(reader: OcrReader) -> None:
    given: list[Picture] = [golden_pages()[1], b"no picture", golden_pages()[1]]
    first, fault, last = reader.read_many(given)
    assert lines_of(first) == lines_of(last)
    assert isinstance(fault, ImageError)
    assert "not a picture" in str(fault)


def test_what_is_read_has_a_margin_and_its_outline_none(
    reader: OcrReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = reader.detector.spec
    decode = spec.decode.model_copy(update={"reading_margin": 0.5})
    found = reader.detector.detect(golden_pages()[0]).polygons
    cut_out = []

    def cut(image: BGRImage, points: Points) -> BGRImage:
        cut_out.append(points.tolist())
        return crop_line(image, points)

    with monkeypatch.context() as patch:
        patch.setattr(reader.detector, "spec", spec.model_copy(update={"decode": decode}))
        patch.setattr("ocr_pipeline.inference.reader.crop_line", cut)
        lines = reader.read(golden_pages()[0]).lines
    assert len(lines) == len(found) > 1
    outlines = {str(polygon.points) for polygon in found}
    for line in lines:
        assert line.outline is not None
        assert str(line.outline) in outlines
        assert line.points.tolist() in cut_out
        assert cv2.contourArea(line.points) > 1.1 * cv2.contourArea(line.outline)


def test_no_picture_gives_no_text(reader: OcrReader) -> None:
    assert list(reader.read_many([])) == []


def test_few_pictures_are_taken_ahead(reader: OcrReader) -> None:
    taken = 0

    def counted() -> Iterator[Picture]:
        nonlocal taken
        for _ in range(40):
            taken += 1
            yield golden_pages()[1]

    most = reader.detector.engine.lanes + reader.recognizer.engine.lanes + 1
    for done, _ in enumerate(reader.read_many(counted())):
        assert taken <= done + 1 + most


def test_reader_that_is_left_early_ends_its_work(reader: OcrReader) -> None:
    before = threading.active_count()
    pages = reader.read_many([golden_pages()[1]] * 20)
    next(pages)
    pages.close()
    deadline = time.monotonic() + WAIT_S
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_pictures_overlap(reader: OcrReader, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each of two pictures waits for the other: one after the other, neither would end.
    both = threading.Barrier(2)
    original = OcrReader.read

    def read(
        self: OcrReader, picture: Picture, limits: ImageLimits | None, *, words: bool
    ) -> PageText:
        both.wait(WAIT_S)
        return original(self, picture, limits, words=words)

    monkeypatch.setattr(OcrReader, "read", read)
    assert len(list(reader.read_many([golden_pages()[1]] * 4))) == 4


def test_engine_that_fails_ends_the_run(reader: OcrReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(images: NDArray[np.float32]) -> NDArray[np.float32]:
        raise EngineError(f"cannot run an input of {images.shape}")

    monkeypatch.setattr(reader.detector.engine, "run", broken)
    with pytest.raises(EngineError, match="cannot run an input"):
        list(reader.read_many(pictures()))


# Text that runs downwards.

COLUMNS = ("收款人名称", "开户银行地址", "金额合计")


@pytest.fixture(scope="module")
def font() -> Path:
    try:
        return find_font(may_fetch=True)
    except AssetError as error:
        pytest.skip(str(error))


def draw_columns(font: Path) -> BGRImage:
    """Upright characters below each other; the first column is on the right."""
    face = ImageFont.truetype(str(font), 40)
    page = Image.new("RGB", (360, 420), (245, 245, 245))
    pen = ImageDraw.Draw(page)
    for number, text in enumerate(COLUMNS):
        for row, char in enumerate(text):
            pen.text((300 - 110 * number, 60 + 46 * row), char, (30, 30, 30), face, anchor="mm")
    return np.ascontiguousarray(np.asarray(page)[:, :, ::-1])


def test_columns_are_read_downwards_and_from_the_right(reader: OcrReader, font: Path) -> None:
    page = reader.read(draw_columns(font), words=True)
    assert page.text == "\n".join(COLUMNS)
    assert not any(line.turned for line in page.lines)
    first = page.lines[0]
    assert first.characters is not None
    middles = [part.points.mean(axis=0) for part in first.characters]
    for row, (x, y) in enumerate(middles):
        assert x == pytest.approx(300, abs=8)
        assert y == pytest.approx(60 + 46 * row, abs=8)


@pytest.mark.parametrize("code", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE])
def test_page_that_lies_on_its_side_is_read_as_the_upright_one(
    reader: OcrReader, code: int
) -> None:
    page = golden_pages()[0]
    turned = np.asarray(cv2.rotate(page, code), dtype=np.uint8)
    assert reader.read(turned).text == reader.read(page).text


def test_one_column_beside_level_lines_leaves_their_order(reader: OcrReader, font: Path) -> None:
    page = golden_pages()[0]
    column = cv2.resize(draw_columns(font)[:, 240:], (91, 320))
    texts = [line.text for line in reader.read(np.hstack([page, column])).lines]
    level = [line.text for line in reader.read(page).lines]
    assert [text for text in texts if text in level] == level
    assert COLUMNS[0] in texts
