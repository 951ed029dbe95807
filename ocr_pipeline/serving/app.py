"""The application: routes only; models, limits and errors live beside it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, File, Query, Request, Response, UploadFile

import ocr_pipeline
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.limits import BodyLimit
from ocr_pipeline.serving.outputs import KINDS, Output, written
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import HANDLERS, ClientGoneError
from ocr_pipeline.serving.process import WorkerEntry
from ocr_pipeline.serving.schemas import (
    EngineFigure,
    ModelAnswer,
    OcrAnswer,
    Problem,
    Status,
)
from ocr_pipeline.serving.worker import run_worker

ResultT = TypeVar("ResultT")
_ERRORS = {
    413: "the picture has too many bytes or pixels",
    415: "not a picture",
    422: "the picture is damaged, or the request has another form",
    503: "too many requests wait, or the models are not loaded; see Retry-After",
    504: "not read in time",
}


def create_app(config: ServeConfig, entry: WorkerEntry = run_worker) -> FastAPI:
    """Build the service; models load when it starts, in processes of their own.

    Args:
        config: ``detector`` and ``recognizer`` are folders of exported models here.
        entry: what those processes run.
    """
    pool = WorkerPool(config, entry)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pool.start()  # and /readyz says how far they are
        yield
        await pool.close()

    app = FastAPI(
        title="ocr_pipeline",
        version=ocr_pipeline.__version__,
        description="Pictures of Chinese documents to text and boxes.",
        lifespan=lifespan,
        # Those pages load their scripts from a public server; /openapi.json stays.
        docs_url=None,
        redoc_url=None,
        exception_handlers=HANDLERS,
    )
    app.add_middleware(BodyLimit, max_bytes=config.limits.max_bytes)

    @app.post(
        "/v1/ocr",
        summary="Read one picture",
        responses={
            **{s: {"model": Problem, "description": text} for s, text in _ERRORS.items()},
            200: {
                "model": OcrAnswer,
                "content": {kind: {} for name, kind in KINDS.items() if name != "json"},
            },
        },
        response_model=OcrAnswer,
        response_model_exclude_unset=True,
    )
    async def ocr(
        request: Request,
        file: Annotated[UploadFile, File(description="JPEG, PNG, BMP, WebP or TIFF")],
        output: Annotated[
            Output, Query(description="form of the answer: hocr is XHTML, alto is XML")
        ] = "json",
        words: Annotated[
            bool, Query(description="say where each word and character stands, too")
        ] = False,
    ) -> OcrAnswer | Response:
        page = await _unless_gone(request, pool.read(await file.read(), words=words))
        if output != "json":
            return Response(written(page, output), media_type=KINDS[output])
        names = {role: f"{m.name} ({m.checkpoint[:12]})" for role, m in pool.models.items()}
        return OcrAnswer(**page.as_dict(), models=names)

    @app.get("/v1/models", summary="What is served, by which engine, and why")
    async def models() -> dict[str, ModelAnswer]:
        return {
            role: ModelAnswer(
                name=model.name,
                task=model.task,
                checkpoint=model.checkpoint,
                engine=model.decision.chosen,
                reason=model.decision.reason,
                candidates=[EngineFigure(**asdict(c)) for c in model.decision.candidates],
            )
            for role, model in pool.models.items()
        }

    @app.get(
        "/livez",
        summary="Is it worth keeping this process?",
        responses={503: {"model": Status, "description": "reading processes die; start it anew"}},
    )
    async def livez(response: Response) -> Status:
        if pool.is_alive:
            return Status(status="alive")
        response.status_code = 503
        return Status(status="failed", detail=pool.detail)

    @app.get(
        "/readyz",
        summary="Are the models loaded and proven on their golden pictures?",
        responses={503: {"model": Status, "description": "loading, recovering, or failed and why"}},
    )
    async def readyz(response: Response) -> Status:
        if pool.status != "ready":
            response.status_code = 503
        return Status(status=pool.status, detail=pool.detail)

    return app


async def _unless_gone(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """What the work gives; it is cancelled as soon as the client has gone away."""
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


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
