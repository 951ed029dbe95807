"""The one training loop."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from ocr_pipeline.artifacts.checkpoint import (
    Checkpoint,
    CheckpointCard,
    Tensors,
    keep_only,
    step_folder,
    step_folders,
)
from ocr_pipeline.artifacts.run_log import RunLog
from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.errors import TrainingError, TrainingInterruptedError
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.sinks import Sink, open_sinks
from ocr_pipeline.training.stepper import StepDone, Stepper, Task, taken

BatchT = TypeVar("BatchT")
T = TypeVar("T")


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
    with ExitStack() as ended:
        start = 0 if resume_from is None else resume_from.card.step
        sinks: list[Sink] = []
        if ranks.is_first:
            sinks = open_sinks(config.sinks, config.run_dir, step=start)
        for sink in sinks:
            ended.callback(sink.close)
        stepper = Stepper(task, config, precision, progress.note, ranks=ranks)
        run = _Run(task, config, stepper, save, progress, ranks, sinks)
        if resume_from is None:
            run.begin()
        else:
            run.resume(resume_from)
        with _StopSignals(patient=ranks.world > 1) as signals:
            if resume_from is not None and awaits_evaluation(resume_from.card, config):
                run.evaluate_and_save(start, signals)
            batches = batches_from(start * config.accumulate)
            _train(run, stepper, start, batches, ranks, signals)
    return run.best


def awaits_evaluation(card: CheckpointCard, config: TrainConfig) -> bool:
    """Whether the run was stopped before it could evaluate this checkpoint of its."""
    return not card.metrics and _is_evaluated(card.step, config)


def _is_evaluated(step: int, config: TrainConfig) -> bool:
    return step == config.steps or step % config.eval_every == 0


def _train(
    run: "_Run",
    stepper: Stepper,
    step: int,
    batches: Iterator[Any],
    ranks: Ranks,
    signals: "_StopSignals",
) -> None:
    """Take the steps after ``step``, until all are taken or there is a reason to stop."""
    config = run.config
    alone = ranks.world == 1
    while step < config.steps and not run.has_stalled():
        ranks.at(f"step {step + 1}")
        done = stepper.take(step, batches, stop=bool(signals.received))
        step += 1
        run.record(step, done)
        # Several processes stop by agreement, which they come to in a step.
        if done.stop or (alone and signals.received):
            run.save(step, {})
            raise run.stopped(step)
        if _is_evaluated(step, config):
            run.evaluate_and_save(step, signals)
            going_on = step < config.steps and not run.has_stalled()
            if alone and signals.received and going_on:
                raise run.stopped(step)
    if run.has_stalled():
        run.progress.note(f"no better one in {config.patience} evaluations: training ends")


class _Run:
    """What a training run leaves: its record and its checkpoints."""

    best: Checkpoint

    def __init__(
        self,
        task: Task[Any],
        config: TrainConfig,
        stepper: Stepper,
        save: Save,
        progress: Progress,
        ranks: Ranks,
        sinks: Sequence[Sink],
    ) -> None:
        self.config = config
        self.progress = progress
        self._task = task
        self._ranks = ranks
        self._stepper = stepper
        self._write = save
        self._sinks = sinks
        self._log = RunLog(config.run_dir if ranks.is_first else None)
        self._stalled = 0  # evaluations since the best one

    def begin(self) -> None:
        """Evaluate and save what training starts from."""
        self._log.truncate_after(None)  # of a run that was killed before its first checkpoint
        self.evaluate_and_save(0, None)

    def resume(self, last: Checkpoint) -> None:
        """Go on from a checkpoint."""
        state = last.train_state() or {}
        self._stalled = int(taken(state, "run|stalled").get("", np.zeros(())))
        self._stepper.restore(last, state)
        self._log.truncate_after(last.card.step, evaluated=bool(last.card.metrics))
        self.best = self._ranks.first(lambda: Checkpoint.load(self.config.run_dir))
        if self.has_stalled():
            raise TrainingError(
                f"{self.config.run_dir}: ended after {self._stalled} evaluations without a better "
                f"one at step {last.card.step}; raise patience to go on"
            )

    def has_stalled(self) -> bool:
        """Whether training ends early."""
        patience = self.config.patience
        return patience is not None and self._stalled >= patience

    def record(self, step: int, done: StepDone) -> None:
        """Tell of a step; write it down now and then."""
        config = self.config
        self.progress.step(step, config.steps, done.terms["total"], done.lr)
        if step % config.log_every == 0 or step == config.steps:
            row = {"step": step, "lr": done.lr, "seconds": round(done.seconds, 4)}
            row["reader_seconds"] = round(done.phases["reader"], 4)
            if (skipped := self._stepper.skipped) is not None:
                row["skipped"] = skipped
            self._note(row | done.terms)

    def evaluate_and_save(self, step: int, signals: "_StopSignals | None") -> None:
        """Measure on the whole validation part; the averaged weights, where there are such.

        Raises:
            TrainingInterruptedError: one of the ``signals`` came meanwhile; the state is saved, and
                this evaluation is the first thing that a resumed run does.
        """
        self._ranks.at(f"the evaluation after step {step}")
        with self._stepper.averaged():
            metrics = signals.interrupt(self._task.evaluate) if signals else self._task.evaluate()
        if metrics is None:
            self.save(step, {})
            raise self.stopped(step)
        self._note({"step": step, **{f"val_{name}": value for name, value in metrics.items()}})
        self.progress.evaluated(step, metrics)
        self.save(step, metrics)
        self._stepper.set_mode(step)

    def stopped(self, step: int) -> TrainingInterruptedError:
        """What to say after a signal."""
        return TrainingInterruptedError(
            f"stopped after step {step} of {self.config.steps}; saved in {self.config.run_dir}. "
            "Give the same command with --resume to go on"
        )

    def save(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a checkpoint, then remove those that are neither first, best nor of the last."""
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
            run_dir = self.config.run_dir
            last = step_folders(run_dir)[-self.config.keep_last :]
            keep_only(run_dir, [step_folder(run_dir, 0), self.best.folder, *last])

    def _saved(self, step: int, metrics: Mapping[str, float]) -> Checkpoint:
        state = {"run|stalled": np.asarray(self._stalled)}
        if step > 0:  # before the first step, all follows from the weights
            state |= self._stepper.state()
        with self._stepper.averaged():
            return self._write(step_folder(self.config.run_dir, step), step, metrics, state)

    def _note(self, row: Mapping[str, float]) -> None:
        self._log.write(row)
        for sink in self._sinks:
            sink.write(row)


class _Interrupted(BaseException):
    """A signal came during an evaluation; no `except Exception` on the way out may hold it."""


class _StopSignals:
    """Inside, SIGINT and SIGTERM are collected; a second one has its usual effect.

    Args:
        patient: Paddle's launcher sends three within half a second, which mean one: the process
            ends by itself or by SIGKILL.
    """

    def __init__(self, *, patient: bool) -> None:
        self.received: list[int] = []
        self._patient = patient
        self._interrupting = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for wanted in (signal.SIGINT, signal.SIGTERM):
            self._previous[wanted] = signal.signal(wanted, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._patient:
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def interrupt(self, work: Callable[[], T]) -> T | None:
        """The result of work that changes nothing; None where a signal has ended it before.

        Several processes would wait for the one that left its work: they are not interrupted.
        """
        try:
            self._interrupting = not self._patient
            if self._interrupting and self.received:
                return None
            result = work()
            self._interrupting = False
        except _Interrupted:
            return None
        return result

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        if not self._patient:
            signal.signal(number, self._previous[number])
        if self._interrupting:
            self._interrupting = False
            raise _Interrupted
