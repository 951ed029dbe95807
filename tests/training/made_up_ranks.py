"""Processes of a training, stood in for by threads of one process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import paddle
from paddle import Tensor

from ocr_pipeline.training.distributed import Ranks

T = TypeVar("T")
_PATIENCE_S = 60.0


class _Board:
    """What all threads of an exchange have brought."""

    def __init__(self, world: int) -> None:
        self.rows: list[Any] = [None] * world
        self.barrier = threading.Barrier(world, timeout=_PATIENCE_S)


class ThreadRanks(Ranks):
    """Exchanges through memory instead of Paddle."""

    def __init__(self, rank: int, world: int, board: _Board) -> None:
        super().__init__(rank, world)
        self._board = board

    def gather(self, thing: T) -> list[T]:
        self._board.rows[self.rank] = thing
        self._board.barrier.wait()
        found = list(self._board.rows)
        self._board.barrier.wait()
        return found

    def rows(self, row: Tensor) -> Tensor:
        return paddle.to_tensor(self.gather(row.numpy())).reshape([self.world, -1])

    def total(self, tensor: Tensor) -> Tensor:
        return paddle.to_tensor(sum(self.gather(tensor.numpy())))


def together(world: int, work: Callable[[Ranks], T]) -> list[T]:
    """Do ``work`` as so many processes; what each returns."""
    board = _Board(world)

    def one(rank: int) -> T:
        try:
            return work(ThreadRanks(rank, world, board))
        except BaseException:
            board.barrier.abort()
            raise

    with ThreadPoolExecutor(world) as pool:
        return [future.result() for future in [pool.submit(one, rank) for rank in range(world)]]
