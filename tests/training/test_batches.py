from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.train import RecAugmentConfig
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.training.batches import LineBatches, RecBatch

CHARSET = Charset(list("0123456789"))
SPEC = RecImageSpec(min_width=96, width_step=96)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RecSample]]:
    folder = tmp_path_factory.mktemp("lines")
    found = []
    for number in range(11):
        width = 60 if number % 3 else 150
        picture = np.random.default_rng(number).integers(0, 255, (32, width, 3), np.uint8)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        found.append(RecSample(f"{number}.png", str(100 + number), 32, width))
    return folder, found


def batches(
    samples: tuple[Path, Sequence[RecSample]], *, workers: int = 0, seed: int = 3
) -> LineBatches:
    root, found = samples
    return LineBatches(
        found,
        image_root=root,
        charset=CHARSET,
        image=SPEC,
        augment=RecAugmentConfig(probability=0.8),
        batch=3,
        seed=seed,
        workers=workers,
    )


def texts(batch: RecBatch) -> list[str]:
    rows = zip(batch.labels.numpy(), batch.label_lengths.numpy(), strict=True)
    return [CHARSET.decode(row[:length].tolist()) for row, length in rows]


def same(a: RecBatch, b: RecBatch) -> bool:
    return texts(a) == texts(b) and np.array_equal(a.images.numpy(), b.images.numpy())


def test_an_epoch_shows_every_line_once_in_batches_of_one_width(
    samples: tuple[Path, list[RecSample]],
) -> None:
    loader = batches(samples)
    count = loader.steps_per_epoch()
    for epoch in range(2):
        shown = list(islice(loader.from_step(epoch * count), count))
        assert sorted(text for batch in shown for text in texts(batch)) == [
            str(100 + number) for number in range(11)
        ]
        for batch in shown:
            narrow = {text for text in texts(batch) if (int(text) - 100) % 3}
            assert batch.images.shape[3] == (96 if narrow else 288)
            assert narrow in ({*texts(batch)}, set())


def test_batches_follow_from_seed_and_step_whatever_came_before(
    samples: tuple[Path, list[RecSample]],
) -> None:
    whole = list(islice(batches(samples).from_step(0), 9))
    late = list(islice(batches(samples).from_step(4), 5))
    assert all(same(a, b) for a, b in zip(whole[4:], late, strict=True))
    other = next(batches(samples, seed=4).from_step(0))
    assert not same(whole[0], other)


def test_the_number_of_workers_changes_nothing(samples: tuple[Path, list[RecSample]]) -> None:
    alone = islice(batches(samples).from_step(0), 6)
    helped = islice(batches(samples, workers=2).from_step(0), 6)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
