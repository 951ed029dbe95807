"""What a step takes: time and memory, measured on batches of noise before training begins."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import paddle
from paddle import nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.made_up import Subject
from ocr_pipeline.training.memory import (
    PeakMemory,
    free_unused,
    is_out_of_memory,
    wait_for_device,
)
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.stepper import Task

_USED = 0.9
"""Share of the memory that is planned with: batches differ, and fragments stay."""
_ENOUGH = 1.05
"""A batch of up to this times the shortest time a sample is as good as the fastest."""
_MULTIPLE = 4
_MOST = 512
_STEPS_PER_EPOCH = 8
ConfigT = TypeVar("ConfigT", bound=TrainConfig)


@dataclass(frozen=True)
class Trial:
    """A step that was tried.

    Attributes:
        batch: samples.
        seconds: of forward and backward pass.
        peak: memory, bytes; optimiser state and average are counted in.
    """

    batch: int
    seconds: float
    peak: int


class Probe:
    """Tries steps of a network that is left as it was.

    Args:
        task: whose loss is taken.
        config: of the training.
        precision: mixed or not.
    """

    def __init__(self, task: Task[Any], config: TrainConfig, precision: Precision) -> None:
        self._task = task
        self._precision = precision
        self._memory = PeakMemory()
        self.capacity = self._memory.capacity()
        self._rest = _state_bytes(task.network, averaged=config.average is not None)

    def step(self, made: Any, batch: int) -> Trial | None:
        """Take forward and backward pass twice; None where memory does not suffice.

        Args:
            made: a batch.
            batch: its samples.
        """
        network = self._task.network
        was_training = network.training
        before = {name: value.clone().detach() for name, value in network.state_dict().items()}
        network.train()
        trial = None
        try:
            trial = self._timed(made, batch)
        except (MemoryError, RuntimeError, SystemError) as error:
            if not is_out_of_memory(error):
                raise
        finally:
            for parameter in network.parameters():
                parameter.clear_gradient(set_to_zero=False)
            with paddle.no_grad():
                for name, value in network.state_dict().items():
                    paddle.assign(before[name], value)
            if not was_training:
                network.eval()
            free_unused()
        return trial

    def forward_seconds(self, made: Any, batch: int) -> float:
        """Time a sample of the forward pass alone, as in evaluation."""
        network = self._task.network
        was_training = network.training
        network.eval()
        with paddle.no_grad():
            network(made.images)
            started = time.perf_counter()
            network(made.images)
            wait_for_device()
            seconds = time.perf_counter() - started
        if was_training:
            network.train()
        return seconds / batch

    def _timed(self, made: Any, batch: int) -> Trial:
        self._memory.restart()
        seconds = 0.0
        for _ in range(2):  # the first one gets memory from the system
            started = time.perf_counter()
            with self._precision.autocast():
                loss = self._task.loss(made)["total"]
            loss.backward()
            wait_for_device()
            seconds = time.perf_counter() - started
        return Trial(batch, seconds, self._memory.read() + self._rest)


def with_found_batch(
    config: ConfigT,
    last: Checkpoint | None,
    subject: Callable[[], Subject],
    precision: Precision,
    ranks: Ranks,
    tell: Callable[[str], None],
) -> ConfigT:
    """The config with the batch that was found, where it asks for that.

    Args:
        config: of the run.
        last: a checkpoint to go on from: a run keeps its batch.
        subject: what is to be trained.
        precision: mixed or not.
        ranks: all take the smallest that was found.
        tell: is told what was found.
    """
    if not config.find_batch:
        return config
    if last is not None:
        return config.model_copy(update={"batch": last.card.config["batch"]})
    found = subject()
    most = most_samples(found.train, ranks.world)
    probe = Probe(found.task, config, precision)
    batch, reason = find_batch(probe, found.largest, most=most, tell=lambda _: None)
    batch = min(ranks.gather(batch))
    tell(f"batch {batch} of {found.shapes[0]} px found: {reason}")
    return config.model_copy(update={"batch": batch})


def most_samples(train: int | None, world: int = 1) -> int:
    """The largest batch that is tried: an epoch shall have some steps."""
    return _MOST if train is None else max(1, min(_MOST, train // _STEPS_PER_EPOCH // world))


def find_batch(
    probe: Probe, made: Callable[[int], Any], *, most: int, tell: Callable[[Trial], None]
) -> tuple[int, str]:
    """The largest batch that fits into memory, unless a smaller one is as fast a sample.

    Batches are doubled as long as the next one is expected to fit and larger ones are faster.

    Args:
        probe: tries them.
        made: samples -> a batch of the largest shape.
        most: is not exceeded.
        tell: is told of each trial.

    Returns:
        Samples, and why not more.
    """
    trials: list[Trial] = []
    reason = f"no more than {most} are tried"
    batch = min(2, most)
    while batch <= most:
        if _expected(trials, batch) > probe.capacity * _USED > 0:
            reason = "memory"
            break
        trial = probe.step(made(batch), batch)
        if trial is None:
            reason = "memory"
            break
        trials.append(trial)
        tell(trial)
        if _is_fast_enough(trials):
            reason = "larger ones are no faster"
            break
        batch *= 2
    if not trials:
        return 1, reason
    if reason == "memory":
        return _filling(probe, made, trials), reason
    best = min(trial.seconds / trial.batch for trial in trials)
    return next(t.batch for t in trials if t.seconds / t.batch <= best * _ENOUGH), reason


def _filling(probe: Probe, made: Callable[[int], Any], trials: list[Trial]) -> int:
    """Between the last batch that fitted and the double of it."""
    last = trials[-1].batch
    if len(trials) < 2 or not probe.capacity:
        return last
    slope = (trials[-1].peak - trials[-2].peak) / (last - trials[-2].batch)
    if slope <= 0:
        return last
    room = probe.capacity * _USED - trials[-1].peak
    wanted = min(2 * last - 1, last + int(room / slope)) // _MULTIPLE * _MULTIPLE
    if wanted <= last:
        return last
    return last if probe.step(made(wanted), wanted) is None else wanted


def _expected(trials: list[Trial], batch: int) -> float:
    """Peak memory of a batch by those before; 0 where too few are known."""
    if len(trials) < 2:
        return 0.0
    one, other = trials[-2:]
    return other.peak + (other.peak - one.peak) / (other.batch - one.batch) * (batch - other.batch)


def _is_fast_enough(trials: list[Trial]) -> bool:
    """Two doublings have gained less than 5 %."""
    if len(trials) < 4:
        return False
    per_sample = [trial.seconds / trial.batch for trial in trials]
    return min(per_sample[:-2]) <= min(per_sample[-2:]) * _ENOUGH


def _state_bytes(network: nn.Layer, *, averaged: bool) -> int:
    """Two moments of Adam; average and the copy that is made where it is applied."""
    count = sum(p.size for p in network.parameters() if not p.stop_gradient)
    return int(count) * 4 * (4 if averaged else 2)
