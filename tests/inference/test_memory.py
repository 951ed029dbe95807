"""Thousands of pictures of all sizes through one reader: its memory stays."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.golden import golden_lines
from tests.conftest import ExportedPair

_STATUS = Path("/proc/self/status")
_GROWTH = 1.03


def held_mb() -> float:
    """Memory of this process without pages of files: those come and go with what others need."""
    gc.collect()
    [line] = [row for row in _STATUS.read_text().splitlines() if row.startswith("RssAnon:")]
    return int(line.split()[1]) / 1024


def random_pictures(count: int) -> Iterator[BGRImage]:
    """Sides of 32 to 640 px; lines of text where they fit, each cut to a random length."""
    random = np.random.default_rng(0)
    lines = golden_lines()
    for _ in range(count):
        height, width = random.integers(32, 641, 2)
        page = np.full((height, width, 3), 245, dtype=np.uint8)
        for top in range(0, height - 48, int(random.integers(60, 200))):
            line = lines[int(random.integers(len(lines)))][
                :, : int(random.integers(40, width + 40))
            ]
            line = line[:, :width]
            page[top : top + 48, : line.shape[1]] = line
        yield page


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("variant", ["paddle-fp32", "openvino-fp32", "openvino-bf16"])
@pytest.mark.parametrize(
    ("count", "warm_up"),
    [
        pytest.param(600, 300, marks=pytest.mark.slow),
        pytest.param(10_000, 1_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_memory_stays_whatever_the_sizes_of_pictures(
    exported_tiny: ExportedPair, variant: str, count: int, warm_up: int
) -> None:
    held = ExportedModel.load(exported_tiny.det).card.backends
    if variant not in held:
        pytest.skip(f"the stock model is not exported as {variant} here")
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec, EngineConfig(variant=variant))
    warm, lines = 0.0, 0
    for number, page in enumerate(reader.read_many(random_pictures(count))):
        lines += len(page.lines)
        if number + 1 == warm_up:
            warm = held_mb()
    assert lines > count
    assert held_mb() <= _GROWTH * warm
