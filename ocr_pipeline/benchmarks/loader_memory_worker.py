"""The measured process of :mod:`ocr_pipeline.benchmarks.loader_memory`."""

import json
import resource
import sys
import time
from itertools import islice
from pathlib import Path

import paddle

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.rec_augment import RecAugmentConfig
from ocr_pipeline.training.rec_loader import RecLoader

_BATCH = 16


def main() -> None:
    """Load the dataset in ``argv[1]``, draw ``argv[2]`` batches, print figures as JSON."""
    folder, batches, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    paddle.ones([1])
    before = _resident_mb()
    started = time.perf_counter()
    loader = RecLoader(
        Dataset.load(folder / "set"),
        image=RecImageSpec(),
        augment=RecAugmentConfig(),
        batch=_BATCH,
        seed=0,
        config=LoaderConfig(workers=workers),
    )
    stream = loader.from_step(0)
    next(stream)
    start_s = time.perf_counter() - started
    for _ in islice(stream, batches):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"start_s": start_s, "before_mb": before, "after_mb": _resident_mb()}
    sys.stdout.write(json.dumps({**figures, "peak_mb": peak}) + "\n")


def _resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
