"""Batches of text lines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from paddle import Tensor

from ocr_pipeline.artifacts.dataset import Dataset, Split
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.rec_augment import RecAugmentConfig
from ocr_pipeline.ops.rec_augment import (
    augment_line,
    concat_count,
    concat_lines,
    plan_concat,
)
from ocr_pipeline.ops.resize import fit_line, rec_widths
from ocr_pipeline.training.batch_plan import BatchPlan, Scale
from ocr_pipeline.training.loader import Arrays, Draw, Loader, Partners, own_samples, weights_of

Line = tuple[NDArray[np.float32], list[int]]
"""Network input ``[3, H, W]`` of one line, and its classes."""


@dataclass(frozen=True)
class RecBatch:
    """Lines of one width and height.

    Attributes:
        images: ``[N, 3, H, W]`` float32, normalised.
        labels: ``[N, L]`` int32 class indices, padded with 0.
        label_lengths: ``[N]`` int64.
        share: see :class:`~ocr_pipeline.training.batch_plan.Planned`.
    """

    images: Tensor
    labels: Tensor
    label_lengths: Tensor
    share: float = 1.0


class RecLoader:
    """Endless batches of augmented lines, bucketed by width.

    Args:
        dataset: made by ``prepare``.
        split: part of it.
        image: input rule.
        augment: None for pictures as they are.
        batch: lines per batch and process at the input rule's height; the last one of a width may
            be smaller. At another height of ``config.heights`` there are as many as keep the
            number of pixels.
        seed: decides order and augmentation.
        config: workers, heights, shards.
        rank, world: this process and their number.

    Raises:
        TrainingError: fewer lines than processes, or too little shared memory for the workers.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        image: RecImageSpec,
        augment: RecAugmentConfig | None,
        batch: int,
        seed: int,
        config: LoaderConfig,
        split: Split = "train",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        samples = dataset.lines(split)
        buckets = rec_widths(samples.column("height"), samples.column("width"), image)
        own = own_samples(dataset, split, config, rank=rank, world=world)
        if own is not None:
            buckets, rank, world = buckets[own], 0, 1
        heights = config.heights or [image.height]
        scales = [Scale(h, max(1, round(batch * image.height / h))) for h in heights]
        weights = weights_of(dataset, samples.column("source"), own)
        plan = BatchPlan(
            buckets,
            weights=weights,
            scales=scales,
            seed=seed,
            rank=rank,
            world=world,
        )
        items = RecItems(
            dataset, split, image=image, augment=augment, seed=seed, own=own, weights=weights
        )
        self._loader = Loader(
            items,
            plan,
            workers=config.workers,
            batch_bytes=batch * 3 * image.height * int(buckets.max()) * 4,
            sample_timeout_s=config.sample_timeout_s,
        )

    def steps_per_epoch(self) -> int:
        """Number of batches that show each sample as often as its source's weight says."""
        return self._loader.plan.steps_per_epoch()

    def from_step(self, step: int) -> Iterator[RecBatch]:
        """Yield the batches of step ``step``, ``step + 1``, ... for ever.

        Raises:
            DataError: a picture cannot be read (named).
            TrainingError: a worker died or hangs (its picture named).
        """
        plans = self._loader.plan.from_step(step)
        for planned, tensors in zip(plans, self._loader.from_step(step), strict=True):
            images, labels, lengths = tensors
            yield RecBatch(images, labels, lengths, planned.share)


class RecItems:
    """Reads, changes and encodes lines; see :class:`~ocr_pipeline.training.loader.Items`.

    The chance of a sample follows from (seed, its number, step).
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        image: RecImageSpec,
        augment: RecAugmentConfig | None,
        seed: int,
        own: NDArray[np.int32] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._samples = dataset.lines(split)
        self._pictures = dataset.pictures(split)
        self._charset = dataset.characters()
        self._image = image
        self._augment = augment
        self._seed = seed
        self._own = own
        self._partners = Partners(len(self._samples) if own is None else len(own), weights)

    def batch(self, draws: Sequence[Draw], begin: Callable[[int], None]) -> Arrays:
        """Lines of one width; labels are padded with 0."""
        images = np.empty((len(draws), 3, draws[0].size, draws[0].bucket), dtype=np.float32)
        labels = []
        for row, draw in enumerate(draws):
            images[row], label = self._make(draw, begin)
            labels.append(label)
        lengths = np.array([len(label) for label in labels], dtype=np.int64)
        padded = np.zeros((len(draws), int(lengths.max())), dtype=np.int32)
        for row, label in enumerate(labels):
            padded[row, : len(label)] = label
        return images, padded, lengths

    def _make(self, draw: Draw, begin: Callable[[int], None]) -> Line:
        """One line at the drawn height, in the width of its bucket.

        The bucket is the one of the picture as it is on disk; augmentation does not change it.
        """
        number = self._number(draw.index)
        if self._augment is None:
            begin(number)
            sample = self._samples[number]
            picture = self._pictures.read(sample)
            return fit_line(picture, draw.size, draw.bucket), self._charset.encode(sample.text)
        random = np.random.default_rng([self._seed, number, draw.step, draw.place])
        numbers = self._joined(draw, self._augment, random)
        lines, pictures = [], []
        for one in numbers:
            begin(one)
            lines.append(self._samples[one])
            pictures.append(self._pictures.read(lines[-1]))
        picture = pictures[0] if len(pictures) == 1 else concat_lines(pictures, draw.size)
        changed = augment_line(
            picture, self._augment, random, height=draw.size, max_width=draw.bucket
        )
        label = [index for line in lines for index in self._charset.encode(line.text)]
        return fit_line(changed, draw.size, draw.bucket), label

    def _joined(
        self, draw: Draw, config: RecAugmentConfig, random: np.random.Generator
    ) -> list[int]:
        """Numbers of the drawn line and of those to its right: as many as fit into its bucket."""
        numbers = [self._number(draw.index)]
        numbers += [
            self._number(self._partners.draw(random)) for _ in range(concat_count(config, random))
        ]
        if len(numbers) == 1:
            return numbers
        lines = [self._samples[number] for number in numbers]
        fitting = plan_concat(
            [max(1, ceil(draw.size * line.width / line.height)) for line in lines],
            [2 * len(line.text) for line in lines],  # time steps that a label needs at most
            max_width=draw.bucket,
            max_length=draw.bucket // self._image.time_stride,
        )
        return [numbers[position] for position in fitting]

    def where(self, index: int) -> str:
        """Path of a line's picture."""
        return self._pictures.where(self._samples[index])

    def _number(self, index: int) -> int:
        return index if self._own is None else int(self._own[index])
