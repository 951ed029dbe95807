"""A small application behind the service's own middlewares, and calls of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.guard import guard
from ocr_pipeline.serving.metrics import Metrics, PoolState
from ocr_pipeline.serving.problems import HANDLERS

CLIENT = "203.0.113.7"
PATHS = ("/", "/livez", "/metrics", "/v1/echo", "/v1/fault", "/v1/half", "/static/*")


def guarded(config: ServeConfig) -> FastAPI:
    """``/v1/echo`` says how many bytes came, others ``ok``.

    ``/v1/fault`` raises, and so does ``/v1/half`` after half of its answer.
    """
    app = FastAPI(exception_handlers=HANDLERS, openapi_url=None)
    app.state.metrics = Metrics(PoolState)

    @app.post("/v1/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/v1/fault")
    async def fault() -> None:
        raise RuntimeError("segment 7 of /srv/secret")

    @app.get("/v1/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "half"
            raise RuntimeError("segment 7 of /srv/secret")

        return StreamingResponse(parts())

    for path in ("/", "/livez", "/metrics"):
        app.add_api_route(path, _ok)

    @app.get("/static/page.js")
    async def script(response: Response) -> str:
        response.headers["Cache-Control"] = "max-age=60"
        return "ok"

    guard(app, config, app.state.metrics, None, PATHS)
    return app


def call(
    app: FastAPI, method: str, path: str, *, client: str = CLIENT, **options: Any
) -> httpx.Response:
    """One request and its answer."""
    return calls(app, lambda c: c.request(method, path, **options), client=client)


def calls(
    app: FastAPI,
    do: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]],
    *,
    client: str = CLIENT,
) -> httpx.Response:
    """What ``do`` gives with a client of the application."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as session:
            return await do(session)

    return asyncio.run(run())


async def _ok() -> str:
    return "ok"
