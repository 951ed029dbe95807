"""Several processes, cards and machines that train one network (``paddle.distributed.launch``).

Every process has the whole network and a part of each batch. Once a step, one exchange averages
everything that must not differ: gradients, statistics of normalisations, the figures for the
record, and whether to stop.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn

from ocr_pipeline.config.train import DistributedConfig
from ocr_pipeline.errors import OcrPipelineError, TrainingError, TrainingInterruptedError
from ocr_pipeline.training.rank_watch import RankWatch, interface_of, meet

T = TypeVar("T")


class Ranks:
    """The processes of a training; alone, every exchange returns what it is given.

    Args:
        rank: of this process, from 0.
        world: number of processes.
        watch: names one that is missing.

    Attributes:
        samples: of the present batch, in all processes; 0 where nobody has said.
    """

    def __init__(self, rank: int = 0, world: int = 1, watch: RankWatch | None = None) -> None:
        self.rank = rank
        self.world = world
        self.samples = 0
        self._watch = watch

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def at(self, where: str) -> None:
        """Tell what is being done, for messages."""
        if self._watch is not None:
            self._watch.where = where

    def expect(self, own: int, share: float) -> None:
        """Tell of the present batch.

        Args:
            own: samples in this process.
            share: see :class:`~ocr_pipeline.training.batch_plan.Planned`.
        """
        self.samples = round(own * self.world / share)

    def average(self, tensors: Sequence[Tensor], values: Sequence[float]) -> list[float]:
        """Mean over all processes, in one exchange.

        Args:
            tensors: float; each is replaced by its mean, in place.
            values: a few numbers.

        Returns:
            The means of ``values``.
        """
        if self.world == 1:
            return list(values)
        with paddle.no_grad():
            parts = [tensor.astype("float32").reshape([-1]) for tensor in tensors]
            numbers = paddle.to_tensor(np.array(values, dtype=np.float32))
            flat = paddle.concat([*parts, numbers])
            self._exchange(lambda: paddle.distributed.all_reduce(flat))
            flat = flat / self.world
            begin = 0
            for tensor, part in zip(tensors, parts, strict=True):
                end = begin + int(part.shape[0])
                mean = flat[begin:end].reshape(tensor.shape)
                paddle.assign(mean.astype(tensor.dtype), tensor)
                begin = end
        return [float(value) for value in flat[begin:].numpy()]

    def total(self, tensor: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.world > 1:
            tensor = tensor.clone()
            self._exchange(lambda: paddle.distributed.all_reduce(tensor))
        return tensor

    def mean(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over all processes."""
        return np.asarray(np.mean(self.gather(array), axis=0))

    def rows(self, row: Tensor) -> Tensor:
        """``[K]`` of every process: ``[world, K]``."""
        if self.world == 1:
            return row.unsqueeze(0)
        found: list[Tensor] = []
        self._exchange(lambda: paddle.distributed.all_gather(found, row))
        return paddle.stack(found)

    def gather(self, thing: T) -> list[T]:
        """What each process has, by rank."""
        if self.world == 1:
            return [thing]
        found: list[T] = []
        self._exchange(lambda: paddle.distributed.all_gather_object(found, thing))
        return found

    def first(self, work: Callable[[], T]) -> T:
        """What rank 0 alone does; all get its result, and wait for it."""
        return cast(T, self.gather(work() if self.is_first else None)[0])

    def spread(self, count: int, work: Callable[[Sequence[int]], Sequence[T]]) -> list[T]:
        """Divide ``count`` items among the processes; all get the results of all, in order.

        Args:
            count: of items.
            work: numbers of items -> their results; is not called for none.
        """
        own = range(self.rank, count, self.world)
        parts = self.gather(list(work(own)) if own else [])
        results: list[Any] = [None] * count
        for rank, part in enumerate(parts):
            results[rank :: self.world] = part
        return results

    def start_alike(self, network: nn.Layer) -> None:
        """All take the parameters and statistics of rank 0."""
        if self.world > 1:
            for tensor in network.state_dict().values():
                self._exchange(partial(paddle.distributed.broadcast, tensor, src=0))

    def _exchange(self, work: Callable[[], object]) -> None:
        assert self._watch is not None  # noqa: S101  (there are several)
        self._watch.arrive()
        try:
            work()
        except (RuntimeError, SystemError, OSError, ValueError) as error:
            # What Paddle raises when the process at the other end is gone.
            self._watch.check(said=_last_line(error))


ALONE = Ranks()


@contextmanager
def joined(device: str, config: DistributedConfig) -> Iterator[Ranks]:
    """Join the processes that the launcher started; alone where there is no launcher.

    An error that leaves the block ends the other processes as well, and they tell of it.

    Args:
        device: ``cpu`` (they speak gloo) or ``gpu`` (NCCL).
        config: how long to wait for one another.

    Raises:
        TrainingError: a process did not come, or the launcher's settings are not complete.
    """
    world = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    if world == 1:
        yield ALONE
        return
    rank, endpoints = int(_setting("PADDLE_TRAINER_ID")), _setting("PADDLE_TRAINER_ENDPOINTS")
    host, _, port = endpoints.split(",")[0].rpartition(":")
    timeout_s = config.timeout_s
    others = meet((host, int(port)), rank, world, job=endpoints, timeout_s=timeout_s)
    watch = RankWatch(rank, others, timeout_s=timeout_s)
    try:
        watch.where = "the start of paddle.distributed"
        with watch.within(timeout_s):
            _begin_paddle(device, rank, world, own_address=others[0][2].getsockname()[0])
        watch.where = "the start"
        yield Ranks(rank, world, watch)
    except TrainingInterruptedError:  # all end by it
        _ignore_signals()
        watch.close()
        raise
    except BaseException as error:
        _ignore_signals()
        watch.close(error)
        if not isinstance(error, OcrPipelineError):
            watch.check()  # what Paddle said of a process that is gone, from inside a backward pass
        raise
    watch.close()


def is_first_process() -> bool:
    """Whether this is the process that writes files: rank 0, or the only one."""
    return os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


def _setting(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise TrainingError(
            f"PADDLE_TRAINERS_NUM asks for several processes, and {name} is not set; start them "
            "with python -m paddle.distributed.launch"
        )
    return value


def _begin_paddle(device: str, rank: int, world: int, *, own_address: str) -> None:
    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        # Left alone, gloo takes the network that the host's name belongs to: often the loopback.
        name = interface_of(own_address)
        if name is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    try:
        paddle.distributed.init_parallel_env()
    except (RuntimeError, SystemError, OSError, ValueError) as error:
        raise TrainingError(
            f"rank {rank} of {world}: the processes cannot talk to each other "
            f"({_last_line(error)}); with several machines, name the network between them: "
            "GLOO_SOCKET_IFNAME on CPU, NCCL_SOCKET_IFNAME on GPU"
        ) from None


def _ignore_signals() -> None:
    """The process ends: Paddle's launcher ends those that are left, which would change its code."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _last_line(error: Exception) -> str:
    """The words of an error of Paddle's; what precedes them is a trace."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]
