"""The check in several processes: results in order, and a process that dies is explained."""

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_longlong
from itertools import islice
from typing import Any

import cv2

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.check_one import Item, Outcome
from ocr_pipeline.preprocess.check_sample import SampleChecker
from ocr_pipeline.preprocess.check_types import Rules
from ocr_pipeline.processes import serve_parent
from ocr_pipeline.storage import Root

_CHUNK = 16
_LONGEST_CHUNK = 512
"""Lines of one picture stay together up to this, so that it is decoded once."""
_AHEAD = 4
"""Chunks per process that wait or are done and not yet taken."""
_IDLE = -1
_NOT_BEGUN = (
    "no process of the check could start; in a script of your own, call this below "
    "`if __name__ == '__main__':` (each process reads the script again), or set workers to 0"
)


def check_in_processes(
    items: Iterable[Item],
    roots: Sequence[Root],
    rules: Rules,
    config: CheckConfig,
    split: Split,
    workers: int,
) -> Iterator[Outcome]:
    """Yield the outcome of each item, in order.

    Raises:
        DataError: a process died; the pictures that were being checked are named. Or none started.
    """
    context = multiprocessing.get_context("spawn")
    at = context.Array(c_longlong, [_IDLE] * workers)
    started = context.Value(c_longlong, 0)
    setup = (roots, rules, config, split, at, started)
    waiting: deque[tuple[list[Item], Future[list[Outcome]]]] = deque()
    numbered = 0
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=setup)
    try:
        chunks = _chunks(items)
        while True:
            for chunk in islice(chunks, max(0, workers * _AHEAD - len(waiting))):
                waiting.append((chunk, pool.submit(_check, numbered, chunk)))
                numbered += len(chunk)
            if not waiting:
                return
            yield from waiting[0][1].result()
            waiting.popleft()
    except BrokenProcessPool:
        # Without its lock: a process may have died with it.
        begun = started.get_obj().value > 0
        raise DataError(_died(at, waiting, numbered) if begun else _NOT_BEGUN) from None
    finally:
        # After Ctrl-C as well: what runs is a few pictures, what waits is given up.
        pool.shutdown(wait=True, cancel_futures=True)


def _died(at: Any, waiting: Iterable[tuple[list[Item], Any]], numbered: int) -> str:
    """Which pictures the processes were at when one of them died."""
    held = [item for chunk, _ in waiting for item in chunk]
    first = numbered - len(held)
    places = [int(number) - first for number in at if number != _IDLE]
    names = [held[p].raw.image for p in sorted(places) if 0 <= p < len(held)]
    where = f" at one of: {', '.join(names)}" if names else ""
    return (
        f"a process of the check died{where}; it was killed or ran out of memory: look at "
        "these pictures, lower limits.max_pixels, or use fewer workers"
    )


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        full = len(chunk) >= _CHUNK and not _same_picture(chunk[-1], item)
        if full or len(chunk) >= _LONGEST_CHUNK:
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk


def _same_picture(first: Item, second: Item) -> bool:
    return first.source == second.source and first.raw.image == second.raw.image


class _Worker:
    """State of one process."""

    def __init__(self) -> None:
        self.checker: SampleChecker | None = None
        self.at: Any = None
        self.slot = 0


_worker = _Worker()


def _start(
    roots: Sequence[Root],
    rules: Rules,
    config: CheckConfig,
    split: Split,
    at: Any,
    started: Any,
) -> None:
    """Set up a new process; Ctrl-C is the parent's business, and it ends with the parent."""
    serve_parent()
    cv2.setNumThreads(1)
    with started.get_lock():
        _worker.slot = started.value
        started.value += 1
    _worker.at = at
    _worker.checker = SampleChecker(roots, rules, config, split)


def _check(first: int, items: Sequence[Item]) -> list[Outcome]:
    checker = _worker.checker
    if checker is None:
        raise RuntimeError("the process was not set up")
    outcomes = []
    for number, item in enumerate(items, start=first):
        _worker.at[_worker.slot] = number
        outcomes.append(checker.check(item))
    _worker.at[_worker.slot] = _IDLE
    return outcomes
