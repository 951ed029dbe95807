"""Batches of text lines: the same ones for the same seed, from any step on."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import Tensor
from paddle.io import DataLoader, Dataset

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.train import RecAugmentConfig
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.ops.rec_augment import augment_line
from ocr_pipeline.ops.resize import rec_input, rec_width

Draw = tuple[int, int]
"""(index of the sample, epoch)."""


@dataclass(frozen=True)
class RecBatch:
    """Lines of one width.

    Attributes:
        images: ``[N, 3, H, W]`` float32, normalised.
        labels: ``[N, L]`` int32 class indices, padded with 0.
        label_lengths: ``[N]`` int64.
    """

    images: Tensor
    labels: Tensor
    label_lengths: Tensor


class LineBatches:
    """Endless batches of augmented lines, bucketed by width.

    Args:
        samples: the training part.
        image_root: folder of the pictures.
        charset: encodes the labels.
        image: input rule.
        augment: None for pictures as they are.
        batch: lines per batch; the last one of a width may be smaller.
        seed: decides order and augmentation.
        workers: processes; the batches do not depend on their number.
    """

    def __init__(
        self,
        samples: Sequence[RecSample],
        *,
        image_root: Path,
        charset: Charset,
        image: RecImageSpec,
        augment: RecAugmentConfig | None,
        batch: int,
        seed: int,
        workers: int,
    ) -> None:
        self._lines = _Lines(samples, image_root, charset, image, augment, seed)
        self._widths = [rec_width(s.height, s.width, image)[1] for s in samples]
        self._batch = batch
        self._seed = seed
        self._workers = workers

    def steps_per_epoch(self) -> int:
        """Number of batches that show each sample once."""
        return len(self._epoch(0))

    def from_step(self, step: int) -> Iterator[RecBatch]:
        """Yield the batches of step ``step``, ``step + 1``, ... for ever."""
        epoch, skip = divmod(step, self.steps_per_epoch())
        while True:
            loader = DataLoader(
                self._lines,
                batch_sampler=self._epoch(epoch)[skip:],
                collate_fn=_collate,
                num_workers=self._workers,
                return_list=False,
                use_buffer_reader=False,
            )
            for images, labels, lengths in loader:
                yield RecBatch(images, labels, lengths)
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int) -> list[list[Draw]]:
        random = np.random.default_rng([self._seed, epoch])
        open_batches: dict[int, list[Draw]] = defaultdict(list)
        full: list[list[Draw]] = []
        for index in random.permutation(len(self._lines)).tolist():
            bucket = open_batches[self._widths[index]]
            bucket.append((index, epoch))
            if len(bucket) == self._batch:
                full.append(open_batches.pop(self._widths[index]))
        batches = full + list(open_batches.values())
        return [batches[number] for number in random.permutation(len(batches)).tolist()]


class _Lines(Dataset):
    """Reads, changes and encodes one sample at a time; chance follows from (seed, epoch, index)."""

    def __init__(
        self,
        samples: Sequence[RecSample],
        image_root: Path,
        charset: Charset,
        image: RecImageSpec,
        augment: RecAugmentConfig | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.image_root = image_root
        self.charset = charset
        self.image = image
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[NDArray[np.float32], list[int]]:
        index, epoch = draw
        sample = self.samples[index]
        picture = read_image(self.image_root / sample.image)
        if self.augment is not None:
            random = np.random.default_rng([self.seed, epoch, index])
            picture = augment_line(picture, self.augment, random)
        # The bucket is the one of the picture as it is on disk; augmentation may not change it.
        array = rec_input(picture, self.image)
        bucket = rec_width(sample.height, sample.width, self.image)[1]
        return _fit_width(array, bucket), self.charset.encode(sample.text)


def _fit_width(array: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Pad with mid-grey, or squeeze, to ``width`` px."""
    _, height, found = array.shape
    if found == width:
        return array
    out = np.zeros((3, height, width), dtype=np.float32)
    if found < width:
        out[:, :, :found] = array
    else:
        columns = np.linspace(0, found - 1, width).round().astype(int)
        out[:] = array[:, :, columns]
    return out


def _collate(
    items: Sequence[tuple[NDArray[np.float32], list[int]]],
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
    lengths = np.array([len(label) for _, label in items], dtype=np.int64)
    labels = np.zeros((len(items), int(lengths.max())), dtype=np.int32)
    for row, (_, label) in zip(labels, items, strict=True):
        row[: len(label)] = label
    return np.stack([image for image, _ in items]), labels, lengths
