"""The service as a deployment of Ray Serve: each replica is a whole service.

Replicas, their number and their places are Ray's matter: ``deploy/ray/serve.yaml``.
"""

import asyncio
from math import ceil

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from ray import serve
from ray.serve import Application

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.app import create_app

HEALTH_CHECK_EVERY_S = 2.0
"""Ray finds by such a check that a replica is gone, too."""
_SHUTDOWN_MARGIN_S = 5
_POLL_S = 0.1


class ReplicaFailedError(Exception):
    """The replica cannot read pictures, or not any more; the message says why."""


class Replica:
    """One replica: the application, with reading processes that start and end with it.

    Args:
        config: as for :func:`ocr_pipeline.serving.app.create_app`.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._service = create_app(config)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """For Ray, which runs the lifespan of what it gets."""
        return self._service

    async def check_health(self) -> None:
        """Return once the models are loaded; before that Ray gives the replica no request.

        Raises:
            ReplicaFailedError: its models could not be loaded, or its workers cannot be started any
                more.
        """
        transport = ASGITransport(self._service)
        async with AsyncClient(transport=transport, base_url="http://replica") as client:
            while True:
                ready = (await client.get("/readyz")).json()
                if ready["status"] != "loading":
                    break
                await asyncio.sleep(_POLL_S)
        if ready["status"] == "failed":
            raise ReplicaFailedError(ready["detail"])


def build(config: ServeConfig) -> Application:
    """Build the application for ``serve run ocr_pipeline.serving.ray_serve:build``.

    Ray makes the config of the arguments in its YAML file. ``host`` and ``port`` are not looked at:
    Ray's proxy listens. A replica is given ``max_waiting`` requests, as many again wait in
    each proxy; beyond that the proxy answers 503.

    Args:
        config: of each replica.
    """
    threads = config.workers * config.engine.threads
    deployment = serve.deployment(
        name="ocr",
        ray_actor_options={"num_cpus": threads, "num_gpus": int(config.engine.device == "gpu")},
        max_ongoing_requests=config.max_waiting,
        max_queued_requests=config.max_waiting,
        health_check_period_s=HEALTH_CHECK_EVERY_S,
        graceful_shutdown_timeout_s=ceil(config.timeout_s) + _SHUTDOWN_MARGIN_S,
    )(serve.ingress()(Replica))
    return deployment.bind(config)
