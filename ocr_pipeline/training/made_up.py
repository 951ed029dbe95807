"""Batches of noise in the shapes of real ones: to learn what a step takes without any labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.ops.charset import BLANK
from ocr_pipeline.ops.db_targets import MAPS
from ocr_pipeline.training.det_loader import DetBatch
from ocr_pipeline.training.rec_loader import RecBatch
from ocr_pipeline.training.stepper import Task


@dataclass(frozen=True)
class Subject:
    """What can be trained, before there need be any data.

    Attributes:
        task: with the network.
        largest: number of samples -> a batch of the largest shape that training will meet.
        typical: the same of a shape in the middle.
        shapes: of a sample of both, for a person.
        train, val: samples of the dataset; None: there is none yet.
    """

    task: Task[Any]
    largest: Callable[[int], Any]
    typical: Callable[[int], Any]
    shapes: tuple[str, str]
    train: int | None
    val: int | None


def made_lines(count: int, *, width: int, image: RecImageSpec, classes: int) -> RecBatch:
    """Lines of noise.

    Args:
        count: of lines.
        width: of the input, px.
        image: input rule.
        classes: of the network.
    """
    random = np.random.default_rng(0)
    longest = max(1, width // image.time_stride // 4)  # what Chinese print has, about
    labels = random.integers(BLANK + 1, classes, (count, longest), dtype=np.int32)
    return RecBatch(
        paddle.to_tensor(_noise(random, (count, 3, image.height, width))),
        paddle.to_tensor(labels),
        paddle.full([count], longest, dtype="int64"),
    )


def made_pages(count: int, *, side: int) -> DetBatch:
    """Pages of noise, half of which is text.

    Args:
        count: of pages.
        side: of the input, px.
    """
    random = np.random.default_rng(0)
    maps = (random.random((count, MAPS, side, side)) < 0.5).astype(np.float32)
    maps[:, 1] = maps[:, 3] = 1.0  # the masks: look everywhere
    return DetBatch(
        paddle.to_tensor(_noise(random, (count, 3, side, side))), paddle.to_tensor(maps)
    )


def _noise(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return random.random(shape, dtype=np.float32) * 2 - 1
