"""The one training loop."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import numpy as np
import paddle
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors, step_folder, step_folders
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import TrainingError, TrainingInterruptedError
from ocr_pipeline.training.optimizer import build_optimizer, get_state, learning_rate, set_state
from ocr_pipeline.training.precision import Precision

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
    config: RecTrainConfig,
    *,
    precision: Precision,
    save: Save,
    progress: Progress,
    resume_from: Checkpoint | None = None,
) -> Checkpoint:
    """Train ``task.network`` and return the best checkpoint by ``task.main_metric``.

    The chance of a step follows from (seed, step) alone, so a resumed run goes on as if it had
    never stopped.

    Args:
        task: loss and evaluation; no optimiser inside.
        batches_from: step -> endless batches from that step on.
        config: steps, optimiser, intervals.
        precision: mixed precision or not.
        save: writes a checkpoint.
        progress: told about steps and evaluations.
        resume_from: a checkpoint of the same run; its weights are in ``task.network`` already.

    Raises:
        TrainingError: a loss term is not finite (step and all terms given).
        TrainingInterruptedError: SIGINT or SIGTERM came; the state is saved.
    """
    run_dir = config.run_dir
    optimizer = build_optimizer(task.network, config.optim)
    scaler = precision.scaler()
    log = _Log(run_dir / LOG_NAME)
    if resume_from is None:
        step = 0
        best = _evaluate_and_save(task, 0, save, run_dir, log, progress, None)
    else:
        step = resume_from.card.step
        best = Checkpoint.load(run_dir)
        state = resume_from.train_state() or {}
        if scaling := _take_scaler(state):  # none where training was not in float16 until now
            scaler.load_state_dict(scaling)
        set_state(optimizer, task.network, state)
        log.truncate_after(step)
    task.network.train()
    batches = batches_from(step)
    with _stop_signals() as stopped:
        while step < config.steps:
            lr = learning_rate(step, steps=config.steps, config=config.optim)
            optimizer.set_lr(lr)
            paddle.seed(config.seed * 1_000_003 + step)
            started = time.perf_counter()
            with precision.autocast():
                terms = task.loss(next(batches))
            values = {name: float(value) for name, value in terms.items()}
            _check_finite(values, step)
            scaler.scale(terms["total"]).backward()
            scaler.unscale_(optimizer)
            scaler.step(optimizer)  # clips by global norm inside
            scaler.update()
            optimizer.clear_grad()
            step += 1
            seconds = time.perf_counter() - started
            progress.step(step, config.steps, values["total"], lr)
            if step % config.log_every == 0 or step == config.steps:
                log.write({"step": step, "lr": lr, "seconds": round(seconds, 4), **values})
            if step == config.steps or step % config.eval_every == 0:
                state = _state(optimizer, scaler, task.network)
                best = _evaluate_and_save(
                    task, step, save, run_dir, log, progress, state, best=best
                )
                task.network.train()
            elif stopped:
                state = _state(optimizer, scaler, task.network)
                save(step_folder(run_dir, step), step, {}, state)
                _keep(run_dir, best.folder, step_folder(run_dir, step))
            if stopped and step < config.steps:
                raise TrainingInterruptedError(
                    f"stopped after step {step} of {config.steps}; saved in {run_dir}. "
                    "Give the same command with --resume to go on"
                )
    return best


def _evaluate_and_save(
    task: Task[Any],
    step: int,
    save: Save,
    run_dir: Path,
    log: "_Log",
    progress: Progress,
    state: Tensors | None,
    *,
    best: Checkpoint | None = None,
) -> Checkpoint:
    metrics = task.evaluate()
    log.write({"step": step, **{f"val_{name}": value for name, value in metrics.items()}})
    progress.evaluated(step, metrics)
    saved = save(step_folder(run_dir, step), step, metrics, state)
    name = task.main_metric
    if best is None or metrics[name] > best.card.metrics[name]:
        best = saved
    _keep(run_dir, best.folder, saved.folder)
    return best


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


def _state(optimizer: Any, scaler: Any, network: nn.Layer) -> Tensors:
    state = get_state(optimizer, network)
    for name, value in scaler.state_dict().items():
        state[f"scaler|{name}"] = np.asarray(value)
    return state


def _take_scaler(state: Tensors) -> dict[str, Any]:
    """Remove the scaler's values from ``state`` and return them."""
    keys = [key for key in state if key.startswith("scaler|")]
    taken = {key.removeprefix("scaler|"): state.pop(key) for key in keys}
    return {name: value.item() if value.ndim == 0 else value for name, value in taken.items()}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second one has its usual effect."""
    received: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, previous[number])

    for wanted in (signal.SIGINT, signal.SIGTERM):
        previous[wanted] = signal.signal(wanted, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Log:
    """``metrics.jsonl``: the record of a run, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, values: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")

    def truncate_after(self, step: int) -> None:
        """Drop lines of steps that a resumed run takes again."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
