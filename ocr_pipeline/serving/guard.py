"""What stands between the clients and the routes, from the outside in."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.access import Access
from ocr_pipeline.serving.headers import SecurityHeaders
from ocr_pipeline.serving.keys import KeyRing
from ocr_pipeline.serving.metrics import Metrics
from ocr_pipeline.serving.observe import Observe
from ocr_pipeline.serving.server import BodyDeadline

if TYPE_CHECKING:
    from ocr_pipeline.serving.tracing import Tracing

_ASKED_WITH = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "traceparent")
_ANSWERED_WITH = ("RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")


def guard(
    app: FastAPI,
    config: ServeConfig,
    metrics: Metrics,
    tracing: "Tracing | None",
    paths: Collection[str],
) -> None:
    """Put the middlewares around an application.

    Args:
        app: with its routes.
        config: what they are to be like.
        metrics: is told of each request.
        tracing: makes a span for each; None: nobody wants one.
        paths: of the routes, ``*`` at the end: and below.

    Raises:
        ConfigError: the keys file cannot be used.
    """
    # Each one stands around those before it.
    app.add_middleware(BodyDeadline, patience=config.patience)
    # Opened here, since a middleware is only made when the first request comes.
    keys = KeyRing(Path(config.access.keys_file)) if config.access.keys_file else None
    app.add_middleware(Access, config=config.access, keys=keys)
    if config.access.cors_origins:
        app.add_middleware(
            CORSMiddleware,  # answers the browser's question beforehand, which has no key
            allow_origins=config.access.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=_ASKED_WITH,
            expose_headers=_ANSWERED_WITH,
        )
    if tracing is not None:
        from ocr_pipeline.serving.tracing import TraceRequests

        app.add_middleware(TraceRequests, tracing=tracing, paths=paths)
    app.add_middleware(Observe, metrics=metrics, paths=paths)
    app.add_middleware(SecurityHeaders)
    if config.access.trusted_proxies:
        proxies = list(config.access.trusted_proxies)
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
