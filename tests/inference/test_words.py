"""Words and characters on rendered lines, whose places are known."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import AssetError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.reader import LinePart, ReadLine
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.geometry import Points, is_vertical
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.ops.spans import character_spans
from tests.conftest import ExportedPair

TEXTS = (
    "收款人名称及开户银行",
    "人民币，大写金额：叁仟",
    "北京市海淀区中关村大街27号1101室",
    "Invoice 20260317 issued by First Bank",
    "本协议自双方签字盖章之日起生效，有效期为三年",
)
SIZE, PITCH, LEFT, MARGIN, WIDTH = 36, 90, 60, 8, 1000
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """A character of the page: left and right end of its middle line, ``[2, 2]`` (x, y) px."""

    text: str
    ends: Points

    def moved(self, matrix: Matrix) -> "Place":
        """Where it lies after ``[2, 3]`` was applied to the page."""
        return Place(self.text, (self.ends @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))


@pytest.fixture(scope="module")
def font() -> Path:
    try:
        return find_font(may_fetch=True)
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    return OcrReader.load(
        exported_tiny.det, exported_tiny.rec, EngineConfig(variant="openvino-fp32")
    )


def draw(font: Path) -> tuple[BGRImage, list[list[Place]], list[list[Place]]]:
    """A page with TEXTS; its characters and words line by line."""
    page = np.full((PITCH * (len(TEXTS) + 1), WIDTH, 3), 245, dtype=np.uint8)
    characters, words = [], []
    for number, text in enumerate(TEXTS):
        strip, places = draw_line(text, font)
        left, top = LEFT, PITCH * (number + 1) - strip.shape[0] // 2
        page[top : top + strip.shape[0], left : left + strip.shape[1]] = strip
        move = np.array([[1, 0, left], [0, 1, top]], dtype=np.float64)
        places = [place.moved(move) for place in places]
        characters.append([place for place in places if place.text != " "])
        words.append(joined(places))
    return page, characters, words


def draw_line(text: str, font: Path) -> tuple[BGRImage, list[Place]]:
    """One line, a few pixels of paper around it, and its characters; spaces among them."""
    face = ImageFont.truetype(str(font), SIZE, layout_engine=ImageFont.Layout.BASIC)
    strip = Image.new("RGB", (round(face.getlength(text)) + 2 * MARGIN, SIZE + 2 * MARGIN))
    pen = ImageDraw.Draw(strip)
    pen.rectangle((0, 0, *strip.size), (245, 245, 245))
    middle = strip.height / 2
    pen.text((MARGIN, middle), text, (30, 30, 30), face, anchor="lm")
    edges = [MARGIN + face.getlength(text[:at]) for at in range(len(text) + 1)]
    places = [
        Place(char, np.array([[start, middle], [end, middle]], dtype=np.float32))
        for char, start, end in zip(text, edges, edges[1:], strict=False)
    ]
    return np.ascontiguousarray(np.asarray(strip)[:, :, ::-1]), places


def joined(places: Sequence[Place]) -> list[Place]:
    """Words: ASCII without spaces is one, any other character stands alone."""
    words: list[Place] = []
    open_word = False
    for place in places:
        narrow = place.text.isascii() and place.text != " "
        if narrow and open_word:
            start, text = words[-1].ends[0], words[-1].text + place.text
            words[-1] = Place(text, np.array([start, place.ends[1]], dtype=np.float32))
        elif place.text != " ":
            words.append(place)
        open_word = narrow
    return words


def matrix_of(turned: str) -> Matrix:
    """Where a point of the level page lies on the turned one, ``[2, 3]``."""
    height, width = PITCH * (len(TEXTS) + 1), WIDTH
    matrices = {
        "level": np.eye(2, 3),
        "slanted": cv2.getRotationMatrix2D((width / 2, height / 2), 5, 1),
        "upside-down": np.array([[-1.0, 0, width], [0, -1, height]]),
        "clockwise": np.array([[0.0, -1, height], [1, 0, 0]]),
        "counter-clockwise": np.array([[0.0, 1, 0], [-1, 0, width]]),
    }
    return np.asarray(matrices[turned], dtype=np.float64)


def turned_page(page: BGRImage, turned: str) -> BGRImage:
    height, width = page.shape[:2]
    size = (height, width) if "clockwise" in turned else (width, height)
    return np.asarray(
        cv2.warpAffine(page, matrix_of(turned), size, borderValue=(245, 245, 245)), np.uint8
    )


def ends(part: LinePart, *, vertical: bool) -> Points:
    """Where a part begins and where it ends on its middle line, ``[2, 2]`` (x, y) px."""
    corners = part.points if vertical else np.roll(part.points, 1, axis=0)
    return np.asarray([corners[:2].mean(axis=0), corners[2:].mean(axis=0)])


def errors(line: ReadLine, parts: Sequence[LinePart], places: Sequence[Place]) -> list[float]:
    """Distances of both ends of each part from where they are, in widths of a full character."""
    assert [part.text for part in parts] == [place.text for place in places]
    found = [ends(part, vertical=is_vertical(line.points)) for part in parts]
    along = line_direction(line)
    return [
        abs(float((got - place.ends)[at] @ along)) / SIZE
        for got, place in zip(found, places, strict=True)
        for at in (0, 1)
    ]


def line_direction(line: ReadLine) -> Points:
    first, last = (line.points[1], line.points[2]) if is_vertical(line.points) else line.points[:2]
    return np.asarray((last - first) / np.linalg.norm(last - first))


@pytest.mark.parametrize(
    "turned", ["level", "slanted", "upside-down", "clockwise", "counter-clockwise"]
)
def test_words_and_characters_stand_where_they_were_drawn(
    reader: OcrReader, font: Path, turned: str
) -> None:
    page, characters, words = draw(font)
    matrix = matrix_of(turned)
    lines = reader.read(turned_page(page, turned), words=True).lines
    assert [line.text.replace(" ", "") for line in lines] == [t.replace(" ", "") for t in TEXTS]
    of_characters, of_words = [], []
    for line, drawn, spoken in zip(lines, characters, words, strict=True):
        assert line.characters is not None
        assert line.words is not None
        of_characters += errors(line, line.characters, [place.moved(matrix) for place in drawn])
        of_words += errors(line, line.words, [place.moved(matrix) for place in spoken])
    for found in (of_characters, of_words):
        assert np.median(found) <= 0.05
        assert np.percentile(found, 95) <= 0.12


def test_words_are_none_where_they_are_not_asked_for(reader: OcrReader) -> None:
    page = golden_pages()[0]
    plain, with_words = reader.read(page), reader.read(page, words=True)
    assert all(line.words is None and line.characters is None for line in plain.lines)
    assert not any("words" in line for line in plain.as_dict()["lines"])
    for line, other in zip(plain.lines, with_words.lines, strict=True):
        assert line.as_dict() == replace(other, words=None, characters=None).as_dict()


def test_words_in_the_answer_are_plain_values(reader: OcrReader) -> None:
    answer = reader.read(golden_pages()[0], words=True).as_dict()
    assert json.loads(json.dumps(answer)) == answer
    line = answer["lines"][1]
    assert [word["text"] for word in line["words"]] == ["TOTAL", "1,280.50"]
    assert "".join(part["text"] for part in line["characters"]) == "TOTAL1,280.50"
    assert set(line["words"][0]) == {"text", "confidence", "points"}


@pytest.mark.parametrize("length", [1, 6, 12, 40])
def test_padded_full_and_squeezed_lines_have_their_words_in_place(
    reader: OcrReader, font: Path, length: int
) -> None:
    """The narrowest bucket is wider than the line, and the widest narrower than the longest."""
    recognizer = reader.recognizer
    text = "银行账号" * length if length > 1 else "银行"
    image, places = draw_line(text, font)
    [line] = recognizer.recognize([image], emissions=True)
    assert line.text == text
    spans = character_spans(line.emissions, recognizer.steps(image))
    worst = max(
        abs(value * image.shape[1] - expected) / SIZE
        for span, place in zip(spans, places, strict=True)
        for value, expected in ((span.start, place.ends[0, 0]), (span.end, place.ends[1, 0]))
    )
    assert worst <= 0.25
