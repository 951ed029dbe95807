"""The loop on a network of four numbers: what it does to weights, records and checkpoints."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors, latest, step_folders
from ocr_pipeline.artifacts.run_log import LOG_NAME
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import TrainingError, TrainingInterruptedError
from ocr_pipeline.training import fit as module
from ocr_pipeline.training.average import WeightAverage
from ocr_pipeline.training.fit import fit
from ocr_pipeline.training.freeze import Freezer
from ocr_pipeline.training.optimizer import peak_rate
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.weights.tensors import get_weights, set_weights
from tests.conftest import Silent

FLOAT32 = Precision("float32", "a test")


class Tiny(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1D(2))
        self.head = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class ToyTask:
    """Learns a sum; ``scores`` are what its evaluations say, in turn."""

    main_metric = "exact"

    def __init__(self, scores: list[float] | None = None, seed: int = 0) -> None:
        paddle.seed(seed)
        self.network = Tiny()
        self.scores = scores
        self.evaluated: list[Tensors] = []

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        wanted = batch.sum(axis=1, keepdim=True)
        return {"total": ((self.network(batch) - wanted) ** 2).mean()}

    def split(self, batch: Tensor, pieces: int) -> list[Tensor]:
        raise NotImplementedError  # no test here runs out of memory

    def evaluate(self) -> dict[str, float]:
        self.evaluated.append(get_weights(self.network))
        if self.scores is None:
            return {"exact": float(np.abs(self.evaluated[-1]["head.weight"]).sum())}
        return {"exact": self.scores[len(self.evaluated) - 1]}


class BatchesFrom:
    """Batches that follow from their numbers; ``begun``: where they were begun."""

    def __init__(self, begun: list[int], size: int = 4) -> None:
        self.begun, self.size = begun, size

    def __call__(self, step: int) -> Iterator[Tensor]:
        self.begun.append(step)
        while True:
            random = np.random.default_rng(step)
            yield paddle.to_tensor(random.normal(size=(self.size, 2)).astype(np.float32))
            step += 1


def config(run_dir: Path, **changes: object) -> RecTrainConfig:
    values: dict[str, object] = {
        "dataset": "none",
        "run_dir": run_dir,
        "steps": 8,
        "eval_every": 2,
        "log_every": 1,
        "optim": {"lr": 0.05, "warmup_steps": 0},
    }
    return RecTrainConfig.model_validate(values | changes)


def run(
    task: ToyTask,
    settings: RecTrainConfig,
    *,
    source: BatchesFrom | None = None,
    resume: bool = False,
) -> Checkpoint:
    def save(
        folder: Path, step: int, metrics: Mapping[str, float], state: Tensors | None
    ) -> Checkpoint:
        return Checkpoint.write(
            folder,
            model=RecModelSpec(size="tiny", classes=3),
            weights=get_weights(task.network),
            train_state=state,
            charset=None,
            golden=[],
            step=step,
            metrics=metrics,
            main_metric=task.main_metric,
            started_from="nothing",
            config={},
            made_by={},
            replace=True,
        )

    last = latest(settings.run_dir) if resume else None
    if last is not None:
        set_weights(task.network, last.weights(), source="test")
    return fit(
        task,
        source or BatchesFrom([]),
        settings,
        precision=FLOAT32,
        save=save,
        progress=Silent(),
        resume_from=last,
    )


def rows(run_dir: Path) -> list[dict[str, float]]:
    lines = (run_dir / LOG_NAME).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def losses(run_dir: Path) -> list[float]:
    return [row["total"] for row in rows(run_dir) if "total" in row]


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"average": 0.9},
        {"accumulate": 3},
        {"freeze": {"parts": ["backbone"], "steps": 3}, "average": 0.5},
    ],
    ids=["plain", "average", "accumulate", "freeze"],
)
@pytest.mark.parametrize("stop_at", [1, 3, 4, 7])
def test_a_stopped_run_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], stop_at: int
) -> None:
    whole = ToyTask()
    run(whole, config(tmp_path / "whole", **changes))
    settings = config(tmp_path / "parts", **changes)

    class Stopper(BatchesFrom):
        """Sends the signal in the step that is to be the last."""

        def __call__(self, step: int) -> Iterator[Tensor]:
            for number, batch in enumerate(super().__call__(step)):
                if number == stop_at * settings.accumulate - 1:
                    module.signal.raise_signal(module.signal.SIGTERM)
                yield batch

    with pytest.raises(TrainingInterruptedError, match=f"stopped after step {stop_at} of 8"):
        run(ToyTask(), settings, source=Stopper([]))
    rest = ToyTask(seed=99)
    begun: list[int] = []
    run(rest, settings, source=BatchesFrom(begun), resume=True)
    assert begun == [stop_at * settings.accumulate]
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(get_weights(rest.network), get_weights(whole.network))
    ends = [latest(tmp_path / name) for name in ("parts", "whole")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert same(ends[0].weights(), ends[1].weights())
    assert same(ends[0].train_state() or {}, ends[1].train_state() or {})


def test_accumulated_gradients_are_those_of_the_larger_batch(tmp_path: Path) -> None:
    """Without normalisation, whose statistics depend on the batch."""

    class Plain(ToyTask):
        def __init__(self) -> None:
            super().__init__()
            self.network.backbone[1].eval()

        def loss(self, batch: Tensor) -> dict[str, Tensor]:
            self.network.backbone[1].eval()
            return super().loss(batch)

    class Halves(BatchesFrom):
        def __call__(self, step: int) -> Iterator[Tensor]:
            for batch in super().__call__(step // 2):
                yield from (batch[:2], batch[2:])

    one, two = Plain(), Plain()
    run(one, config(tmp_path / "one"))
    run(two, config(tmp_path / "two", accumulate=2), source=Halves([]))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    pairs = zip(get_weights(one.network).values(), get_weights(two.network).values(), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_average_is_what_is_evaluated_and_saved(tmp_path: Path) -> None:
    task = ToyTask()
    run(task, config(tmp_path, average=0.9, eval_every=8))
    saved = latest(tmp_path)
    assert saved is not None
    assert same(saved.weights(), task.evaluated[-1])
    live = {
        k.removeprefix("live|"): v for k, v in (saved.train_state() or {}).items() if "live" in k
    }
    assert same(live, get_weights(task.network))
    assert not same(live, saved.weights())


def test_the_average_by_hand() -> None:
    network = nn.Linear(1, 1, bias_attr=False)
    network.weight.set_value(np.zeros((1, 1), np.float32))
    average = WeightAverage(network, decay=0.5)
    expected = 0.0
    for step, value in enumerate([1.0, 3.0, -2.0], start=1):
        network.weight.set_value(np.full((1, 1), value, np.float32))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = expected * decay + value * (1 - decay)
    with average.applied():
        assert float(network.weight) == pytest.approx(expected)
    assert float(network.weight) == -2.0


def test_an_average_cannot_come_or_go_within_a_run(tmp_path: Path) -> None:
    run(ToyTask(), config(tmp_path, average=0.9, steps=2))
    with pytest.raises(TrainingError, match="average=None cannot change within a run"):
        run(ToyTask(), config(tmp_path, steps=4), resume=True)


def test_frozen_parts_stand_still_and_then_learn(tmp_path: Path) -> None:
    task = ToyTask()
    settings = config(tmp_path, freeze={"parts": ["backbone"], "steps": 4}, eval_every=2)
    run(task, settings)
    start, _, at_4, at_6, _ = task.evaluated
    for name, value in start.items():
        stood = np.array_equal(value, at_4[name])
        assert stood == name.startswith("backbone"), name
        assert not np.array_equal(value, at_6[name]), name


def test_a_part_that_is_not_there_cannot_be_frozen() -> None:
    with pytest.raises(TrainingError, match=r"freeze\.parts \['neck'\]: this network has backbone"):
        Freezer(Tiny(), ["neck"])


def test_training_ends_when_nothing_gets_better(tmp_path: Path) -> None:
    task = ToyTask([1.0, 5.0, 4.0, 5.0, 9.0])
    best = run(task, config(tmp_path, patience=2))
    assert (best.card.step, len(task.evaluated)) == (2, 4)
    assert rows(tmp_path)[-1]["step"] == 6
    with pytest.raises(TrainingError, match="ended after 2 evaluations .* raise patience"):
        run(ToyTask([9.0]), config(tmp_path, patience=2), resume=True)
    best = run(ToyTask([9.0]), config(tmp_path, patience=3), resume=True)
    assert (best.card.step, best.card.metrics) == (8, {"exact": 9.0})


def test_the_first_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    for keep, kept in ((1, [0, 2, 8]), (3, [0, 2, 4, 6, 8])):
        run_dir = tmp_path / str(keep)
        task = ToyTask([1.0, 9.0, 3.0, 4.0, 5.0])
        best = run(task, config(run_dir, keep_last=keep))
        assert best.card.step == 2
        assert [int(folder.name[5:]) for folder in step_folders(run_dir)] == kept


def test_the_rate_follows_the_samples_of_a_step(tmp_path: Path) -> None:
    optim = {"lr": 1e-4, "reference_batch": 16}
    assert peak_rate(config(tmp_path, batch=8, optim=optim)) == pytest.approx(5e-5)
    assert peak_rate(config(tmp_path, batch=8, accumulate=4, optim=optim)) == pytest.approx(2e-4)
    assert peak_rate(config(tmp_path, batch=8)) == pytest.approx(0.05)
    run(ToyTask(), config(tmp_path, batch=32, optim={"lr": 0.01, "reference_batch": 16}))
    assert max(row["lr"] for row in rows(tmp_path) if "lr" in row) == pytest.approx(0.02)


def test_the_reader_s_share_is_recorded(tmp_path: Path) -> None:
    run(ToyTask(), config(tmp_path))
    for row in rows(tmp_path):
        if "total" in row:
            assert 0 <= row["reader_seconds"] <= row["seconds"]


def test_a_loss_that_is_not_finite_stops_with_step_and_terms(tmp_path: Path) -> None:
    class Broken(ToyTask):
        def loss(self, batch: Tensor) -> dict[str, Tensor]:
            total = super().loss(batch)["total"]
            return {"total": total * float("nan"), "ctc": paddle.ones([])}

    with pytest.raises(TrainingError, match=r"step 1: .*\(total=nan, ctc=1\); lower optim.lr"):
        run(Broken(), config(tmp_path))


def test_a_half_written_line_of_the_record_is_taken_again(tmp_path: Path) -> None:
    run(ToyTask(), config(tmp_path / "whole"))
    run(ToyTask(), config(tmp_path / "cut", steps=4))
    with (tmp_path / "cut" / LOG_NAME).open("a", encoding="utf-8") as stream:
        stream.write('{"step": 5, "total": 1.0}\n{"step": 6, "tot')
    run(ToyTask(), config(tmp_path / "cut"), resume=True)
    steps = [row["step"] for row in rows(tmp_path / "cut")]
    assert steps == [row["step"] for row in rows(tmp_path / "whole")]
