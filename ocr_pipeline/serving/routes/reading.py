"""Routes that read: one file, many files, cut-out lines."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.types import Receive, Scope, Send

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.documents import (
    Parts,
    in_order,
    page_count,
    page_values,
    read_document,
    unless_gone,
)
from ocr_pipeline.serving.fetch import Fetcher
from ocr_pipeline.serving.messages import ReadLines, ReadPage
from ocr_pipeline.serving.outputs import KINDS, Output, text_of, written
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import documented, problem_of
from ocr_pipeline.serving.schemas import (
    FileError,
    FilePage,
    LineError,
    LinesAnswer,
    LineText,
    OcrAnswer,
    Page,
)
from ocr_pipeline.serving.uploads import (
    MANY_FILES,
    ONE_FILE,
    many_files,
    one_file,
)

_ERRORS = {
    401: "no valid API key, where the service has keys",
    408: "the body comes too slowly",
    413: "a file has too many bytes or pixels",
    415: "not a picture",
    422: "the picture is damaged, or the request has another form",
    429: "too many requests of this key or address; see Retry-After",
    500: "a fault of the service, or of this picture; the operator's log says which",
    503: "too many requests wait, or the models are not loaded; see Retry-After",
    504: "not read in time",
}
ERRORS = documented(_ERRORS)
"""For OpenAPI: what a route that reads may answer instead."""
_NDJSON = "application/x-ndjson"
Words = Annotated[bool, Query(description="say where each word and character stands, too")]
WithPicture = Annotated[
    bool, Query(description="give the upright page as it was read, too, as a JPEG")
]
_log = logging.getLogger(__name__)


def reading_routes(pool: WorkerPool, config: ServeConfig, fetcher: Fetcher) -> APIRouter:
    """Build ``/v1/ocr``, ``/v1/ocr/batch`` and ``/v1/recognize``."""
    router = APIRouter()

    @router.post(
        "/v1/ocr",
        summary="Read one file",
        responses={
            **ERRORS,
            **documented({502: "the file at the URL cannot be had"}),
            200: {
                "model": OcrAnswer,
                "content": {
                    kind: {"schema": {"type": "string"}}
                    for name, kind in KINDS.items()
                    if name != "json"
                },
            },
        },
        response_model=OcrAnswer,
        response_model_exclude_unset=True,
        openapi_extra=ONE_FILE,
    )
    async def ocr(
        request: Request,
        output: Annotated[
            Output,
            Query(
                description="form of the answer: hocr is XHTML, alto is XML, pdf is the pages' "
                "pictures with the text over them, unseen"
            ),
        ] = "json",
        words: Words = False,
        pages: Annotated[
            str, Query(description="which pages, e.g. 1-3,7; empty: all of them", max_length=1000)
        ] = "",
        picture: WithPicture = False,
    ) -> OcrAnswer | Response:
        content = await one_file(request, fetcher)
        as_pdf = output == "pdf"
        parts = Parts(words=words or as_pdf, picture=picture or as_pdf)
        with pool.admitted():
            document = await unless_gone(request, read_document(pool, content, pages, parts))
        if output != "json":
            made = await asyncio.to_thread(written, document.pages, output)
            return Response(made, media_type=KINDS[output])
        return OcrAnswer(
            text=text_of(document.pages),
            page_count=document.page_count,
            pages=[
                Page(**page_values(reading, number))
                for number, reading in zip(document.numbers, document.pages, strict=True)
            ],
            models=document.pages[0].models,
        )

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
            return _Streamed(_lines(pool, files, Parts(words, picture)), stack.pop_all())

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


class _Where(NamedTuple):
    """A page of one of several files: numbers from 0; no page is the file as a whole."""

    file: int
    page: int | None
    page_count: int


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
    pool: WorkerPool, files: list[UploadFile], parts: Parts
) -> AsyncGenerator[str, None]:
    """A line for each page, in order; few files are in memory at once."""

    async def tasks() -> AsyncIterator[tuple[_Where, ReadPage | Exception]]:
        for index, file in enumerate(files):
            try:
                content = await file.read()
                count = await page_count(pool, content, urgent=False)
            except Exception as error:  # noqa: BLE001  (whatever it is, its client is told)
                yield _Where(index, None, 0), error
                continue
            for page in range(count):
                task = ReadPage(content, page, parts.words, parts.picture)
                yield _Where(index, page, count), task

    async with aclosing(in_order(pool, tasks(), urgent=False)) as readings:
        async for where, reading in readings:
            name = files[where.file].filename or ""
            if isinstance(reading, Exception) or where.page is None:
                assert isinstance(reading, Exception)  # noqa: S101  (no page: no reading)
                yield _failure(where, name, reading)
            else:
                values = page_values(reading, where.page)
                known = FilePage(index=where.file, file=name, page_count=where.page_count, **values)
                yield _line(known)


def _failure(where: _Where, name: str, error: Exception) -> str:
    problem = problem_of(error)
    if problem.status == 500:
        _log.error("file %d of a batch failed", where.file, exc_info=error)
    if where.page is None:
        return _line(FileError(index=where.file, file=name, page=None, error=problem))
    page, count = where.page + 1, where.page_count
    return _line(FileError(index=where.file, file=name, page=page, page_count=count, error=problem))


def _line(answer: BaseModel) -> str:
    return answer.model_dump_json(exclude_unset=True) + "\n"
