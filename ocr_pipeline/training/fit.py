"""The one training loop."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import numpy as np
import paddle
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors, step_folder, step_folders
from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.errors import TrainingError, TrainingInterruptedError
from ocr_pipeline.training.average import WeightAverage
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.freeze import Freezer
from ocr_pipeline.training.optimizer import (
    build_optimizer,
    get_state,
    learning_rate,
    peak_rate,
    set_state,
)
from ocr_pipeline.training.precision import Precision, StepScaler

BatchT = TypeVar("BatchT")
BatchT_contra = TypeVar("BatchT_contra", contravariant=True)
LOG_NAME = "metrics.jsonl"


class Task(Protocol[BatchT_contra]):
    """What differs between detection and recognition.

    Attributes:
        network: is trained in place.
        main_metric: name of the metric that chooses the best checkpoint; higher is better.
    """

    network: nn.Layer
    main_metric: str

    def loss(self, batch: BatchT_contra) -> dict[str, Tensor]:
        """Scalars by name; ``total`` is what is minimised."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Metrics on the whole validation part."""
        ...


class Progress(Protocol):
    """Told what happens; shows it or not."""

    def note(self, text: str) -> None:
        """One sentence."""

    def step(self, step: int, steps: int, loss: float, lr: float) -> None:
        """Step ``step`` (from 1) of ``steps`` is done."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """The validation part was evaluated after ``step`` steps."""


Save = Callable[[Path, int, Mapping[str, float], Tensors | None], Checkpoint]
"""(folder, step, metrics, train state) -> checkpoint; the task knows what else belongs into it."""


def fit(
    task: Task[BatchT],
    batches_from: Callable[[int], Iterator[BatchT]],
    config: TrainConfig,
    *,
    precision: Precision,
    save: Save,
    progress: Progress,
    resume_from: Checkpoint | None = None,
    ranks: Ranks = ALONE,
) -> Checkpoint:
    """Train ``task.network`` and return the best checkpoint by ``task.main_metric``.

    The chance of a step follows from (seed, step) alone, so a resumed run goes on as if it had
    never stopped.

    Args:
        task: loss and evaluation; no optimiser inside.
        batches_from: number of batches -> endless batches after so many; a step takes
            ``config.accumulate`` of them.
        config: steps, optimiser, intervals.
        precision: mixed precision or not.
        save: writes a checkpoint.
        progress: told about steps and evaluations.
        resume_from: a checkpoint of the same run; its weights are in ``task.network`` already.
        ranks: the processes that train together; all of them evaluate, the first one writes.

    Raises:
        TrainingError: a loss term is not finite (step and all terms given), the run that is to be
            resumed has ended, or a process is missing (named).
        TrainingInterruptedError: SIGINT or SIGTERM came; the state is saved.
    """
    run = _Run(task, config, precision, save, progress, ranks)
    step = run.begin() if resume_from is None else run.resume(resume_from)
    batches = batches_from(step * config.accumulate)
    with _stop_signals(patient=ranks.world > 1) as signals:
        while step < config.steps:
            stopped = run.take_step(step, batches, signals)
            step += 1
            if step == config.steps or step % config.eval_every == 0:
                run.evaluate_and_save(step)
                if run.has_stalled():
                    progress.note(f"no better one in {config.patience} evaluations: training ends")
                    break
                # Several processes stop by agreement, which they come to in a step.
                stopped = stopped or (ranks.world == 1 and bool(signals))
            elif stopped:
                run.save(step, {})
            if stopped and step < config.steps:
                raise TrainingInterruptedError(
                    f"stopped after step {step} of {config.steps}; saved in {config.run_dir}. "
                    "Give the same command with --resume to go on"
                )
    return run.best


class _Run:
    """A training run: what it changes, and what it leaves on disk."""

    best: Checkpoint

    def __init__(
        self,
        task: Task[Any],
        config: TrainConfig,
        precision: Precision,
        save: Save,
        progress: Progress,
        ranks: Ranks,
    ) -> None:
        self._task = task
        self._ranks = ranks
        self._config = config
        self._precision = precision
        self._write = save
        self._progress = progress
        self._peak = peak_rate(config, ranks.world)
        self._optimizer = build_optimizer(task.network, config.optim)
        self._scaler = StepScaler(precision)
        self._freezer = Freezer(task.network, config.freeze.parts if config.freeze.steps else ())
        self._average: WeightAverage | None = None
        if config.average is not None:
            self._average = WeightAverage(task.network, config.average)
        self._log = _Log(config.run_dir / LOG_NAME if ranks.is_first else None)
        self._stalled = 0  # evaluations since the best one

    def begin(self) -> int:
        """Evaluate and save what training starts from."""
        self.evaluate_and_save(0)
        return 0

    def resume(self, last: Checkpoint) -> int:
        """Go on from a checkpoint; returns its step."""
        state = last.train_state() or {}
        self._scaler.restore(_taken(state, "scaler|"))
        live = _taken(state, "live|")
        if (self._average is None) != (not live):
            raise TrainingError(
                f"{last.folder}: average={self._config.average} cannot change within a run; resume "
                "with the settings it was started with"
            )
        if self._average is not None:
            self._average.restore(live)
        self._stalled = int(_taken(state, "run|").get("stalled", np.zeros(())))
        set_state(self._optimizer, self._task.network, state)
        self._log.truncate_after(last.card.step)
        self.best = self._ranks.first(lambda: Checkpoint.load(self._config.run_dir))
        if self.has_stalled():
            raise TrainingError(
                f"{self._config.run_dir}: ended after {self._stalled} evaluations without a better "
                f"one at step {last.card.step}; raise patience to go on"
            )
        self._set_mode(last.card.step)
        return last.card.step

    def has_stalled(self) -> bool:
        """Whether training ends early."""
        patience = self._config.patience
        return patience is not None and self._stalled >= patience

    def take_step(self, step: int, batches: Iterator[Any], signals: Sequence[int] = ()) -> bool:
        """One step of the optimiser, the one after ``step`` steps.

        Returns:
            Whether to stop after it: a process has received one of the ``signals``.
        """
        config = self._config
        self._ranks.at(f"step {step + 1}")
        if step == config.freeze.steps > 0:
            self._set_mode(step)
        lr = learning_rate(step, steps=config.steps, config=config.optim, peak=self._peak)
        self._optimizer.set_lr(lr)
        paddle.seed(config.seed * 1_000_003 + step + self._ranks.rank * 1_000_000_007)
        started = time.perf_counter()
        waited = 0.0
        sums: dict[str, float] = {}
        for _ in range(config.accumulate):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            with self._precision.autocast():
                terms = self._task.loss(batch)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value) / config.accumulate
            self._scaler.backward(terms["total"] / config.accumulate)
        sums, stopped = self._agree(sums, stop=bool(signals))
        _check_finite(sums, step)
        self._scaler.step(self._optimizer)
        if self._average is not None:
            self._average.update(step + 1)
        seconds = time.perf_counter() - started
        self._progress.step(step + 1, config.steps, sums["total"], lr)
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            timing = {"seconds": round(seconds, 4), "reader_seconds": round(waited, 4)}
            skipped = {"skipped": self._scaler.skipped} if self._scaler.is_active else {}
            self._log.write({"step": step + 1, "lr": lr, **timing, **skipped, **sums})
        return stopped or (self._ranks.world == 1 and bool(signals))

    def _agree(self, sums: Mapping[str, float], *, stop: bool) -> tuple[dict[str, float], bool]:
        """Average gradients, running statistics and figures over the processes."""
        network = self._task.network
        tensors = [p.grad for p in network.parameters() if p.grad is not None]
        for layer in network.sublayers(include_self=True):
            if layer.training and self._ranks.world > 1:
                tensors += [b for b in layer.buffers(include_sublayers=False) if _is_float(b)]
        *means, stopped = self._ranks.average(tensors, [*sums.values(), float(stop)])
        return dict(zip(sums, means, strict=True)), stopped > 0

    def evaluate_and_save(self, step: int) -> None:
        """Measure on the whole validation part; the averaged weights, where there are such."""
        self._ranks.at(f"the evaluation after step {step}")
        with self._averaged():
            metrics = self._task.evaluate()
        named = {f"val_{name}": value for name, value in metrics.items()}
        self._log.write({"step": step, **named})
        self._progress.evaluated(step, metrics)
        self.save(step, metrics)
        self._set_mode(step)

    def save(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a checkpoint, then remove those that are neither the best nor of the last."""
        name = self._task.main_metric
        is_best = step == 0 or (
            name in metrics and metrics[name] > self.best.card.metrics.get(name, -1.0)
        )
        if metrics:
            self._stalled = 0 if is_best else self._stalled + 1
        saved = self._ranks.first(lambda: self._saved(step, metrics))
        if is_best:
            self.best = saved
        if self._ranks.is_first:
            last = step_folders(self._config.run_dir)[-self._config.keep_last :]
            _keep(self._config.run_dir, self.best.folder, *last)

    def _saved(self, step: int, metrics: Mapping[str, float]) -> Checkpoint:
        state = None if step == 0 else self._state()
        with self._averaged():
            return self._write(step_folder(self._config.run_dir, step), step, metrics, state)

    def _set_mode(self, step: int) -> None:
        self._freezer.set_mode(frozen=step < self._config.freeze.steps)

    def _averaged(self) -> AbstractContextManager[None]:
        return nullcontext() if self._average is None else self._average.applied()

    def _state(self) -> Tensors:
        state = get_state(self._optimizer, self._task.network)
        state |= {f"scaler|{name}": value for name, value in self._scaler.state().items()}
        if self._average is not None:
            state |= {f"live|{name}": value for name, value in self._average.live().items()}
        state["run|stalled"] = np.asarray(self._stalled)
        return state


def _keep(run_dir: Path, *kept: Path) -> None:
    """Delete all checkpoints of a run but ``kept``."""
    for folder in step_folders(run_dir):
        if folder not in kept:
            shutil.rmtree(folder)


def _check_finite(values: Mapping[str, float], step: int) -> None:
    if not all(np.isfinite(value) for value in values.values()):
        named = ", ".join(f"{name}={value:g}" for name, value in values.items())
        raise TrainingError(
            f"step {step + 1}: the loss is not finite ({named}); lower optim.lr, or set "
            "amp.enabled=false to see whether mixed precision is the cause"
        )


def _taken(state: Tensors, prefix: str) -> Tensors:
    """Remove the values of a prefix from ``state`` and return them, without it."""
    keys = [key for key in state if key.startswith(prefix)]
    return {key.removeprefix(prefix): state.pop(key) for key in keys}


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in (paddle.float32, paddle.float64)


@contextmanager
def _stop_signals(*, patient: bool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second one has its usual effect.

    Paddle's launcher sends three within half a second, which mean one: where it is ``patient``, the
    process ends by itself or by SIGKILL.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if not patient:
            signal.signal(number, previous[number])

    for wanted in (signal.SIGINT, signal.SIGTERM):
        previous[wanted] = signal.signal(wanted, note)
    try:
        yield received
    finally:
        if not (patient and received):
            for number, handler in previous.items():
                signal.signal(number, handler)


class _Log:
    """``metrics.jsonl``: the record of a run, one JSON object a line; without a path, none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, values: Mapping[str, float]) -> None:
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")

    def truncate_after(self, step: int) -> None:
        """Drop lines of steps that a resumed run takes again."""
        if self.path is not None and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
