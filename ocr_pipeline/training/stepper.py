"""One step of training, and all that it changes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import paddle
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors
from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.errors import NotFiniteError, TrainingError
from ocr_pipeline.training.average import WeightAverage
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.freeze import Freezer
from ocr_pipeline.training.memory import free_unused, is_out_of_memory
from ocr_pipeline.training.optimizer import (
    build_optimizer,
    get_state,
    learning_rate,
    peak_rate,
    set_state,
)
from ocr_pipeline.training.precision import Precision, StepScaler

BatchT = TypeVar("BatchT")


class Task(Protocol[BatchT]):
    """What differs between detection and recognition.

    Attributes:
        network: is trained in place.
        main_metric: name of the metric that chooses the best checkpoint; higher is better.
    """

    network: nn.Layer
    main_metric: str

    def loss(self, batch: BatchT) -> dict[str, Tensor]:
        """Scalars by name; ``total`` is what is minimised."""
        ...

    def split(self, batch: BatchT, pieces: int) -> Sequence[BatchT]:
        """Up to so many parts whose losses add up to that of the whole."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Metrics on the whole validation part."""
        ...


class Phases:
    """Measures how long the parts of a step take.

    Args:
        wait: called at both ends of each part: on GPU, operations are only begun. None: not.
    """

    def __init__(self, wait: Callable[[], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = wait

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time of the block to ``seconds[name]``."""
        if self._wait is not None:
            self._wait()
        started = time.perf_counter()
        yield
        if self._wait is not None:
            self._wait()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


@dataclass(frozen=True)
class StepDone:
    """What a step was.

    Attributes:
        lr: learning rate.
        terms: loss by name, mean of all processes.
        phases: seconds of ``reader``, ``forward``, ``backward``, ``exchange``, ``optimizer``.
        seconds: of the whole.
        stop: a process has been asked to stop.
    """

    lr: float
    terms: dict[str, float]
    phases: dict[str, float]
    seconds: float
    stop: bool


class Stepper:
    """Network, optimiser, loss scaling, average and frozen parts, one step after the other.

    Args:
        task: whose network is trained.
        config: of the run.
        precision: mixed or not.
        tell: is told a sentence when a step did not fit into memory.
        ranks: the processes that step together.
        wait: see :class:`Phases`.
    """

    def __init__(
        self,
        task: Task[Any],
        config: TrainConfig,
        precision: Precision,
        tell: Callable[[str], None],
        *,
        ranks: Ranks = ALONE,
        wait: Callable[[], None] | None = None,
    ) -> None:
        self._task = task
        self._config = config
        self._precision = precision
        self._tell = tell
        self._ranks = ranks
        self._wait = wait
        self._peak = peak_rate(config, ranks.world)
        self._optimizer = build_optimizer(task.network, config.optim)
        self._scaler = StepScaler(precision)
        self._freezer = Freezer(task.network, config.freeze.parts if config.freeze.steps else ())
        self._average: WeightAverage | None = None
        if config.average is not None:
            self._average = WeightAverage(task.network, config.average)
        self._pieces = 1  # of a batch, as far as memory has shown to suffice
        self._restored: Tensors | None = None  # until the first step after it

    @property
    def skipped(self) -> int | None:
        """Steps left out since their gradients overflowed; None where that cannot be."""
        return self._scaler.skipped if self._scaler.is_active else None

    def set_mode(self, step: int) -> None:
        """Training mode, as it is after ``step`` steps."""
        self._freezer.set_mode(frozen=step < self._config.freeze.steps)

    def take(
        self, step: int, batches: Iterator[Any], *, stop: bool = False, lr: float | None = None
    ) -> StepDone:
        """Take the step that comes after ``step`` steps.

        Its chance follows from (seed, step) alone.

        Args:
            step: from 0.
            batches: ``accumulate`` of them are taken.
            stop: this process has been asked to stop; all learn of it.
            lr: learning rate; None: that of the schedule.

        Raises:
            NotFiniteError: a loss term is infinite or no number.
            TrainingError: memory does not suffice for one sample.
        """
        config = self._config
        self._restored = None
        started = time.perf_counter()
        phases = Phases(self._wait)
        if step == config.freeze.steps > 0:
            self.set_mode(step)
        if lr is None:
            lr = learning_rate(step, steps=config.steps, config=config.optim, peak=self._peak)
        self._optimizer.set_lr(lr)
        with phases.measure("reader"):
            taken = [next(batches) for _ in range(config.accumulate)]
        terms = self._gradients(step, taken, phases)
        with phases.measure("exchange"):
            terms, stop = self._agree(terms, stop=stop)
        _check_finite(terms, step)
        with phases.measure("optimizer"):
            self._scaler.step(self._optimizer)
            if self._average is not None:
                self._average.update(step + 1)
        return StepDone(lr, terms, phases.seconds, time.perf_counter() - started, stop)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the network has the averaged weights, where such are kept."""
        return nullcontext() if self._average is None else self._average.applied()

    def state(self) -> Tensors:
        """All but the weights that are saved anyway, for :meth:`restore`."""
        if self._restored is not None:  # which Paddle 2.6 keeps to itself until a step is taken
            return dict(self._restored)
        state = get_state(self._optimizer, self._task.network)
        state |= {f"scaler|{name}": value for name, value in self._scaler.state().items()}
        if self._average is not None:
            state |= {f"live|{name}": value for name, value in self._average.live().items()}
        return state | {"run|pieces": np.asarray(self._pieces)}

    def restore(self, last: Checkpoint, state: Tensors) -> None:
        """Go on from a checkpoint whose weights the network has.

        Raises:
            TrainingError: it was trained with an average and this run has none, or the reverse.
        """
        self._restored = dict(state)
        self._scaler.restore(taken(state, "scaler|"))
        self._pieces = int(state.pop("run|pieces", np.ones(())))
        live = taken(state, "live|")
        if last.card.step == 0:  # nothing but the weights, which are their own average
            self.set_mode(0)
            return
        if (self._average is None) != (not live):
            raise TrainingError(
                f"{last.folder}: average={self._config.average} cannot change within a run; resume "
                "with the settings it was started with"
            )
        if self._average is not None:
            self._average.restore(live)
        set_state(self._optimizer, self._task.network, state)
        self.set_mode(last.card.step)

    def _gradients(self, step: int, batches: Sequence[Any], phases: Phases) -> dict[str, float]:
        """Forward and backward; with smaller pieces, from the start, where memory runs out."""
        while True:
            # The same in all processes: each takes its rows of what they draw.
            paddle.seed(self._config.seed * 1_000_003 + step)
            try:
                return self._accumulated(batches, phases)
            except (MemoryError, RuntimeError, SystemError) as error:
                if not is_out_of_memory(error):
                    raise
                said = str(error).strip().splitlines()[0]
            # Not above: as long as the error is being handled, it holds what is to be freed.
            self._halve(step, batches, said)

    def _accumulated(self, batches: Sequence[Any], phases: Phases) -> dict[str, float]:
        sums: dict[str, float] = {}
        for batch in batches:
            for piece in self._task.split(batch, self._pieces) if self._pieces > 1 else [batch]:
                with phases.measure("forward"), self._precision.autocast():
                    terms = self._task.loss(piece)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
                with phases.measure("backward"):
                    self._scaler.backward(terms["total"] / len(batches))
        return sums

    def _halve(self, step: int, batches: Sequence[Any], said: str) -> None:
        before = max(len(self._task.split(batch, self._pieces)) for batch in batches)
        self._pieces *= 2
        after = max(len(self._task.split(batch, self._pieces)) for batch in batches)
        what = f"step {step + 1}: memory does not suffice"
        if after == before:
            raise TrainingError(
                f"{what} for a single sample ({said}); choose a smaller input (image.max_width, "
                "augment.size), a smaller start model or a device with more memory"
            )
        if self._ranks.world > 1 and self._config.distributed.sync_norm:
            raise TrainingError(
                f"{what} ({said}), and with distributed.sync_norm a process cannot halve its batch "
                "alone; set a smaller batch, and accumulate to make up for it"
            )
        self._optimizer.clear_grad()
        free_unused()
        self._tell(f"{what}; from now on each batch goes through in {after} pieces")

    def _agree(self, terms: Mapping[str, float], *, stop: bool) -> tuple[dict[str, float], bool]:
        """Average gradients, running statistics and figures over the processes."""
        network = self._task.network
        tensors = [p.grad for p in network.parameters() if p.grad is not None]
        for layer in network.sublayers(include_self=True):
            if layer.training and self._ranks.world > 1:
                tensors += [b for b in layer.buffers(include_sublayers=False) if _is_float(b)]
        *means, stopped = self._ranks.average(tensors, [*terms.values(), float(stop)])
        return dict(zip(terms, means, strict=True)), stopped > 0


def taken(state: Tensors, prefix: str) -> Tensors:
    """Remove the values of a prefix from ``state`` and return them, without it."""
    keys = [key for key in state if key.startswith(prefix)]
    return {key.removeprefix(prefix): state.pop(key) for key in keys}


def _check_finite(values: Mapping[str, float], step: int) -> None:
    if not all(np.isfinite(value) for value in values.values()):
        named = ", ".join(f"{name}={value:g}" for name, value in values.items())
        raise NotFiniteError(
            f"step {step + 1}: the loss is not finite ({named}); lower optim.lr, or set "
            "amp.enabled=false to see whether mixed precision is the cause"
        )


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in (paddle.float32, paddle.float64)
