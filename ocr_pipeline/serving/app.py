"""The application: routes only; models, limits and errors live beside it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated

from fastapi import FastAPI, File, Response, UploadFile

import ocr_pipeline
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.limits import BodyLimit
from ocr_pipeline.serving.problems import HANDLERS
from ocr_pipeline.serving.schemas import (
    EngineFigure,
    ModelAnswer,
    OcrAnswer,
    Problem,
    Status,
)
from ocr_pipeline.serving.state import ReaderState

_ERRORS = {
    413: "the picture has too many bytes or pixels",
    415: "not a picture",
    422: "the picture is damaged, or the request has another form",
    503: "too many requests wait, or the models are not loaded; see Retry-After",
    504: "not read in time",
}


def create_app(config: ServeConfig) -> FastAPI:
    """Build the service; models load when it starts.

    Args:
        config: ``detector`` and ``recognizer`` are folders of exported models here.
    """
    state = ReaderState(config)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # In the background, so that /readyz can say that loading goes on.
        loading = asyncio.create_task(state.start())
        yield
        await loading
        state.close()

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
            status: {"model": Problem, "description": text} for status, text in _ERRORS.items()
        },
    )
    async def ocr(
        file: Annotated[UploadFile, File(description="JPEG, PNG, BMP, WebP or TIFF")],
    ) -> OcrAnswer:
        page = await state.read(await file.read())
        return OcrAnswer(**page.as_dict(), models=state.models)

    @app.get("/v1/models", summary="What is served, by which engine, and why")
    async def models() -> dict[str, ModelAnswer]:
        answers = {}
        for role, decision in state.decisions.items():
            card = state.cards[role]
            answers[role] = ModelAnswer(
                name=card.name,
                task=card.model.task,
                checkpoint=card.checkpoint,
                engine=decision.chosen,
                reason=decision.reason,
                candidates=[EngineFigure(**asdict(c)) for c in decision.candidates],
            )
        return answers

    @app.get("/livez", summary="Is the process alive?")
    async def livez() -> Status:
        return Status(status="alive")

    @app.get(
        "/readyz",
        summary="Are the models loaded and proven on their golden pictures?",
        responses={503: {"model": Status, "description": "loading, or failed and why"}},
    )
    async def readyz(response: Response) -> Status:
        if state.status != "ready":
            response.status_code = 503
        return Status(status=state.status, detail=state.detail)

    return app
