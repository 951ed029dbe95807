"""The loader with real worker processes: order, faults, packs, memory."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ocr_pipeline.artifacts.dataset import (
    Dataset,
    DetSample,
    RecSample,
    Region,
    SourceCard,
)
from ocr_pipeline.artifacts.packs import PackWriter
from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.image import DetImageSpec, RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.rec_augment import RecAugmentConfig
from ocr_pipeline.errors import DataError, TrainingError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.db_targets import db_targets
from ocr_pipeline.ops.det_augment import fit_page
from ocr_pipeline.ops.resize import normalise_page, rec_input
from ocr_pipeline.training.batch_plan import BatchPlan, Scale
from ocr_pipeline.training.det_loader import DetBatch, DetLoader
from ocr_pipeline.training.loader import Arrays, Draw, Loader, check_shared_memory
from ocr_pipeline.training.rec_loader import RecBatch, RecLoader

CHARSET = Charset(list("0123456789"))
SPEC = RecImageSpec(min_width=96, width_step=96)


def write_picture(path: Path, height: int, width: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def write(folder: Path, samples: Sequence[RecSample], pictures: Path, **changes: object) -> Dataset:
    values: dict[str, object] = {
        "task": "rec",
        "sources": [SourceCard(name="a", images=str(pictures))],
        "splits": {"train": samples, "val": samples[:1]},
        "charset": CHARSET,
        "config": {},
        "made_by": {},
    }
    return Dataset.write(folder, **(values | changes))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("lines")
    found = []
    for number in range(11):
        width = 60 if number % 3 else 150
        write_picture(folder / f"{number}.png", 32, width, number)
        found.append(RecSample(f"{number}.png", str(100 + number), 32, width))
    return write(folder / "set", found, folder)


def rec_loader(dataset: Dataset, *, seed: int = 3, **changes: object) -> RecLoader:
    values: dict[str, object] = {
        "image": SPEC,
        "augment": RecAugmentConfig(probability=0.8, concat=0.5),
        "batch": 3,
        "config": LoaderConfig(),
    }
    return RecLoader(dataset, seed=seed, **(values | changes))


def texts(batch: RecBatch) -> list[str]:
    rows = zip(batch.labels.numpy(), batch.label_lengths.numpy(), strict=True)
    return [CHARSET.decode(row[:length].tolist()) for row, length in rows]


def same(a: RecBatch, b: RecBatch) -> bool:
    return texts(a) == texts(b) and np.array_equal(a.images.numpy(), b.images.numpy())


def test_an_epoch_shows_every_line_once_in_batches_of_one_width(lines: Dataset) -> None:
    loader = rec_loader(lines, augment=None)
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


def test_without_augmentation_a_line_is_what_the_reader_would_see(lines: Dataset) -> None:
    batch = next(rec_loader(lines, augment=None).from_step(0))
    samples = {sample.text: sample for sample in lines.lines("train")}
    read = lines.pictures("train").read
    for image, text in zip(batch.images.numpy(), texts(batch), strict=True):
        np.testing.assert_array_equal(image, rec_input(read(samples[text]), SPEC))


def test_batches_follow_from_seed_and_step_whatever_came_before(lines: Dataset) -> None:
    whole = list(islice(rec_loader(lines).from_step(0), 9))
    late = list(islice(rec_loader(lines).from_step(4), 5))
    assert all(same(a, b) for a, b in zip(whole[4:], late, strict=True))
    other = next(rec_loader(lines, seed=4).from_step(0))
    assert not same(whole[0], other)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(lines: Dataset, workers: int) -> None:
    alone = islice(rec_loader(lines).from_step(2), 8)
    helped = islice(rec_loader(lines, config=LoaderConfig(workers=workers)).from_step(2), 8)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_joined_lines_have_joined_labels_that_fit(lines: Dataset) -> None:
    augment = RecAugmentConfig(probability=0, concat=1.0)
    loader = rec_loader(lines, augment=augment, image=RecImageSpec(min_width=320))
    shown = [text for batch in islice(loader.from_step(0), 20) for text in texts(batch)]
    known = {str(100 + number) for number in range(11)}
    longer = [text for text in shown if len(text) > 3]
    assert longer
    for text in shown:
        assert {text[start : start + 3] for start in range(0, len(text), 3)} <= known


def test_lines_are_drawn_at_several_heights(lines: Dataset) -> None:
    loader = rec_loader(lines, config=LoaderConfig(heights=[32, 48, 64]))
    heights = {batch.images.shape[2]: batch for batch in islice(loader.from_step(0), 20)}
    assert set(heights) == {32, 48, 64}
    assert all(batch.images.shape[3] in (96, 288) for batch in heights.values())


def test_a_source_with_weight_two_is_shown_twice(lines: Dataset, tmp_path: Path) -> None:
    root = lines.manifest.sources[0].images
    sources = [SourceCard(name="a", images=root), SourceCard(name="b", images=root, weight=2.0)]
    samples = [
        RecSample(s.image, s.text, s.height, s.width, source=int(s.text) % 2)
        for s in lines.lines("train")
    ]
    loader = rec_loader(write(tmp_path / "set", samples, tmp_path, sources=sources), augment=None)
    steps = loader.steps_per_epoch()
    shown = sorted(t for batch in islice(loader.from_step(0), steps) for t in texts(batch))
    assert shown == sorted(s.text for s in samples for _ in range(1 + s.source))


def test_joined_lines_come_as_often_as_their_sources_weigh(lines: Dataset, tmp_path: Path) -> None:
    root = lines.manifest.sources[0].images
    sources = [SourceCard(name="a", images=root), SourceCard(name="b", images=root, weight=0.1)]
    samples = [
        RecSample(s.image, s.text, s.height, s.width, source=int(int(s.text) < 109))
        for s in lines.lines("train")
    ]
    loader = rec_loader(
        write(tmp_path / "set", samples, tmp_path, sources=sources),
        augment=RecAugmentConfig(probability=0, concat=1.0),
        image=RecImageSpec(min_width=480),
    )
    shown = "".join(t for b in islice(loader.from_step(0), 60) for t in texts(b))
    parts = [shown[start : start + 3] for start in range(0, len(shown), 3)]
    rare = sum(int(part) < 109 for part in parts) / len(parts)  # 9 samples of 0.1, 2 of 1
    assert 0.2 < rare < 0.42


def test_a_sample_drawn_twice_in_a_step_is_changed_in_two_ways(
    lines: Dataset, tmp_path: Path
) -> None:
    root = lines.manifest.sources[0].images
    sources = [SourceCard(name="a", images=root, weight=8.0)]
    one = lines.lines("train")[:1]
    dataset = write(tmp_path / "set", one, tmp_path, sources=sources)
    augment = RecAugmentConfig(probability=1.0)
    batch = next(rec_loader(dataset, augment=augment, batch=8).from_step(0)).images.numpy()
    assert len({image.tobytes() for image in batch}) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_is_gone_is_named(lines: Dataset, tmp_path: Path, workers: int) -> None:
    sample = RecSample("gone.png", "1", 32, 60)
    dataset = write(tmp_path / "set", [*lines.lines("train"), sample], tmp_path / "nowhere")
    loader = rec_loader(dataset, config=LoaderConfig(workers=workers))
    with pytest.raises(DataError, match=r"nowhere/\d+\.png|nowhere/gone\.png"):
        list(islice(loader.from_step(0), 8))


class Items:
    """Samples of one number; some do not come to an end."""

    def __init__(self, behave: Callable[[int], None]) -> None:
        self.behave = behave

    def batch(self, draws: Sequence[Draw], begin: Callable[[int], None]) -> Arrays:
        for draw in draws:
            begin(draw.index)
            self.behave(draw.index)
        return (np.array([draw.index for draw in draws], dtype=np.int64),)

    def where(self, index: int) -> str:
        return f"picture{index}.png"


def run(behave: Callable[[int], None], *, timeout_s: float = 60.0) -> list[int]:
    plan = BatchPlan(np.zeros(20, dtype=int), scales=[Scale(48, 4)], seed=0)
    loader = Loader(Items(behave), plan, workers=2, batch_bytes=100, sample_timeout_s=timeout_s)
    return [i for (batch,) in islice(loader.from_step(0), 5) for i in batch.numpy().tolist()]


def test_healthy_workers_bring_everything_in_order() -> None:
    plan = BatchPlan(np.zeros(20, dtype=int), scales=[Scale(48, 4)], seed=0)
    planned = [i for batch in islice(plan.from_step(0), 5) for i in batch.indices.tolist()]
    assert run(lambda _: time.sleep(0.001)) == planned


def test_a_worker_that_was_killed_is_named_with_its_picture() -> None:
    def die(index: int) -> None:
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"worker \d+ died at picture7\.png; .*workers=0"):
        run(die)


def test_a_worker_that_hangs_is_ended_and_named_with_its_picture() -> None:
    def hang(index: int) -> None:
        if index == 7:
            time.sleep(600)

    with pytest.raises(TrainingError, match=r"at picture7\.png for more than 0\.5 s and was ended"):
        run(hang, timeout_s=0.5)


def children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def leftovers(pids: set[int]) -> list[str]:
    names = (path.name for path in Path("/dev/shm").glob("paddle_*"))  # noqa: S108
    return [name for name in names if any(name.startswith(f"paddle_{pid}_") for pid in pids)]


@pytest.mark.parametrize("how", ["closed", "dropped", "fault", "hung"])
def test_no_worker_and_no_shared_memory_outlives_a_loader(how: str) -> None:
    def behave(index: int) -> None:
        if how == "fault" and index == 7:
            raise DataError("seven")
        if how == "hung" and index == 7:
            time.sleep(600)

    before, open_files = children(), open_descriptors()
    for _ in range(1 if how == "hung" else 3):
        plan = BatchPlan(np.zeros(20, dtype=int), scales=[Scale(48, 4)], seed=0)
        loader = Loader(Items(behave), plan, workers=2, batch_bytes=9, sample_timeout_s=0.5)
        stream = loader.from_step(0)
        next(stream)
        pids = children() - before
        assert len(pids) == 2
        if how in ("fault", "hung"):
            with pytest.raises((DataError, TrainingError)):
                list(islice(stream, 9))
        if how == "closed":
            stream.close()
        del stream
        gc.collect()
        assert children() == before
        assert leftovers(pids) == []
    if how == "closed":  # Paddle's thread looks every five seconds whether it shall end
        deadline = time.monotonic() + 20
        while open_descriptors() > open_files and time.monotonic() < deadline:
            time.sleep(0.2)
        assert open_descriptors() <= open_files


def test_a_worker_that_dies_while_the_network_computes_is_named_at_the_next_batch() -> None:
    plan = BatchPlan(np.zeros(20, dtype=int), scales=[Scale(48, 4)], seed=0)
    loader = Loader(Items(lambda _: None), plan, workers=2, batch_bytes=9, sample_timeout_s=60)
    stream = loader.from_step(0)
    before = children()
    next(stream)
    victim = min(children() - before)
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.5)  # as a step of the training; nothing may be raised here
    with pytest.raises(TrainingError, match=rf"worker {victim} died (at|after) picture\d+\.png"):
        list(islice(stream, 20))


SCRIPT = """
import os, signal, sys, time
import numpy as np
from ocr_pipeline.training.batch_plan import BatchPlan, Scale
from ocr_pipeline.training.loader import Loader

class Items:
    def batch(self, draws, begin):
        return (np.zeros(4, dtype=np.int64),)
    def where(self, index):
        return "picture"

stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
plan = BatchPlan(np.zeros(20, dtype=int), scales=[Scale(48, 4)], seed=0)
stream = Loader(Items(), plan, workers=2, batch_bytes=9, sample_timeout_s=60).from_step(0)
for (batch,) in stream:
    print("step", flush=True)
    time.sleep(0.05)
    if stopped:
        print("saved", flush=True)
        break
"""


def trainer() -> subprocess.Popen[str]:
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    while "step" not in process.stdout.readline():
        pass
    return process


def group(leader: int) -> list[int]:
    """Processes of a group that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def test_ctrl_c_while_workers_start_is_not_lost(in_a_fork: list[Callable[[], None]]) -> None:
    in_a_fork.append(lambda: signal.raise_signal(signal.SIGINT))
    before = children()
    with pytest.raises(KeyboardInterrupt):
        run(lambda _: time.sleep(0.001))
    assert children() == before


def test_a_signal_to_the_whole_job_lets_it_save() -> None:
    with trainer() as process:
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "saved"
    assert process.returncode == 0


def test_workers_end_with_a_trainer_that_was_killed() -> None:
    with trainer() as process:
        assert len(group(process.pid)) >= 3
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while group(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert group(process.pid) == []


def test_a_fault_of_the_code_in_a_worker_is_not_swallowed() -> None:
    def fail(index: int) -> None:
        if index == 7:
            raise ZeroDivisionError("seven")

    with pytest.raises(TrainingError, match=r"at picture7\.png:(.|\n)*seven"):
        run(fail)


def test_too_little_shared_memory_is_said_before_the_training() -> None:
    with pytest.raises(
        TrainingError, match=r"64 MB free, and 4 workers need about 900 MB.*shm-size"
    ):
        check_shared_memory(4, 100_000_000, free=64_000_000)
    check_shared_memory(4, 1_000_000, free=64_000_000)
    check_shared_memory(4, 100_000_000, path=Path("/nowhere/at/all"))


def packed(folder: Path, lines: Dataset, shards_of: int) -> Dataset:
    """The lines again, in a pack with so many pictures a shard."""
    samples = []
    infos = []
    content = lines.pictures("train").content
    for number, first in enumerate(range(0, 11, shards_of)):
        with PackWriter(folder / "packs", f"train{number}") as writer:
            for sample in lines.lines("train")[first : first + shards_of]:
                _, offset, size = writer.add(sample.image, content(sample))
                place = (number, offset, size)
                values = (sample.image, sample.text, sample.height, sample.width)
                samples.append(RecSample(*values, packed=place))
        infos += writer.close()
    return write(
        folder / "set",
        samples,
        folder / "nowhere",
        packs={"train": infos},
        pack_root=str(folder / "packs"),
    )


def test_packed_pictures_give_the_same_batches(lines: Dataset, tmp_path: Path) -> None:
    dataset = packed(tmp_path, lines, shards_of=4)
    config = LoaderConfig(workers=2)
    plain = islice(rec_loader(lines).from_step(0), 6)
    from_packs = islice(rec_loader(dataset, config=config).from_step(0), 6)
    assert all(same(a, b) for a, b in zip(plain, from_packs, strict=True))


def test_each_rank_reads_its_own_shards(lines: Dataset, tmp_path: Path) -> None:
    dataset = packed(tmp_path, lines, shards_of=3)
    shard = {s.text: s.packed[0] for s in dataset.lines("train") if s.packed}
    config = LoaderConfig(own_shards=True)
    seen = []
    for rank in range(2):
        loader = rec_loader(dataset, augment=None, config=config, rank=rank, world=2)
        steps = loader.steps_per_epoch()
        seen.append([t for b in islice(loader.from_step(0), steps) for t in texts(b)])
    assert not {shard[t] for t in seen[0]} & {shard[t] for t in seen[1]}
    assert sorted(seen[0] + seen[1]) == [str(100 + number) for number in range(11)]
    with pytest.raises(TrainingError, match=r"4 shards of train for 5 processes.*shard_mb"):
        rec_loader(dataset, config=config, rank=0, world=5)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("pages")
    found = []
    for number in range(5):
        write_picture(folder / f"{number}.png", 120, 200, number)
        box = ((20.0, 30.0), (150.0, 30.0), (150.0, 70.0), (20.0, 70.0))
        found.append(DetSample(f"{number}.png", 120, 200, (Region(box, "1"),)))
    return Dataset.write(
        folder / "set",
        task="det",
        sources=[SourceCard(name="a", images=str(folder))],
        splits={"train": found, "val": found[:1]},
        charset=None,
        config={},
        made_by={},
    )


def det_loader(dataset: Dataset, **changes: object) -> DetLoader:
    values: dict[str, object] = {
        "image": DetImageSpec(),
        "augment": DetAugmentConfig.model_validate({"preset": "v6", "size": 160}),
        "target": DBTargetConfig(),
        "batch": 2,
        "steps": 10,
        "seed": 3,
        "config": LoaderConfig(),
    }
    return DetLoader(dataset, **(values | changes))


def same_pages(a: DetBatch, b: DetBatch) -> bool:
    images = np.array_equal(a.images.numpy(), b.images.numpy())
    return images and np.array_equal(a.maps.numpy(), b.maps.numpy())


def test_pages_are_the_same_for_any_workers_and_after_a_resume(pages: Dataset) -> None:
    whole = list(islice(det_loader(pages).from_step(0), 7))
    helped = list(islice(det_loader(pages, config=LoaderConfig(workers=2)).from_step(0), 7))
    late = list(islice(det_loader(pages).from_step(5), 2))
    assert all(same_pages(a, b) for a, b in zip(whole, helped, strict=True))
    assert all(same_pages(a, b) for a, b in zip(whole[5:], late, strict=True))
    assert {tuple(b.images.shape) for b in whole} == {(2, 3, 160, 160), (1, 3, 160, 160)}
    assert all(b.maps.shape == [len(b.images), 4, 160, 160] for b in whole)


def test_the_shrink_ratio_grows_over_the_training(pages: Dataset) -> None:
    loader = det_loader(pages, augment=None, size=200, batch=5)
    areas = [float(b.maps[:, 0].sum()) for b in islice(loader.from_step(0), 12)]
    assert areas[0] < areas[5] < areas[10]
    assert areas[10] == areas[11]


def test_a_batch_is_the_page_as_the_detector_reads_it_and_its_targets(pages: Dataset) -> None:
    batch = next(det_loader(pages, augment=None, size=192, batch=5).from_step(0))
    samples = {float(s.image[0]): s for s in pages.pages("train")}
    read = pages.pictures("train").read
    expected = []
    for sample in samples.values():
        page = fit_page(read(sample), sample.regions, 192)
        pixels = np.empty((3, 192, 192), np.float32)
        normalise_page(page.image, DetImageSpec(), out=pixels)
        maps = db_targets(page.points, page.ignore, (192, 192), DBTargetConfig(), 0.4).maps
        expected.append((pixels, maps))
    for pixels, maps in zip(batch.images.numpy(), batch.maps.numpy(), strict=True):
        found = [known for known in expected if np.abs(known[0] - pixels).max() < 1e-6]
        assert len(found) == 1
        np.testing.assert_allclose(maps, found[0][1], atol=2e-5)
        np.testing.assert_array_equal(maps[[0, 1, 3]], found[0][1][[0, 1, 3]])
    assert batch.images.dtype == batch.maps.dtype == paddle.float32
