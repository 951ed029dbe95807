"""Several processes, cards and machines that train one network (``paddle.distributed.launch``).

Every process has the whole network and a part of each batch. Once a step, one exchange averages
everything that must not differ: gradients, statistics of normalisations, the figures for the
record, and whether to stop.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn

from ocr_pipeline.config.train import DistributedConfig
from ocr_pipeline.errors import TrainingError, TrainingInterruptedError
from ocr_pipeline.training.rank_watch import RankWatch, accept, connect, listen

T = TypeVar("T")
_INIT_TIMEOUT = "FLAGS_stop_check_timeout"
_VERDICT_S = 1.5
"""After an exchange has failed, the name of the process that is gone comes within this time."""


class Ranks:
    """The processes of a training; alone, every exchange returns what it is given.

    Args:
        rank: of this process, from 0.
        world: number of processes.
        watch: names one that is missing.
    """

    def __init__(self, rank: int = 0, world: int = 1, watch: RankWatch | None = None) -> None:
        self.rank = rank
        self.world = world
        self._watch = watch

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def at(self, where: str) -> None:
        """Tell what is being done, for messages."""
        if self._watch is not None:
            self._watch.where = where

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
            self._watch.check(wait_s=_VERDICT_S, said=str(error).strip().splitlines()[-1])


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
    rank = int(os.environ["PADDLE_TRAINER_ID"])
    _begin_paddle(device, rank, world, config.timeout_s)
    watch = _begin_watch(rank, world, config.timeout_s)
    try:
        yield Ranks(rank, world, watch)
    except TrainingInterruptedError:  # all end by it
        watch.close()
        raise
    except BaseException as error:
        watch.close(error)
        raise
    watch.close()


def _begin_paddle(device: str, rank: int, world: int, timeout_s: float) -> None:
    if device == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    os.environ[_INIT_TIMEOUT] = str(max(1, round(timeout_s)))
    try:
        paddle.distributed.init_parallel_env()
    except (RuntimeError, SystemError, OSError, ValueError) as error:
        raise TrainingError(
            f"rank {rank} of {world}: the processes did not find each other "
            f"({str(error).strip().splitlines()[-1]}); look at the logs of all of them, and start "
            "all within distributed.timeout_s"
        ) from None


def _begin_watch(rank: int, world: int, timeout_s: float) -> RankWatch:
    """Connect to rank 0, whose address and secret come through Paddle's own channel."""
    host = os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")[0].rpartition(":")[0]
    server = listen(host) if rank == 0 else None
    port = 0 if server is None else server.getsockname()[1]
    told = paddle.to_tensor(np.array([port, secrets.randbits(62)], dtype=np.int64))
    paddle.distributed.broadcast(told, src=0)
    port, secret = (int(value) for value in told.numpy())
    if server is None:
        link = connect((host, port), rank, secret=str(secret), timeout_s=timeout_s)
        return RankWatch(rank, [(0, f"rank 0 (on {host})", link)], timeout_s=timeout_s)
    with server:
        others = accept(server, world=world, secret=str(secret), timeout_s=timeout_s)
    return RankWatch(rank, others, timeout_s=timeout_s)
