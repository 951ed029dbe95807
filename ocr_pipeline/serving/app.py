"""The application: put together here; routes, models, limits and errors live beside it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Mount, Route

import ocr_pipeline
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.fetch import Fetcher
from ocr_pipeline.serving.guard import guard
from ocr_pipeline.serving.limits import BodyLimit
from ocr_pipeline.serving.metrics import Metrics
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import HANDLERS
from ocr_pipeline.serving.process import WorkerEntry
from ocr_pipeline.serving.reload import reloading
from ocr_pipeline.serving.routes.compatible import compatible_routes
from ocr_pipeline.serving.routes.operations import operation_routes
from ocr_pipeline.serving.routes.reading import reading_routes
from ocr_pipeline.serving.routes.web import web_routes
from ocr_pipeline.serving.telemetry import Telemetry, open_tracing, pool_state
from ocr_pipeline.serving.worker import run_worker


def create_app(
    config: ServeConfig,
    entry: WorkerEntry = run_worker,
    reread: Callable[[], ServeConfig] | None = None,
) -> FastAPI:
    """Build the service; models load when it starts, in processes of their own.

    Args:
        config: ``detector`` and ``recognizer`` are folders of exported models here.
        entry: what those processes run.
        reread: gives the config as it is now; on SIGHUP its models are gone over to.
    """
    pool = WorkerPool(config, entry)
    max_bytes = max(config.limits.max_bytes, config.documents.pdf_max_bytes)
    fetcher = Fetcher(config.fetch, max_bytes)
    metrics = Metrics(lambda: pool_state(pool))
    tracing = open_tracing(config.trace)
    pool.watcher = Telemetry(metrics, tracing, keep_text=config.logs.text)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pool.start()  # and /readyz says how far they are
        with reloading(pool, config, reread):
            yield
        await pool.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

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
    app.state.metrics = metrics
    app.add_middleware(
        BodyLimit,
        max_bytes=max_bytes,
        routes={"/v1/ocr/batch": config.batch.max_bytes},
    )
    routers = (
        reading_routes(pool, config, fetcher),
        compatible_routes(pool, config, fetcher),
        operation_routes(pool, metrics),
        web_routes(),
    )
    paths = {"/openapi.json"}
    for router in routers:
        app.include_router(router)
        paths.update(route.path for route in router.routes if isinstance(route, Route))
        paths.update(f"{mount.path}/*" for mount in router.routes if isinstance(mount, Mount))
    guard(app, config, metrics, tracing, paths)
    return app
