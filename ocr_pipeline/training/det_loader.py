"""Batches of pages with the maps that a DB detector is trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from paddle import Tensor

from ocr_pipeline.artifacts.dataset import Dataset, DetSample, Split
from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.ops.db_targets import db_targets, shrink_ratio_at
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_augment import fit_page
from ocr_pipeline.ops.det_copy_paste import cut_donors
from ocr_pipeline.ops.det_item import det_training_item
from ocr_pipeline.ops.resize import normalise_page
from ocr_pipeline.training.batch_plan import BatchPlan, Scale
from ocr_pipeline.training.loader import Arrays, Draw, Loader, own_samples, weights_of

_PLANES = 7
"""Float planes a page: 3 of the picture, 4 maps."""


@dataclass(frozen=True)
class DetBatch:
    """Pages of one size.

    Attributes:
        images: ``[N, 3, S, S]`` float32, normalised.
        maps: ``[N, 4, S, S]`` float32: shrink map, shrink mask, threshold map, threshold mask; see
            :class:`~ocr_pipeline.ops.db_targets.DBTargets`.
    """

    images: Tensor
    maps: Tensor


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
        pages = dataset.pages(split)
        own = own_samples(dataset, split, config, rank=rank, world=world)
        if own is not None:
            rank, world = 0, 1
        count = len(pages) if own is None else len(own)
        plan = BatchPlan(
            np.full(count, side, dtype=np.int32),
            weights=weights_of(dataset, pages.column("source"), own),
            scales=[Scale(side, batch)],
            seed=seed,
            rank=rank,
            world=world,
        )
        items = DetItems(
            dataset,
            split,
            image=image,
            augment=augment,
            target=target,
            steps=steps,
            seed=seed,
            own=own,
        )
        self._loader = Loader(
            items,
            plan,
            workers=config.workers,
            batch_bytes=batch * _PLANES * side * side * 4,
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
        for images, maps in self._loader.from_step(step):
            yield DetBatch(images, maps)


class DetItems:
    """Reads and changes pages and draws their maps; see :class:`~.loader.Items`.

    The chance of a page follows from (seed, its number, step).
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        image: DetImageSpec,
        augment: DetAugmentConfig | None,
        target: DBTargetConfig,
        steps: int,
        seed: int,
        own: NDArray[np.int32] | None = None,
    ) -> None:
        self._samples = dataset.pages(split)
        self._pictures = dataset.pictures(split)
        self._image = image
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
        self._count = len(self._samples) if own is None else len(own)

    def batch(self, draws: Sequence[Draw], begin: Callable[[int], None]) -> Arrays:
        """Pages and their maps, at the shrink ratio of their step."""
        side = draws[0].size
        images = np.empty((len(draws), 3, side, side), dtype=np.float32)
        maps = np.empty((len(draws), 4, side, side), dtype=np.float32)
        ratio = shrink_ratio_at(min(1.0, draws[0].step / self._steps), self._target)
        for row, draw in enumerate(draws):
            begin(draw.index)
            sample = self._sample(draw.index)
            picture = self._pictures.read(sample)
            out = (images[row], maps[row])
            if self._augment is None:
                page = fit_page(picture, sample.regions, side)
                normalise_page(page.image, self._image, out=out[0])
                size = (side, side)
                db_targets(page.points, page.ignore, size, self._target, ratio, out=out[1])
                continue
            random = np.random.default_rng([self._seed, draw.index, draw.step])
            det_training_item(
                picture,
                sample.regions,
                augment=self._augment,
                targets=self._target,
                spec=self._image,
                shrink_ratio=ratio,
                random=random,
                donors=self._donors(self._augment, random),
                out=out,
            )
        return images, maps

    def _donors(self, config: DetAugmentConfig, random: np.random.Generator) -> list[BGRImage]:
        """Texts of another page; none where copy-paste is off."""
        if random.random() >= self._pasted:
            return []
        other = self._sample(int(random.integers(self._count)))
        outlines = [np.array(region.points, dtype=np.float32) for region in other.regions]
        ignore = [region.ignore for region in other.regions]
        return cut_donors(self._pictures.read(other), outlines, ignore, config.copy_paste, random)

    def where(self, index: int) -> str:
        """Path of a page's picture."""
        return self._pictures.where(self._sample(index))

    def _sample(self, index: int) -> DetSample:
        return self._samples[index if self._own is None else int(self._own[index])]
