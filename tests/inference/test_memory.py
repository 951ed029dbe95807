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
_GROWTH = 1.03


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("variant", ["openvino-fp32", "openvino-bf16"])
@pytest.mark.parametrize(
    ("count", "every", "warm_up"),
    [
        pytest.param(600, 300, 0, marks=pytest.mark.slow),
        pytest.param(10_000, 1_000, 1, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_memory_stays_whatever_the_sizes_of_pictures(
    exported_tiny: ExportedPair, variant: str, count: int, every: int, warm_up: int
) -> None:
    """After ``(warm_up + 1) * every`` pictures it has warmed up."""
    if variant not in ExportedModel.load(exported_tiny.det).card.backends:
        pytest.skip(f"the stock model is not exported as {variant} here")
    words = [exported_tiny.det, exported_tiny.rec, variant, count, every]
    done = subprocess.run(
        [sys.executable, str(_SOAK), *map(str, words)], capture_output=True, text=True, check=True
    )
    *held, lines = map(float, done.stdout.split())
    assert len(held) == count // every
    assert lines > count
    assert max(held[warm_up:]) <= _GROWTH * held[warm_up]
