"""Batches of pages with the maps that a DB detector is trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from ocr_pipeline.artifacts.dataset import Dataset, Split
from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.ops.db_targets import MAPS, db_targets, shrink_ratio_at
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_augment import AugmentedPage, augment_page, fit_page
from ocr_pipeline.ops.det_copy_paste import cut_donors
from ocr_pipeline.ops.resize import normalisation
from ocr_pipeline.training.batch_plan import BatchPlan, Scale
from ocr_pipeline.training.loader import Arrays, Draw, Loader, Partners, own_samples, weights_of

_BYTES = 8
"""Bytes a pixel between processes: 3 of the picture, 3 flags, 2 of the threshold map."""
_FLAGS = [0, 1, 3]
"""Maps of two values."""
_LEVELS = 30_000
"""Steps of the threshold map."""


@dataclass(frozen=True)
class DetBatch:
    """Pages of one size.

    Attributes:
        images: ``[N, 3, S, S]`` float32, normalised.
        maps: ``[N, 4, S, S]`` float32: shrink map, shrink mask, threshold map, threshold mask; see
            :class:`~ocr_pipeline.ops.db_targets.DBTargets`.
        share: see :class:`~ocr_pipeline.training.batch_plan.Planned`.
    """

    images: Tensor
    maps: Tensor
    share: float = 1.0


class DetLoader:
    """Endless batches of augmented pages.

    Args:
        dataset: made by ``prepare`` with ``task=det``.
        split: part of it.
        image: normalisation.
        augment: kinds and strengths; None: pages are only fit into ``size``.
        target: of the maps.
        size: sides of the input where ``augment`` is None, px.
        batch: pages per batch and process.
        steps: of the whole training: the shrink ratio grows over them.
        seed: decides order and augmentation.
        config: workers, shards.
        rank, world: this process and their number.

    Raises:
        TrainingError: fewer pages than processes, or too little shared memory for the workers.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        image: DetImageSpec,
        augment: DetAugmentConfig | None,
        target: DBTargetConfig,
        batch: int,
        steps: int,
        seed: int,
        config: LoaderConfig,
        split: Split = "train",
        size: int = 640,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        side = size if augment is None else augment.size
        self._image = image
        pages = dataset.pages(split)
        own = own_samples(dataset, split, config, rank=rank, world=world)
        if own is not None:
            rank, world = 0, 1
        count = len(pages) if own is None else len(own)
        weights = weights_of(dataset, pages.column("source"), own)
        plan = BatchPlan(
            np.full(count, side, dtype=np.int32),
            weights=weights,
            scales=[Scale(side, batch)],
            seed=seed,
            rank=rank,
            world=world,
        )
        items = DetItems(
            dataset,
            split,
            augment=augment,
            target=target,
            steps=steps,
            seed=seed,
            own=own,
            weights=weights,
        )
        self._loader = Loader(
            items,
            plan,
            workers=config.workers,
            batch_bytes=batch * _BYTES * side * side,
            sample_timeout_s=config.sample_timeout_s,
        )

    def steps_per_epoch(self) -> int:
        """Number of batches that show each page as often as its source's weight says."""
        return self._loader.plan.steps_per_epoch()

    def from_step(self, step: int) -> Iterator[DetBatch]:
        """Yield the batches of step ``step``, ``step + 1``, ... for ever.

        Raises:
            DataError: a picture cannot be read (named).
            TrainingError: a worker died or hangs (its picture named).
        """
        plans = self._loader.plan.from_step(step)
        for planned, tensors in zip(plans, self._loader.from_step(step), strict=True):
            images, flags, levels = tensors
            yield unpack(images, flags, levels, self._image, share=planned.share)


def unpack(
    images: Tensor, flags: Tensor, levels: Tensor, spec: DetImageSpec, *, share: float = 1.0
) -> DetBatch:
    """Make float32 of what the workers send: bytes between processes cost more than the arithmetic.

    Done by numpy: on CPU, Paddle's broadcasting and concatenation take many times as long.

    Args:
        images: ``[N, 3, S, S]`` uint8.
        flags: ``[N, 3, S, S]`` uint8, 0 or 1: shrink map, shrink mask, threshold mask.
        levels: ``[N, S, S]`` int16: threshold map times 30,000.
        spec: normalisation.
        share: of the batch.
    """
    pixels = np.empty(images.shape, dtype=np.float32)
    maps = np.empty((len(images), MAPS, *images.shape[2:]), dtype=np.float32)
    scale, shift = normalisation(spec)
    bytes_of, flags_of, levels_of = images.numpy(), flags.numpy(), levels.numpy()
    for row in range(len(pixels)):
        for channel in range(3):
            np.multiply(bytes_of[row, channel], scale[channel], out=pixels[row, channel])
            pixels[row, channel] -= shift[channel]
            maps[row, _FLAGS[channel]] = flags_of[row, channel]
        np.multiply(levels_of[row], np.float32(1 / _LEVELS), out=maps[row, 2])
    return DetBatch(paddle.to_tensor(pixels), paddle.to_tensor(maps), share)


class DetItems:
    """Reads and changes pages and draws their maps; see :class:`~.loader.Items`.

    The chance of a page follows from (seed, its number, step).
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        augment: DetAugmentConfig | None,
        target: DBTargetConfig,
        steps: int,
        seed: int,
        own: NDArray[np.int32] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._samples = dataset.pages(split)
        self._pictures = dataset.pictures(split)
        self._augment = augment
        self._pasted = 0.0
        if augment is not None:
            # Whether a page gets donors is drawn here: where it gets none, no other page is read.
            self._pasted = augment.copy_paste.probability
            always = augment.copy_paste.model_copy(update={"probability": 1.0})
            self._augment = augment.model_copy(update={"copy_paste": always})
        self._target = target
        self._steps = steps
        self._seed = seed
        self._own = own
        self._partners = Partners(len(self._samples) if own is None else len(own), weights)

    def batch(self, draws: Sequence[Draw], begin: Callable[[int], None]) -> Arrays:
        """Pages and their maps, at the shrink ratio of their step, as few bytes: see ``unpack``."""
        side = draws[0].size
        images = np.empty((len(draws), 3, side, side), dtype=np.uint8)
        flags = np.empty((len(draws), 3, side, side), dtype=np.uint8)
        levels = np.empty((len(draws), side, side), dtype=np.int16)
        maps = np.empty((MAPS, side, side), dtype=np.float32)
        ratio = shrink_ratio_at(min(1.0, draws[0].step / self._steps), self._target)
        for row, draw in enumerate(draws):
            page = self._page(draw, begin)
            for channel in range(3):
                cv2.extractChannel(page.image, channel, images[row, channel])
            db_targets(page.points, page.ignore, (side, side), self._target, ratio, out=maps)
            flags[row] = maps[_FLAGS]
            np.rint(maps[2] * _LEVELS, out=maps[2])
            levels[row] = maps[2]
        return images, flags, levels

    def _page(self, draw: Draw, begin: Callable[[int], None]) -> AugmentedPage:
        number = self._number(draw.index)
        begin(number)
        sample = self._samples[number]
        picture = self._pictures.read(sample)
        if self._augment is None:
            return fit_page(picture, sample.regions, draw.size)
        random = np.random.default_rng([self._seed, number, draw.step, draw.place])
        donors = self._donors(self._augment, random, begin)
        return augment_page(picture, sample.regions, self._augment, random, donors)

    def _donors(
        self, config: DetAugmentConfig, random: np.random.Generator, begin: Callable[[int], None]
    ) -> list[BGRImage]:
        """Texts of another page; none where copy-paste is off."""
        if random.random() >= self._pasted:
            return []
        number = self._number(self._partners.draw(random))
        begin(number)
        other = self._samples[number]
        outlines = [np.array(region.points, dtype=np.float32) for region in other.regions]
        ignore = [region.ignore for region in other.regions]
        return cut_donors(self._pictures.read(other), outlines, ignore, config.copy_paste, random)

    def where(self, index: int) -> str:
        """Path of a page's picture."""
        return self._pictures.where(self._samples[index])

    def _number(self, index: int) -> int:
        return index if self._own is None else int(self._own[index])
