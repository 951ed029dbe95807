"""What those who run the service ask it."""

from dataclasses import asdict

from fastapi import APIRouter, Response

from ocr_pipeline.serving.metrics import CONTENT_TYPE, Metrics
from ocr_pipeline.serving.pool import WorkerPool
from ocr_pipeline.serving.problems import documented
from ocr_pipeline.serving.schemas import EngineFigure, ModelAnswer, Status

_ERRORS = documented(
    {
        401: "no valid API key, where the service has keys",
        429: "too many requests of this key or address; see Retry-After",
    }
)


def operation_routes(pool: WorkerPool, metrics: Metrics) -> APIRouter:
    """Build ``/v1/models``, ``/livez``, ``/readyz`` and ``/metrics``."""
    router = APIRouter()

    @router.get("/v1/models", summary="What is served, by which engine, and why", responses=_ERRORS)
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

    @router.get(
        "/livez",
        summary="Is it worth keeping this process?",
        responses={503: {"model": Status, "description": "reading processes die; start it anew"}},
    )
    async def livez(response: Response) -> Status:
        if pool.is_alive:
            return Status(status="alive")
        response.status_code = 503
        return Status(status="failed", detail=pool.detail)

    @router.get(
        "/readyz",
        summary="Are the models loaded and proven on their golden pictures?",
        responses={503: {"model": Status, "description": "loading, recovering, or failed and why"}},
    )
    async def readyz(response: Response) -> Status:
        if pool.status != "ready":
            response.status_code = 503
        return Status(status=pool.status, detail=pool.detail)

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        responses={**_ERRORS, 200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}},
    )
    async def figures() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return router
