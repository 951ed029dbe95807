"""``python soak.py DETECTOR RECOGNIZER VARIANT COUNT EVERY``: read pictures of all sizes.

Prints the memory held, in MB, after every so many pictures; at the end the number of lines.
"""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.golden import golden_lines
from ocr_pipeline.paddle_environment import keep_large_blocks_apart, set_paddle_environment

_STATUS = Path("/proc/self/status")


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
            line = lines[int(random.integers(len(lines)))]
            line = line[:, : int(random.integers(40, width + 40))][:, :width]
            page[top : top + 48, : line.shape[1]] = line
        yield page


def main(detector: str, recognizer: str, variant: str, count: str, every: str) -> None:
    """See the head of this file."""
    set_paddle_environment()
    keep_large_blocks_apart()
    reader = OcrReader.load(detector, recognizer, EngineConfig(variant=variant))
    lines = 0
    for number, page in enumerate(reader.read_many(random_pictures(int(count))), start=1):
        lines += len(page.lines)
        if number % int(every) == 0:
            print(f"{held_mb():.1f}", flush=True)
    print(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
