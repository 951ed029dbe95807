"""Batches of lines: what is read on one follows from it alone."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.golden import golden_lines
from tests.conftest import ExportedPair

CHARSET = Charset([chr(0x4E00 + number) for number in range(98)])
WAIT_S = 30


class CountingEngine:
    """Reads the grey of the first pixel as a character; keeps the shapes that it was given."""

    def __init__(self, lanes: int = 1) -> None:
        self._lanes = lanes
        self.shapes: list[tuple[int, ...]] = []
        self._all_here = threading.Barrier(lanes)

    @property
    def lanes(self) -> int:
        return self._lanes

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(images.shape)
        self._all_here.wait(WAIT_S)
        probs = np.zeros((len(images), images.shape[3] // 8, CHARSET.classes), dtype=np.float32)
        probs[:, 1:, 0] = 1
        for row, image in zip(probs, images, strict=True):
            row[0, 1 + round((float(image[0, 0, 0]) + 1) * 127.5) % 98] = 1
        return probs


def recognizer(engine: CountingEngine, batch: int) -> Recognizer:
    return Recognizer(
        engine, RecModelSpec(size="tiny", classes=CHARSET.classes), CHARSET, batch=batch
    )


def line(width: int, grey: int) -> BGRImage:
    return np.full((48, width, 3), grey, dtype=np.uint8)


def test_lines_come_back_in_order_from_batches_of_one_width() -> None:
    engine = CountingEngine()
    lines = [line(200 if grey % 3 else 400, grey) for grey in range(40)]
    read = recognizer(engine, 8).recognize(lines)
    assert [one.text for one in read] == [CHARSET.dictionary[grey] for grey in range(40)]
    assert {shape[3] for shape in engine.shapes} == {320, 448}
    assert sum(shape[0] for shape in engine.shapes) == 40


def test_batches_of_wider_lines_are_smaller() -> None:
    engine = CountingEngine()
    recognizer(engine, 8).recognize([line(width, 0) for width in (300, 640, 1600, 3200) * 16])
    largest = {width: 0 for _, _, _, width in engine.shapes}
    for count, _, _, width in engine.shapes:
        largest[width] = max(largest[width], count)
    assert largest == {320: 8, 640: 4, 1600: 1, 3200: 1}


def test_as_many_batches_run_at_once_as_the_engine_has_lanes() -> None:
    # Each call waits for the other: with one at a time neither would end.
    engine = CountingEngine(lanes=2)
    read = recognizer(engine, 1).recognize([line(100, grey) for grey in range(6)])
    assert [one.text for one in read] == list(CHARSET.dictionary[:6])


def test_no_line_gives_none() -> None:
    assert recognizer(CountingEngine(), 8).recognize([]) == []


def test_steps_of_a_line_leave_its_padding_out() -> None:
    reading = recognizer(CountingEngine(), 8)
    assert reading.steps(line(200, 0)) == 25
    assert reading.steps(line(400, 0)) == 50
    assert reading.steps(line(9000, 0)) == 400  # squeezed into the widest bucket


def random_lines(random: np.random.Generator, count: int) -> list[BGRImage]:
    """Golden lines, cut and toned anew each time."""
    lines = []
    for number in random.integers(0, 4, count):
        image = golden_lines()[number]
        end = int(random.integers(image.shape[1] // 3, image.shape[1]))
        part = image[:, :end].astype(np.float32) * random.uniform(0.6, 1)
        noise = random.normal(0, random.uniform(0, 25), part.shape)
        lines.append((part + noise).clip(0, 255).astype(np.uint8))
    return lines


@pytest.mark.parametrize("variant", ["paddle-fp32", "openvino-fp32", "openvino-bf16"])
@pytest.mark.parametrize("batches", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_what_is_read_on_a_line_does_not_depend_on_the_rest(
    exported_tiny: ExportedPair, variant: str, batches: int
) -> None:
    if variant not in ExportedModel.load(exported_tiny.rec).card.backends:
        pytest.skip(f"the stock model is not exported as {variant} here")
    config = EngineConfig(variant=variant)
    reading = OcrReader.load(exported_tiny.det, exported_tiny.rec, config).recognizer
    # One that is sure, one that is hardly read, one that is read upside-down too.
    random = np.random.default_rng(0)
    watched = [golden_lines()[0], *random_lines(random, 1), golden_lines()[1][::-1, ::-1].copy()]
    alone = [reading.recognize([image])[0] for image in watched]
    for _ in range(batches):
        others = random_lines(random, int(random.integers(0, 20)))
        places = random.choice(len(others) + 3, 3, replace=False)
        mixed = list(others)
        for place, image in sorted(zip(places.tolist(), watched, strict=True), key=lambda p: p[0]):
            mixed.insert(place, image)
        read = reading.recognize(mixed)
        for place, expected in zip(places, alone, strict=True):
            got = read[place]
            assert (got.text, got.turned) == (expected.text, expected.turned)
            assert got.confidence == pytest.approx(expected.confidence, abs=1e-6, rel=0)
