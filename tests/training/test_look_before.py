"""What is looked at before a training: memory, batches, rates, where the time goes."""

import json
import math
import mmap
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors
from ocr_pipeline.cli import main
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import TrainingError
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training.distributed import ALONE
from ocr_pipeline.training.dry_run import estimate
from ocr_pipeline.training.find_lr import find_rate
from ocr_pipeline.training.made_up import Subject, made_lines, made_pages
from ocr_pipeline.training.memory import PeakMemory
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.probe import Probe, Trial, find_batch, most_samples, with_found_batch
from ocr_pipeline.training.profiling import PHASES, advice, profile_steps
from ocr_pipeline.training.ready import Ready
from ocr_pipeline.weights.tensors import get_weights
from tests.conftest import Silent

FLOAT32 = Precision("float32", "a test")
GB = 10**9


@dataclass
class Noise:
    images: Tensor
    share: float = 1.0


class Sum:
    """Learns a sum of its inputs."""

    main_metric = "exact"

    def __init__(self) -> None:
        paddle.seed(1)
        self.network = nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1D(1))

    def loss(self, batch: Noise) -> dict[str, Tensor]:
        wanted = batch.images.sum(axis=1, keepdim=True)
        return {"total": ((self.network[0](batch.images) - wanted) ** 2).mean()}

    def split(self, batch: Noise, pieces: int) -> Sequence[Noise]:
        raise NotImplementedError  # no test here runs out of memory

    def evaluate(self) -> dict[str, float]:
        raise AssertionError("looking needs no validation part")


def noise(count: int) -> Noise:
    values = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
    return Noise(paddle.to_tensor(values))


def noises(step: int) -> Iterator[Noise]:
    while True:
        step += 1
        values = np.random.default_rng(step).normal(size=(8, 4)).astype(np.float32)
        yield Noise(paddle.to_tensor(values))


def config(**changes: object) -> RecTrainConfig:
    values = {"dataset": "none", "run_dir": "none", "steps": 9, "optim": {"lr": 0.05}}
    return RecTrainConfig.model_validate(values | changes)


def ready(task: Sum, **changes: object) -> Ready:
    def save(*_: object) -> Checkpoint:
        raise AssertionError("nothing is to be kept")

    return Ready(task, noises, config(**changes), FLOAT32, save, Silent(), ALONE, None)


def quiet(_done: int, _of: int) -> None:
    pass


@dataclass
class Machine:
    """Stands for a probe: memory and time of a batch by a rule."""

    capacity: int
    per_sample: int = GB // 100
    base: int = GB // 2
    fixed_seconds: float = 0.1
    tried: list[int] = field(default_factory=list)

    def step(self, made: int, batch: int) -> Trial | None:
        assert made == batch
        self.tried.append(batch)
        peak = self.base + self.per_sample * batch
        if self.capacity and peak > self.capacity:
            return None
        return Trial(batch, self.fixed_seconds + 0.01 * batch, peak)


def found(machine: Machine, most: int = 512) -> tuple[int, str]:
    probe: Any = machine
    return find_batch(probe, lambda count: count, most=most, tell=lambda _: None)


def test_the_batch_fills_nine_tenths_of_the_memory_and_never_more() -> None:
    machine = Machine(capacity=GB, fixed_seconds=5.0)
    assert found(machine) == (40, "memory")  # 0.5 + 40 x 0.01 GB = 0.9 GB
    assert max(machine.tried) == 40


def test_a_batch_that_fails_in_spite_of_all_is_not_taken() -> None:
    class Treacherous(Machine):
        def step(self, made: int, batch: int) -> Trial | None:
            trial = super().step(made, batch)
            return None if batch > 32 else trial

    assert found(Treacherous(capacity=100 * GB, fixed_seconds=5.0)) == (32, "memory")
    assert found(Treacherous(capacity=0, fixed_seconds=5.0)) == (32, "memory")


def test_nothing_larger_is_taken_where_it_is_no_faster() -> None:
    batch, reason = found(Machine(capacity=0, fixed_seconds=0.0))
    assert (batch, reason) == (2, "larger ones are no faster")
    batch, reason = found(Machine(capacity=0, fixed_seconds=0.05))
    assert reason == "larger ones are no faster"
    assert 64 <= batch <= 256


def test_no_more_is_tried_than_may_be() -> None:
    assert found(Machine(capacity=0, fixed_seconds=5.0), most=24) == (
        16,
        "no more than 24 are tried",
    )
    assert found(Machine(capacity=0), most=1)[0] == 1
    assert found(Machine(capacity=GB // 4))[0] == 1
    assert [most_samples(n) for n in (None, 3, 80, 10**6)] == [512, 1, 10, 512]
    assert most_samples(800, world=4) == 25


def test_a_trial_leaves_the_network_as_it_was() -> None:
    task = Sum()
    before = {name: value.copy() for name, value in get_weights(task.network).items()}
    task.network.eval()
    trial = Probe(task, config(), FLOAT32).step(noise(16), 16)
    assert trial is not None
    assert trial.seconds > 0
    after: Tensors = get_weights(task.network)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not task.network.training
    assert all(p.grad is None or not np.any(p.grad.numpy()) for p in task.network.parameters())


def test_memory_grows_with_the_batch() -> None:
    memory = PeakMemory()
    if not memory.capacity():
        pytest.skip("this system does not tell its memory")
    memory.restart()
    low = memory.read()
    with mmap.mmap(-1, 200 * 2**20) as block:  # no memory that was freed before
        np.frombuffer(block, dtype=np.uint8)[:] = 1
        assert memory.read() - low > 150 * 2**20
    assert 200 * 2**20 < memory.capacity() < 10**15


def test_a_run_keeps_the_batch_that_was_found() -> None:
    task = Sum()
    subject = Subject(task, noise, noise, ("4", "4"), train=100, val=2)
    said: list[str] = []
    wanted = config(find_batch=True, batch=3)
    taken = with_found_batch(wanted, None, lambda: subject, FLOAT32, ALONE, said.append)
    assert 1 <= taken.batch <= 12
    assert said[0].startswith(f"batch {taken.batch} of 4 px found: ")

    class Card:
        config = {"batch": 5}

    class Last:
        card = Card()

    last: Any = Last()
    again = with_found_batch(wanted, last, lambda: subject, FLOAT32, ALONE, said.append)
    assert again.batch == 5


def test_an_estimate_counts_steps_and_evaluations() -> None:
    subject = Subject(Sum(), noise, noise, ("4", "4"), train=None, val=10)
    known = estimate(subject, config(batch=4, steps=250, accumulate=3, average=0.9), FLOAT32, 64)
    assert [trial.batch for trial in known.trials] == [4, 8]
    assert known.parameters == 4 + 1 + 2
    assert known.evaluations == 4  # before the first step, after 100, 200 and 250
    assert known.train_seconds == pytest.approx(known.step_seconds * 250)
    assert known.eval_seconds is not None
    total = known.train_seconds + 4 * known.eval_seconds
    assert known.total_seconds() == pytest.approx(total)
    assert known.checkpoint_bytes == 4 * 7 * (1 + 4 * 3)
    assert estimate(subject, config(find_batch=True), FLOAT32, 8).batch <= 8


def test_the_rate_test_finds_where_training_becomes_unstable() -> None:
    found = find_rate(ready(Sum()), steps=60, on_step=quiet)
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert found.rates[0] == pytest.approx(1e-6)
    assert found.losses[0] == pytest.approx(1.0)
    assert all(a < b for a, b in zip(found.rates, found.rates[1:], strict=False))
    assert 1e-4 <= found.suggested <= 1e-2
    assert min(found.smoothed) < 0.9


def test_the_rate_test_stops_where_the_loss_explodes() -> None:
    class Steep(Sum):
        def loss(self, batch: Noise) -> dict[str, Tensor]:
            return {"total": ((self.network[0].bias * 1e3 - 1) ** 2).sum()}

    found = find_rate(ready(Steep()), steps=80, on_step=quiet)
    assert found.diverged
    assert found.rates[-1] < 0.1
    with pytest.raises(TrainingError, match="of 23 steps tells nothing; take at least 24"):
        find_rate(ready(Sum()), steps=23, on_step=quiet)


def test_the_rate_test_ends_at_a_loss_that_is_no_number_and_at_no_other_error() -> None:
    class Fails(Sum):
        def __init__(self, error: Exception | None) -> None:
            super().__init__()
            self.taken = 0
            self.error = error

        def loss(self, batch: Noise) -> dict[str, Tensor]:
            self.taken += 1
            if self.taken <= 20:
                return super().loss(batch)
            if self.error is not None:
                raise self.error
            return {"total": super().loss(batch)["total"] * math.inf}

    assert find_rate(ready(Fails(None)), steps=40, on_step=quiet).diverged
    with pytest.raises(TrainingError, match="^a worker is gone$"):
        find_rate(ready(Fails(TrainingError("a worker is gone"))), steps=40, on_step=quiet)


def test_a_profile_tells_shares_and_leaves_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counts: list[tuple[int, int]] = []
    found = profile_steps(
        ready(Sum()), tmp_path / "profile", steps=4, on_step=lambda *n: counts.append(n)
    )
    assert tuple(found.shares) == PHASES
    assert 0.5 < sum(found.shares.values()) <= 1.0001
    assert counts[-1] == (12, 12)
    events = json.loads(found.trace.read_text(encoding="utf-8"))["traceEvents"]
    assert any("ProfileStep" in event.get("name", "") for event in events)
    assert [path.name for path in tmp_path.iterdir()] == ["profile"]


@pytest.mark.parametrize(
    ("shares", "world", "begin"),
    [
        ({"reader": 0.41}, 1, "reader-bound 41%: raise loader.workers (now 3, the machine has"),
        ({"exchange": 0.3}, 2, "exchange-bound 30%: raise batch or accumulate, so that 2"),
        ({"exchange": 0.3}, 1, "compute-bound 50%"),
        ({"optimizer": 0.25}, 1, "optimizer-bound 25%: raise batch or accumulate"),
        ({}, 1, "compute-bound 50%, as it should be; on cpu"),
    ],
)
def test_the_advice_names_what_to_change(shares: dict[str, float], world: int, begin: str) -> None:
    all_shares = dict.fromkeys(PHASES, 0.0) | {"forward": 0.2, "backward": 0.3} | shares
    assert advice(all_shares, config(loader={"workers": 3}), world).startswith(begin)


def test_noise_has_the_shapes_of_real_batches() -> None:
    lines = made_lines(3, width=160, image=RecImageSpec(), classes=9)
    assert lines.images.shape == [3, 3, 48, 160]
    assert lines.labels.shape == [3, 5]
    labels = lines.labels.numpy()
    assert (labels.min() > 0, labels.max() < 9) == (True, True)
    pages = made_pages(2, side=64)
    assert (pages.images.shape, pages.maps.shape) == ([2, 3, 64, 64], [2, 4, 64, 64])
    assert np.all(pages.maps.numpy()[:, 1] == 1.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    rows = []
    for number in range(10):
        line = np.full((32, 110, 3), 235, np.uint8)
        text = f"{number * 7919 % 9973:04d}"
        cv2.putText(line, text, (6, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (30, 30, 30), 2)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        rows.append(f"{number}.png\t{text}")
    (folder / "labels.txt").write_text("\n".join(rows), encoding="utf-8")
    settings = PrepareConfig(
        out=folder / "dataset",
        images=folder,
        train_labels=[folder / "labels.txt"],
        val_count=2,
        model="crnn_mobile",
        dictionary={"mode": "new"},
        workers=0,
    )
    return prepare(settings, None).folder


def told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["ocr-pipeline", "train", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, " ".join((out + err).split())


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        (("--dry-run",), ("million parameters; memory", "time: 3 steps of 4 samples", "disk: ")),
        (("--find-lr", "24"), ("suggested: optim.lr=", "The config says 0.0001")),
        (("--profile", "2"), ("2 steps, median", "-bound", "trace.json")),
    ],
    ids=["dry-run", "find-lr", "profile"],
)
def test_looking_writes_no_checkpoint(
    option: tuple[str, ...],
    wanted: tuple[str, ...],
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = tmp_path / "train.yaml"
    run = tmp_path / "run"
    settings.write_text(
        f"dataset: {dataset}\nrun_dir: {run}\nstart: crnn_mobile\nsteps: 3\nbatch: 4\n"
        "image: {min_width: 96}\ncalibration_batches: 1\n"
    )
    code, said = told(monkeypatch, capsys, "-c", settings, *option)
    assert code == 0, said
    assert all(words in said for words in wanted), said
    left = {path.name for path in run.rglob("*") if path.is_file()}
    assert left == ({"trace.json", "profile.json"} if "--profile" in option else set())


def test_looking_and_resuming_do_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "train.yaml"
    settings.write_text("dataset: none\nrun_dir: none\n")
    code, said = told(monkeypatch, capsys, "-c", settings, "--resume", "--dry-run")
    assert code == 2
    assert "are four different things; give one" in said


def test_an_estimate_needs_no_dataset(
    released_weights: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = tmp_path / "train.yaml"
    settings.write_text(
        "dataset: not_yet\nrun_dir: none\nstart: ppocrv6_tiny_rec\nbatch: 1\nsteps: 2\n"
    )
    code, said = told(monkeypatch, capsys, "-c", settings, "image.min_width=96", "--dry-run")
    assert code == 0, said
    assert "not_yet: no dataset yet" in said
    assert "there is no validation part yet" in said
    code, said = told(monkeypatch, capsys, "-c", settings, "start=crnn_mobile", "--dry-run")
    assert code != 0
    assert "crnn_mobile: has no character set of its own" in said
