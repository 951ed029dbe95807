"""Thousands of pictures of all sizes through one reader: its memory stays.

In a process of its own, with the allocator as the service has it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from ocr_pipeline.artifacts.exported import ExportedModel
from tests.conftest import ExportedPair

_SOAK = Path(__file__).with_name("soak.py")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("variant", ["openvino-fp32", "openvino-bf16"])
@pytest.mark.parametrize(
    ("count", "every", "growth"),
    [
        # Still warming up: a leak of one picture each would add a fourth.
        pytest.param(600, 300, 1.15, marks=pytest.mark.slow),
        # The aim. Not reached: up to 6 % at moments, 2 % at the end, above that at 1,000 pictures.
        pytest.param(
            10_000,
            1_000,
            1.03,
            marks=[pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(3600)],
        ),
    ],
)
def test_memory_stays_whatever_the_sizes_of_pictures(
    exported_tiny: ExportedPair, variant: str, count: int, every: int, growth: float
) -> None:
    if variant not in ExportedModel.load(exported_tiny.det).card.backends:
        pytest.skip(f"the stock model is not exported as {variant} here")
    words = [exported_tiny.det, exported_tiny.rec, variant, count, every]
    done = subprocess.run(
        [sys.executable, str(_SOAK), *map(str, words)], capture_output=True, text=True, check=True
    )
    *held, lines = map(float, done.stdout.split())
    assert len(held) == count // every
    assert lines > count
    assert max(held) <= growth * held[0]
