"""The application in this process: started, ready, asked."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.app import create_app
from ocr_pipeline.serving.process import WorkerEntry
from ocr_pipeline.serving.worker import run_worker

LOAD_S = 60


@asynccontextmanager
async def served(
    config: ServeConfig, entry: WorkerEntry = run_worker
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that is ready."""
    app = create_app(config, entry)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        deadline = time.monotonic() + LOAD_S
        while (ready := await client.get("/readyz")).status_code != 200:
            assert time.monotonic() < deadline, ready.text
            await asyncio.sleep(0.02)
        yield client


class Asked:
    """The same for tests that do not await."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))


@contextmanager
def asked(config: ServeConfig, entry: WorkerEntry = run_worker) -> Iterator[Asked]:
    """A service that is ready, to be asked."""
    with asyncio.Runner() as runner:
        service = served(config, entry)
        client = runner.run(service.__aenter__())
        try:
            yield Asked(runner, client)
        finally:
            runner.run(service.__aexit__(None, None, None))
