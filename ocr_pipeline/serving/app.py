"""The application: put together here; routes, models, limits and errors live beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import ocr_pipeline
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.limits import BodyLimit
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import HANDLERS
from ocr_pipeline.serving.process import WorkerEntry
from ocr_pipeline.serving.routes.operations import operation_routes
from ocr_pipeline.serving.routes.reading import reading_routes
from ocr_pipeline.serving.worker import run_worker


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
    app.add_middleware(
        BodyLimit,
        max_bytes=config.limits.max_bytes,
        routes={"/v1/ocr/batch": config.batch.max_bytes},
    )
    app.include_router(reading_routes(pool, config))
    app.include_router(operation_routes(pool))
    return app
