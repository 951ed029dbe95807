"""What a loader costs the training process: memory and start-up, on lists of very different sizes.

Each size is measured in a process of its own, on a list that is generated: all lines show one of a
few pictures, so that only their number differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, SourceCard
from ocr_pipeline.errors import TrainingError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.paddle_environment import paddle_environment

_PICTURES = 64
_DIGITS = "0123456789"


class MemoryResult(NamedTuple):
    """One size.

    Attributes:
        lines: of the list.
        start_s: from the call that loads the dataset to the first batch, s.
        before_mb: resident memory before that, with Paddle imported, MB.
        after_mb: after all batches.
        peak_mb: at most, of the whole process.
    """

    lines: int
    start_s: float
    before_mb: float
    after_mb: float
    peak_mb: float


def run_loader_memory(sizes: Sequence[int], *, batches: int, workers: int) -> list[MemoryResult]:
    """Measure lists of the given sizes, one after the other.

    Raises:
        TrainingError: a measuring process fails (with its last words).
    """
    results = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="loader-memory-") as scratch:
            _write(Path(scratch), size)
            command = [sys.executable, "-m", f"{__package__}.loader_memory_worker", scratch]
            done = subprocess.run(
                [*command, str(batches), str(workers)],
                env={**os.environ, **paddle_environment()},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise TrainingError(f"measuring {size:,} lines failed: {done.stderr[-2000:]}")
            results.append(MemoryResult(size, **json.loads(done.stdout.splitlines()[-1])))
    return results


def _write(folder: Path, lines: int) -> None:
    random = np.random.default_rng(0)
    for number in range(_PICTURES):
        picture = random.integers(0, 255, (32, 90 + 3 * number, 3), np.uint8)
        content = cv2.imencode(".jpg", picture)[1].tobytes()
        (folder / f"{number}.jpg").write_bytes(content)

    def samples() -> Iterator[RecSample]:
        for number in range(lines):
            width = 90 + 3 * (number % _PICTURES)
            yield RecSample(f"{number % _PICTURES}.jpg", f"{number:08d}", 32, width)

    Dataset.write(
        folder / "set",
        task="rec",
        sources=[SourceCard(name="generated", images=str(folder))],
        splits={"train": samples(), "val": []},
        charset=Charset(list(_DIGITS)),
        config={},
        made_by={},
    )
