"""Lines of several callers in common batches."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")


@dataclass(eq=False)
class _Item(Generic[InputT, ResultT]):
    """One line that waits.

    Attributes:
        call: number of the call that it came with.
        content: the line.
        result: what its caller waits for.
    """

    call: int
    content: InputT
    result: "Future[ResultT]" = field(default_factory=Future)


class Batcher(Generic[InputT, ResultT]):
    """Computes what several threads ask for in batches of the same width.

    Nothing waits for a batch to fill: whatever has come by the time that a lane is free goes
    together. The lines of the call that came first are taken first, the dearest width of them
    before the others, and no batch is dearer than a lane's share of all that waits, so that the
    lanes end at about the same time; lines of later calls fill the batch up.

    Args:
        lanes: batches that are computed at the same time.
        most: lines of a width, which is at least 1, that go together; at least 1.
        compute: gives a result for each line of a batch, in order.

    Attributes:
        on_batch: is told how many lines go together, and how many of their width could.
    """

    def __init__(
        self,
        lanes: int,
        most: Callable[[int], int],
        compute: Callable[[Sequence[InputT]], Sequence[ResultT]],
    ) -> None:
        self.on_batch: Callable[[int, int], None] | None = None
        self._most = most
        self._compute = compute
        self._calls = count()
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[_Item[InputT, ResultT]]] = {}
        self._lanes = lanes
        self._threads = ThreadPoolExecutor(lanes, "batch")

    def compute(self, lines: Sequence[tuple[int, InputT]]) -> list[ResultT]:
        """Compute lines, each given with its width; one result per line, in order.

        Raises:
            Exception: what ``compute`` raised for a batch with one of them.
        """
        call = next(self._calls)
        items = [_Item[InputT, ResultT](call, content) for _, content in lines]
        with self._lock:
            for (width, _), item in zip(lines, items, strict=True):
                self._waiting.setdefault(width, deque()).append(item)
        for _ in range(min(self._lanes, len(lines))):
            self._threads.submit(self._compute_waiting)
        return [item.result.result() for item in items]

    def _compute_waiting(self) -> None:
        """Compute batch after batch until no line waits."""
        while (taken := self._take())[0]:
            self._compute_batch(*taken)

    def _compute_batch(self, batch: "Sequence[_Item[InputT, ResultT]]", most: int) -> None:
        if self.on_batch is not None:
            self.on_batch(len(batch), most)
        try:
            results = self._compute([item.content for item in batch])
            for item, result in zip(batch, results, strict=True):
                item.result.set_result(result)
        except Exception as error:  # noqa: BLE001  (it is raised to those who wait)
            for item in batch:
                if not item.result.done():
                    item.result.set_exception(error)

    def _take(self) -> tuple[list[_Item[InputT, ResultT]], int]:
        """The lines whose turn it is, and how many there could be."""
        with self._lock:
            if not self._waiting:
                return [], 0
            width = min(self._waiting, key=self._rank)
            line, most = self._waiting[width], self._most(width)
            cost = sum(each * len(waiting) for each, waiting in self._waiting.items())
            share = max(1, cost // (self._lanes * width))
            batch = [line.popleft() for _ in range(min(len(line), most, share))]
            if not line:
                del self._waiting[width]
            return batch, most

    def _rank(self, width: int) -> tuple[int, int]:
        line = self._waiting[width]
        return line[0].call, -width * min(len(line), self._most(width))
