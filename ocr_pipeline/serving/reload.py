"""Other models without a restart: SIGHUP, as servers on Unix take it."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import OcrPipelineError
from ocr_pipeline.serving.pool import ReloadError, WorkerPool

_OF_WORKERS = {
    *("detector", "recognizer", "engine", "orientation"),
    *("timeout_s", "silence_s", "start_timeout_s"),
}
"""Settings that a new worker takes; all others are of the process that listens."""
_log = logging.getLogger(__name__)


@contextmanager
def reloading(
    pool: WorkerPool, config: ServeConfig, reread: Callable[[], ServeConfig] | None
) -> Iterator[None]:
    """On SIGHUP, go over to the models that the config names by then; inside an event loop.

    What cannot be served is not gone over to, and the log says why.

    Args:
        pool: reads with them.
        config: that the service was started with.
        reread: gives the config as it is now; None: there is nothing to read again.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if reread is None or not in_main_thread or not hasattr(signal, "SIGHUP"):
        yield
        return
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def on_signal() -> None:
        task = loop.create_task(_reload(pool, config, reread))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, on_signal)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()


async def _reload(
    pool: WorkerPool, started_with: ServeConfig, reread: Callable[[], ServeConfig]
) -> None:
    try:
        config = await asyncio.to_thread(reread)
        left = [
            name
            for name in type(config).model_fields
            if name not in _OF_WORKERS and getattr(config, name) != getattr(started_with, name)
        ]
        if left:
            _log.warning("settings that need a restart are as before: %s", ", ".join(left))
            config = config.model_copy(update={name: getattr(started_with, name) for name in left})
        _log.info("loading %s and %s", config.detector, config.recognizer)
        await pool.reload(config)
    except (OcrPipelineError, ReloadError) as error:
        _log.error("models not reloaded, those before go on: %s", error)
    except Exception:  # noqa: BLE001  (a fault of ours may not end the service)
        _log.exception("models not reloaded, those before go on")
    else:
        served = ", ".join(model.label for model in pool.models.values())
        _log.info("models reloaded: %s", served)
