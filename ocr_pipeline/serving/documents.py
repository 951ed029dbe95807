"""Files to pages that were read, a few of them side by side."""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request

from ocr_pipeline.errors import ConfigError, ImageError
from ocr_pipeline.ops.documents import is_one_page, parse_pages
from ocr_pipeline.serving.messages import CountPages, PageReading, ReadPage, Task
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import ClientGoneError
from ocr_pipeline.serving.schemas import Picture
from ocr_pipeline.serving.uploads import BadRequestError

_AHEAD = 4
"""Pages of one request that are in the house at once."""
ResultT = TypeVar("ResultT")
PlaceT = TypeVar("PlaceT")


@dataclass(frozen=True)
class Parts:
    """What is wanted of a page beside its lines.

    Attributes:
        words: where each word and character stands.
        picture: the upright page as it was read.
    """

    words: bool = False
    picture: bool = False


@dataclass(frozen=True)
class DocumentReading:
    """What was read in a file.

    Attributes:
        page_count: of the file, read or not.
        numbers: of those that were read, from 0.
        pages: in the same order; at least one.
    """

    page_count: int
    numbers: list[int]
    pages: list[PageReading]


async def read_document(
    pool: WorkerPool, content: bytes, choice: str, parts: Parts
) -> DocumentReading:
    """Read the pages of a file, some of them side by side.

    Args:
        pool: reads.
        content: bytes of the file.
        choice: which pages, as :func:`~ocr_pipeline.ops.documents.parse_pages` takes them; empty:
            all.
        parts: what is wanted beside lines.

    Raises:
        BadRequestError: there are no such pages.
        ImageError: the file or a page of it cannot be read; its number is in the message where
            there are several.
        Exception: as :meth:`WorkerPool.do`.
    """
    count = await page_count(pool, content, urgent=True)
    try:
        numbers = parse_pages(choice, count) if choice else [*range(count)]
    except ConfigError as error:
        raise BadRequestError(f"query.pages: {error}") from None

    async def tasks() -> AsyncIterator[tuple[int, ReadPage]]:
        for number in numbers:
            yield number, ReadPage(content, number, parts.words, parts.picture)

    pages = []
    async with aclosing(in_order(pool, tasks(), urgent=True)) as readings:
        async for number, reading in readings:
            if isinstance(reading, ImageError) and count > 1:
                raise type(reading)(f"page {number + 1} of {count}: {reading}") from None
            if isinstance(reading, Exception):
                raise reading
            pages.append(reading)
    return DocumentReading(count, numbers, pages)


async def page_count(pool: WorkerPool, content: bytes, *, urgent: bool) -> int:
    """How many pages a file has; a process is only asked about those that may have several."""
    return 1 if is_one_page(content) else await pool.do(CountPages(content), urgent=urgent)


def page_values(reading: PageReading, number: int) -> dict[str, Any]:
    """What the answer says of a page, its number from 0; a picture only where there is one."""
    values = {"page": number + 1, "dpi": reading.dpi, **reading.text.as_dict()}
    if reading.picture is not None:
        data = base64.b64encode(reading.picture).decode()
        values["picture"] = Picture(media_type="image/jpeg", data=data)
    return values


async def unless_gone(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """What the work gives; it is cancelled as soon as the client has gone away.

    Raises:
        ClientGoneError: it has.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        for task in (working, leaving):
            task.cancel()


async def in_order(
    pool: WorkerPool,
    tasks: AsyncIterable[tuple[PlaceT, Task[ResultT] | Exception]],
    *,
    urgent: bool,
) -> AsyncGenerator[tuple[PlaceT, ResultT | Exception], None]:
    """Have tasks done, a few at a time; those in work are left when the generator is closed.

    An exception in place of a task is passed on at its turn.

    Yields:
        Each task's place and its result, or why there is none, in the tasks' order.
    """
    waiting: deque[tuple[PlaceT, asyncio.Task[ResultT]]] = deque()
    try:
        async for place, task in tasks:
            work = _failing(task) if isinstance(task, Exception) else pool.do(task, urgent=urgent)
            waiting.append((place, asyncio.create_task(work)))
            if len(waiting) >= _AHEAD:
                yield await _outcome(*waiting.popleft())
        while waiting:
            yield await _outcome(*waiting.popleft())
    finally:
        for _, left in waiting:
            left.cancel()


async def _failing(error: Exception) -> Any:
    raise error


async def _outcome(
    place: PlaceT, task: "asyncio.Task[ResultT]"
) -> tuple[PlaceT, ResultT | Exception]:
    try:
        return place, await task
    except Exception as error:  # noqa: BLE001  (whatever it is, its client is told)
        return place, error


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
