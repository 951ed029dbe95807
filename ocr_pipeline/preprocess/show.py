"""Contact sheets of a dataset: what the labels look like before and after augmentation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ocr_pipeline.artifacts.dataset import Dataset, DetSample, RecSample, Split
from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.rec_augment import RecAugmentConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.contact_sheet import (
    DetCell,
    DetPanel,
    RecCell,
    det_sheet,
    rec_sheet,
    target_overlay,
)
from ocr_pipeline.ops.db_targets import db_targets
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_augment import augment_page
from ocr_pipeline.ops.rec_augment import augment_line

_LINE_HEIGHT = 48
_AUGMENTED_LINES = 2


def show_lines(
    dataset: Dataset,
    split: Split,
    *,
    count: int,
    seed: int,
    augment: RecAugmentConfig | None,
    font: Path | None,
) -> BGRImage:
    """Draw lines chosen by ``seed`` with their labels; below each, as often as augmented.

    Returns:
        ``[H, 1600, 3]`` uint8 BGR.

    Raises:
        ArtifactError: this is a detection dataset.
        DataError: the part holds no sample, or a picture cannot be read.
    """
    samples = dataset.lines(split)
    read = dataset.pictures(split).read
    cells = []
    for number in _chosen(len(samples), count, seed, dataset, split):
        sample = samples[number]
        picture = read(sample)
        views = [picture]
        if augment is not None:
            for turn in range(_AUGMENTED_LINES):
                random = np.random.default_rng([seed, number, turn])
                views.append(augment_line(picture, augment, random, height=_LINE_HEIGHT))
        cells.append(RecCell(tuple(views), sample.text, number, _source(dataset, sample)))
    return rec_sheet(cells, font, title=_title(dataset, split, len(cells)))


def show_pages(
    dataset: Dataset,
    split: Split,
    *,
    count: int,
    seed: int,
    augment: DetAugmentConfig | None,
    font: Path | None,
) -> BGRImage:
    """Draw pages chosen by ``seed`` with their regions; beside each, augmented, and its targets.

    Returns:
        ``[H, 1600, 3]`` uint8 BGR.

    Raises:
        ArtifactError: this is a recognition dataset.
        DataError: the part holds no sample, or a picture cannot be read.
    """
    samples = dataset.pages(split)
    read = dataset.pictures(split).read
    cells = []
    for number in _chosen(len(samples), count, seed, dataset, split):
        sample = samples[number]
        picture = read(sample)
        panels = [DetPanel(picture, sample.regions, "as labelled")]
        if augment is not None:
            random = np.random.default_rng([seed, number])
            panels += _augmented(picture, sample, augment, random)
        cells.append(DetCell(tuple(panels), number, sample.image))
    return det_sheet(cells, font, title=_title(dataset, split, len(cells)))


def _augmented(
    picture: BGRImage, sample: DetSample, config: DetAugmentConfig, random: np.random.Generator
) -> list[DetPanel]:
    """The page as it is trained on, and what the detector shall say to it."""
    page = augment_page(picture, sample.regions, config, random)
    target = DBTargetConfig()
    size = (config.size, config.size)
    drawn = db_targets(page.points, page.ignore, size, target, target.shrink_start)
    shrink, mask, threshold, _ = drawn.maps
    overlay = target_overlay(page.image, shrink, threshold, mask)
    return [DetPanel(page.image, (), "augmented"), DetPanel(overlay, (), "targets")]


def _chosen(count: int, wanted: int, seed: int, dataset: Dataset, split: Split) -> Sequence[int]:
    if not count:
        raise DataError(f"{dataset.folder}: its part {split!r} holds no sample")
    random = np.random.default_rng(seed)
    numbers: list[int] = sorted(random.choice(count, min(wanted, count), replace=False).tolist())
    return numbers


def _source(dataset: Dataset, sample: RecSample) -> str:
    sources = dataset.manifest.sources
    return sources[sample.source].name if len(sources) > 1 else ""


def _title(dataset: Dataset, split: Split, shown: int) -> str:
    return f"{dataset.folder.name}: {shown} of {dataset.manifest.counts[split]:,} in {split}"
