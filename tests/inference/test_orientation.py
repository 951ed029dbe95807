"""Lines that stand upside-down: the rule on a scripted engine, then a page drawn for it."""

import json

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.orientation import OrientationConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.orientation import OrientedLine, TurningRecognizer, turn
from ocr_pipeline.inference.reader import PageText
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import TextLine
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from tests.conftest import ExportedPair

CHARSET = Charset([chr(0x4E00 + number) for number in range(98)])
UPRIGHT, TURNED = CHARSET.dictionary[:2]
"""What the scripted engine reads on a line that begins dark, and on one that begins light."""


class ScriptedEngine:
    """Reads one character; the grey of the picture's first column is its confidence."""

    lanes = 1

    def __init__(self) -> None:
        self.pictures = 0

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.pictures += len(images)
        probs = np.zeros((len(images), 2, CHARSET.classes), dtype=np.float32)
        probs[:, 1, 0] = 1
        for row, image in zip(probs, images, strict=True):
            confidence = (image[0, 0, 0] + 1) / 2
            row[0] = (1 - confidence) / (CHARSET.classes - 1)
            row[0, 1 if image[1, 0, 0] < 0 else 2] = confidence
        return probs


def line(upright: float, turned: float) -> BGRImage:
    """A line of 48 x 320 px that is read with these confidences."""
    image = np.zeros((48, 320, 3), dtype=np.uint8)
    image[:, :160, 0], image[:, 160:, 0] = round(255 * upright), round(255 * turned)
    image[:, 160:, 1] = 255
    return image


def recognizer(config: OrientationConfig | None = None) -> tuple[TurningRecognizer, ScriptedEngine]:
    engine = ScriptedEngine()
    spec = RecModelSpec(size="tiny", classes=CHARSET.classes)
    plain = Recognizer(engine, spec, CHARSET, batch=2)
    return TurningRecognizer(plain, config or OrientationConfig()), engine


@pytest.mark.parametrize(
    ("upright", "turned", "taken", "readings"),
    [
        (0.95, 1.0, False, 1),
        (0.5, 0.9, True, 2),
        (0.5, 0.58, False, 2),
        (0.5, 0.62, True, 2),
        (0.88, 0.99, True, 2),
        (0.8, 0.3, False, 2),
    ],
)
def test_turned_reading_is_taken_where_the_first_is_unsure_and_it_is_clearly_better(
    upright: float, turned: float, taken: bool, readings: int
) -> None:
    reading, engine = recognizer()
    [got] = reading.recognize([line(upright, turned)])
    assert (got.text, got.turned) == ((TURNED, True) if taken else (UPRIGHT, False))
    assert got.confidence == pytest.approx(turned if taken else upright, abs=0.003)
    assert engine.pictures == readings


def test_a_region_without_text_stays_empty_unless_its_turned_reading_is_sure() -> None:
    reading, _ = recognizer()
    doubtful, sure = reading.recognize([line(0.0, 0.8), line(0.0, 0.96)])
    assert (doubtful.text, doubtful.turned) == ("", False)
    assert (sure.text, sure.turned) == (TURNED, True)


def test_parameters_move_both_limits() -> None:
    lines = [line(0.95, 1.0), line(0.5, 0.58)]
    eager, _ = recognizer(OrientationConfig(unsure_below=1, margin=0))
    assert [got.turned for got in eager.recognize(lines)] == [True, True]
    never, engine = recognizer(OrientationConfig(unsure_below=0))
    assert [got.turned for got in never.recognize(lines)] == [False, False]
    assert engine.pictures == 2


def test_off_reads_each_line_once_and_as_the_recognizer_alone() -> None:
    reading, engine = recognizer(OrientationConfig(enabled=False))
    lines = [line(0.1, 0.99), line(0.95, 0.2)]
    got = reading.recognize(lines)
    assert engine.pictures == len(lines)
    plain: list[TextLine] = list(Recognizer.recognize(reading, lines))
    assert got == [OrientedLine(one.text, one.confidence) for one in plain]


def test_no_line_gives_none() -> None:
    assert recognizer()[0].recognize([]) == []


def test_what_is_read_does_not_depend_on_the_rest_of_the_batch(exported_tiny: ExportedPair) -> None:
    reading = OcrReader.load(exported_tiny.det, exported_tiny.rec).recognizer
    upright = golden_lines()
    lines = [turn(upright[1]), upright[0], turn(upright[2]), upright[1]]
    together = reading.recognize(lines)
    assert [got.turned for got in together] == [True, False, True, False]
    assert together[0].text == together[3].text == "TOTAL 1,280.50"
    for alone, got in zip(lines, together, strict=True):
        [single] = reading.recognize([alone])
        assert (single.text, single.turned) == (got.text, got.turned)
        assert single.confidence == pytest.approx(got.confidence, abs=1e-4)


@pytest.mark.parametrize(
    "values", [{"unsure_below": 1.1}, {"unsure_below": -0.1}, {"margin": 1}, {"margin": -0.1}]
)
def test_limits_of_the_config(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        OrientationConfig.model_validate(values)


# Pages.


@pytest.fixture(scope="module")
def reader(exported_tiny: ExportedPair) -> OcrReader:
    return OcrReader.load(exported_tiny.det, exported_tiny.rec)


def page_with_one_line_turned() -> BGRImage:
    """The golden page; its second line stands upside-down, at the right edge."""
    page = golden_pages()[0].copy()
    page[80:160] = turn(page[80:160])
    return page


def by_text(page: PageText) -> dict[str, bool]:
    return {line.text: line.turned for line in page.lines}


def test_upside_down_line_is_read_and_said_to_be_turned(reader: OcrReader) -> None:
    image = page_with_one_line_turned()
    page = reader.read(image)
    straight = reader.read(golden_pages()[0])
    assert page.text == straight.text
    assert [line.turned for line in page.lines] == [False, True, False, False]
    assert not any(line.turned for line in straight.lines)
    assert sum(page.dropped.values()) == 0
    assert set(page.milliseconds) == {"decode", "detect", "recognize", "total"}
    turned = page.lines[1]
    # From bottom-right, clockwise: where the text begins.
    assert turned.points[0, 0] > turned.points[1, 0]
    assert turned.points[0, 1] > turned.points[3, 1]
    [again] = reader.recognizer.recognize([crop_line(image, turned.points)])
    assert (again.text, again.turned) == (turned.text, False)
    answer = json.loads(json.dumps(page.as_dict()))
    assert [line["turned"] for line in answer["lines"]] == [False, True, False, False]


def test_page_on_its_head_is_read_in_its_own_order(reader: OcrReader) -> None:
    page = reader.read(turn(golden_pages()[0]))
    assert page.text == reader.read(golden_pages()[0]).text
    assert all(line.turned for line in page.lines)
    assert [line.row for line in page.lines] == [0, 1, 2, 3]


def test_upright_line_on_a_page_on_its_head(reader: OcrReader) -> None:
    page = reader.read(turn(page_with_one_line_turned()))
    assert page.text == reader.read(golden_pages()[0]).text
    assert [line.turned for line in page.lines] == [True, False, True, True]


def test_vertical_line_is_read_both_ways(reader: OcrReader) -> None:
    image = np.full((480, 160, 3), 245, dtype=np.uint8)
    upward = cv2.rotate(golden_lines()[1], cv2.ROTATE_90_COUNTERCLOCKWISE)
    image[40 : 40 + upward.shape[0], 50 : 50 + upward.shape[1]] = upward
    downward = turn(image)
    texts = [by_text(reader.read(picture)) for picture in (image, downward)]
    assert sorted(texts, key=str) == [
        {"TOTAL 1,280.50": False},
        {"TOTAL 1,280.50": True},
    ]


def test_off_leaves_the_line_as_it_stands(exported_tiny: ExportedPair, reader: OcrReader) -> None:
    off = OcrReader.load(
        exported_tiny.det, exported_tiny.rec, orientation=OrientationConfig(enabled=False)
    )
    page = off.read(page_with_one_line_turned())
    assert not any(line.turned for line in page.lines)
    assert "TOTAL 1,280.50" not in by_text(page)
    straight = golden_pages()[0]
    assert off.read(straight).as_dict()["lines"] == reader.read(straight).as_dict()["lines"]
