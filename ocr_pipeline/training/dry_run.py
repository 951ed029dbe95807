"""What a training would take, before there are labels."""

import shutil
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.training.made_up import Subject
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.probe import Probe, Trial, find_batch

_DOUBLINGS = 2


@dataclass(frozen=True)
class Estimate:
    """Time, memory and disk.

    Attributes:
        parameters: of the network that are trained.
        batch: samples; with ``find_batch`` the one that was found.
        trials: the configured batch at the largest shape, then larger ones; or those that
            ``find_batch`` tried.
        reason: why the batch is not larger; empty without ``find_batch``.
        step_seconds: of one optimiser step at a typical shape.
        eval_seconds: of one evaluation; None: there is no dataset yet.
        train_seconds: of all steps.
        evaluations: how many.
        capacity: memory for this process, bytes; 0: not known.
        checkpoint_bytes: all that are kept, and one that is being written.
        disk_free: at the run's folder, bytes.
    """

    parameters: int
    batch: int
    trials: list[Trial]
    reason: str
    step_seconds: float
    eval_seconds: float | None
    train_seconds: float
    evaluations: int
    capacity: int
    checkpoint_bytes: int
    disk_free: int

    def total_seconds(self) -> float:
        """Of the whole training, as far as known."""
        return self.train_seconds + self.evaluations * (self.eval_seconds or 0.0)


def estimate(subject: Subject, config: TrainConfig, precision: Precision, most: int) -> Estimate:
    """Measure steps on noise; nothing is written.

    Args:
        subject: what would be trained.
        config: how.
        precision: mixed or not.
        most: samples a batch, for ``find_batch``.

    Raises:
        TrainingError: memory does not suffice for one sample.
    """
    probe = Probe(subject.task, config, precision)
    trials: list[Trial] = []
    batch, reason = config.batch, ""
    if config.find_batch:
        batch, reason = find_batch(probe, subject.largest, most=most, tell=trials.append)
    else:
        for doubling in range(_DOUBLINGS):
            size = batch * 2**doubling
            trial = probe.step(subject.largest(size), size)
            if trial is None:
                break
            trials.append(trial)
    typical = probe.step(subject.typical(batch), batch)
    forward = probe.forward_seconds(subject.typical(batch), batch)
    seconds = config.accumulate * (typical.seconds if typical else float("nan"))
    parameters = [p for p in subject.task.network.parameters() if not p.stop_gradient]
    count = sum(int(p.size) for p in parameters)
    return Estimate(
        parameters=count,
        batch=batch,
        trials=trials,
        reason=reason,
        step_seconds=seconds,
        eval_seconds=None if subject.val is None else forward * subject.val,
        train_seconds=seconds * config.steps,
        evaluations=1 + ceil(config.steps / config.eval_every),
        capacity=probe.capacity,
        checkpoint_bytes=_checkpoint_bytes(count, config),
        disk_free=shutil.disk_usage(_existing(config.run_dir)).free,
    )


def _checkpoint_bytes(parameters: int, config: TrainConfig) -> int:
    weights = 4 * parameters
    whole = weights * (3 if config.average is None else 4)
    return weights + whole * (2 + config.keep_last)


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)
