"""Process of our side: ``python -m … <JSON>``; see :mod:`ocr_pipeline.benchmarks.loader`."""

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ocr_pipeline.benchmarks.interleave import protocol, serve_steps
from ocr_pipeline.benchmarks.pausing import DrawnBatches
from ocr_pipeline.paddle_environment import keep_freed_memory

_SEED = 1024
_TIMEOUT_S = 3600.0
"""For one sample: a worker that stands still in the other side's turn does not hang."""
_WIDTH = 320


def main() -> None:
    """Build the pipeline that the argument describes and draw batches."""
    values = json.loads(sys.argv[1])
    keep_freed_memory()  # as the command line does
    with protocol() as answers:
        drawn = DrawnBatches(build(values), count=values["batches"], steps=values["steps"])
        serve_steps(drawn.step, {"shapes": drawn.shapes()}, answers)


def build(values: dict[str, Any]) -> Generator[tuple[Any, ...], None, None]:
    """Endless batches, pictures first.

    Args:
        values: task, dataset, heights, batch, workers.
    """
    from ocr_pipeline.artifacts.dataset import Dataset
    from ocr_pipeline.config.loader import LoaderConfig

    dataset = Dataset.load(Path(values["dataset"]))
    heights = values["heights"] if len(values["heights"]) > 1 else []
    config = LoaderConfig(workers=values["workers"], heights=heights, sample_timeout_s=_TIMEOUT_S)
    if values["task"] == "det":
        return _pages(dataset, values["batch"], config)
    return _lines(dataset, values["batch"], config)


def _lines(dataset: Any, batch: int, config: Any) -> Generator[tuple[Any, ...], None, None]:
    from ocr_pipeline.config.image import RecImageSpec
    from ocr_pipeline.config.rec_augment import RecAugmentConfig
    from ocr_pipeline.training.rec_loader import RecLoader

    loader = RecLoader(
        dataset,
        image=RecImageSpec(min_width=_WIDTH, max_width=_WIDTH),  # long lines are squeezed, as there
        augment=RecAugmentConfig(preset="released"),
        batch=batch,
        seed=_SEED,
        config=config,
    )
    for made in loader.from_step(0):
        yield made.images, made.labels, made.label_lengths


def _pages(dataset: Any, batch: int, config: Any) -> Generator[tuple[Any, ...], None, None]:
    from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
    from ocr_pipeline.config.image import DetImageSpec
    from ocr_pipeline.training.det_loader import DetLoader

    loader = DetLoader(
        dataset,
        image=DetImageSpec(),
        augment=DetAugmentConfig(preset="v4"),
        target=DBTargetConfig(),
        batch=batch,
        steps=100_000,
        seed=_SEED,
        config=config,
    )
    for made in loader.from_step(0):
        yield made.images, made.maps


if __name__ == "__main__":
    main()
