"""Drawing in one or more processes: results in order, and nothing that outlives its parent."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from ocr_pipeline.errors import DataError
from ocr_pipeline.processes import serve_parent

JobT = TypeVar("JobT")
DrawnT = TypeVar("DrawnT")
_AHEAD = 4
"""Chunks per process that wait, or are done and not yet taken."""


def draw_in_order(
    draw: Callable[[Sequence[JobT]], list[DrawnT]],
    chunks: Sequence[Sequence[JobT]],
    *,
    workers: int,
) -> Iterator[list[DrawnT]]:
    """Yield what each chunk of jobs gave, in the order of the chunks.

    Args:
        draw: draws one chunk; with several workers it is sent to them, so it is a function of a
            module, or a ``partial`` of one.
        chunks: of jobs.
        workers: processes; up to 1: this one.

    Raises:
        DataError: a process was killed.
    """
    if workers > 1 and len(chunks) > 1:
        yield from _in_processes(draw, chunks, min(workers, len(chunks)))
        return
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for chunk in chunks:
            yield draw(chunk)
    finally:
        cv2.setNumThreads(before)


def _in_processes(
    draw: Callable[[Sequence[JobT]], list[DrawnT]], chunks: Sequence[Sequence[JobT]], workers: int
) -> Iterator[list[DrawnT]]:
    # Started afresh: a fork would carry over threads that Paddle or OpenCV run.
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_prepare_worker
    ) as pool:
        waiting: deque[Future[list[DrawnT]]] = deque()
        try:
            for chunk in chunks:
                if len(waiting) == workers * _AHEAD:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(draw, chunk))
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                f"one of {workers} drawing processes was ended from outside, perhaps "
                "for want of memory; nothing was written; try again with fewer workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """Run in each process: one thread, and an end when the process that asked for it has ended."""
    cv2.setNumThreads(1)
    serve_parent()
