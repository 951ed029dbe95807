"""Routes that read: one file, many files, cut-out lines."""

import asyncio
import base64
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.types import Receive, Scope, Send

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.messages import PageReading, ReadLines, ReadPage, Task
from ocr_pipeline.serving.outputs import KINDS, Output, written
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import ClientGoneError, problem_of
from ocr_pipeline.serving.schemas import (
    FileError,
    FilePage,
    LineError,
    LinesAnswer,
    LineText,
    OcrAnswer,
    Page,
    Picture,
    Problem,
)
from ocr_pipeline.serving.uploads import MANY_FILES, ONE_FILE, many_files, one_file

_AHEAD = 4
"""Pages of one request that are in the house at once."""
_ERRORS = {
    413: "a file has too many bytes or pixels",
    415: "not a picture",
    422: "the picture is damaged, or the request has another form",
    500: "a fault of the service, or of this picture; the operator's log says which",
    503: "too many requests wait, or the models are not loaded; see Retry-After",
    504: "not read in time",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in _ERRORS.items()
}
"""For OpenAPI: what a route that reads may answer instead."""
_NDJSON = "application/x-ndjson"
ResultT = TypeVar("ResultT")
PlaceT = TypeVar("PlaceT")
Words = Annotated[bool, Query(description="say where each word and character stands, too")]
WithPicture = Annotated[
    bool, Query(description="give the upright page as it was read, too, as a JPEG")
]
_log = logging.getLogger(__name__)


def reading_routes(pool: WorkerPool, config: ServeConfig) -> APIRouter:
    """Build ``/v1/ocr``, ``/v1/ocr/batch`` and ``/v1/recognize``."""
    router = APIRouter()

    @router.post(
        "/v1/ocr",
        summary="Read one picture",
        responses={
            **ERRORS,
            200: {
                "model": OcrAnswer,
                "content": {kind: {} for name, kind in KINDS.items() if name != "json"},
            },
        },
        response_model=OcrAnswer,
        response_model_exclude_unset=True,
        openapi_extra=ONE_FILE,
    )
    async def ocr(
        request: Request,
        output: Annotated[
            Output, Query(description="form of the answer: hocr is XHTML, alto is XML")
        ] = "json",
        words: Words = False,
        picture: WithPicture = False,
    ) -> OcrAnswer | Response:
        task = ReadPage(await one_file(request), words, picture)
        with pool.admitted():
            reading = await unless_gone(request, pool.do(task))
        if output != "json":
            return Response(written(reading.text, output), media_type=KINDS[output])
        page = Page(**page_values(reading, 1))
        return OcrAnswer(text=page.text, page_count=1, pages=[page], models=reading.models)

    @router.post(
        "/v1/ocr/batch",
        summary="Read many files; answers come page by page as NDJSON",
        responses={
            **ERRORS,
            200: {"content": {_NDJSON: {"schema": {"type": "string"}}}},
        },
        response_class=StreamingResponse,
        openapi_extra=MANY_FILES,
    )
    async def batch(request: Request, words: Words = False, picture: WithPicture = False) -> Any:
        async with AsyncExitStack() as stack:
            files = await stack.enter_async_context(many_files(request, config.batch.max_files))
            stack.enter_context(pool.admitted())
            return _Streamed(_lines(pool, files, words, picture), stack.pop_all())

    @router.post(
        "/v1/recognize",
        summary="Read cut-out lines",
        responses=ERRORS,
        openapi_extra=MANY_FILES,
    )
    async def recognize(request: Request) -> LinesAnswer:
        async with many_files(request, config.batch.max_lines) as files:
            task = ReadLines(tuple([await file.read() for file in files]))
        with pool.admitted():
            read = await unless_gone(request, pool.do(task))
        lines = [
            LineError(error=problem_of(line))
            if isinstance(line, Exception)
            else LineText(text=line.text, confidence=round(line.confidence, 4), turned=line.turned)
            for line in read.lines
        ]
        return LinesAnswer(lines=lines, models=read.models)

    return router


def page_values(reading: PageReading, number: int) -> dict[str, Any]:
    """What a page's answer says; with ``picture`` only where there is one."""
    values = {"page": number, "dpi": None, **reading.text.as_dict()}
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
    pool: WorkerPool, tasks: AsyncIterable[tuple[PlaceT, Task[ResultT]]], *, urgent: bool
) -> AsyncGenerator[tuple[PlaceT, ResultT | Exception], None]:
    """Have tasks done, a few at a time; those in work are left when the generator is closed.

    Yields:
        Each task's place and its result, or why there is none, in the tasks' order.
    """
    waiting: deque[tuple[PlaceT, asyncio.Task[ResultT]]] = deque()
    try:
        async for place, task in tasks:
            waiting.append((place, asyncio.create_task(pool.do(task, urgent=urgent))))
            if len(waiting) >= _AHEAD:
                yield await _outcome(*waiting.popleft())
        while waiting:
            yield await _outcome(*waiting.popleft())
    finally:
        for _, left in waiting:
            left.cancel()


async def _outcome(
    place: PlaceT, task: "asyncio.Task[ResultT]"
) -> tuple[PlaceT, ResultT | Exception]:
    try:
        return place, await task
    except Exception as error:  # noqa: BLE001  (whatever it is, its client is told)
        return place, error


class _Streamed(StreamingResponse):
    """A stream that lets go of what it holds once it is over, sent or not."""

    media_type = _NDJSON

    def __init__(self, lines: AsyncGenerator[str, None], held: AsyncExitStack) -> None:
        super().__init__(lines)
        self._lines = lines
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._lines.aclose()
            await self._held.aclose()


async def _lines(
    pool: WorkerPool, files: list[UploadFile], words: bool, picture: bool
) -> AsyncGenerator[str, None]:
    async def tasks() -> AsyncIterator[tuple[int, ReadPage]]:
        for index, file in enumerate(files):
            yield index, ReadPage(await file.read(), words, picture)

    async for index, reading in in_order(pool, tasks(), urgent=False):
        name = files[index].filename or ""
        if isinstance(reading, Exception):
            problem = problem_of(reading)
            if problem.status == 500:
                _log.error("file %d of a batch failed", index, exc_info=reading)
            yield _line(FileError(index=index, file=name, page=1, error=problem))
        else:
            values = page_values(reading, 1)
            yield _line(FilePage(index=index, file=name, page_count=1, **values))


def _line(answer: BaseModel) -> str:
    return answer.model_dump_json(exclude_unset=True) + "\n"


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
