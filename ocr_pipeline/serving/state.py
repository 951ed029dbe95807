"""The models of a service and the one thread that runs them."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ocr_pipeline.artifacts.exported import ExportedCard, ExportedModel
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import OcrPipelineError
from ocr_pipeline.inference.choose import Decision, open_best
from ocr_pipeline.inference.load import detector_of, recognizer_of
from ocr_pipeline.inference.reader import OcrReader, PageText

ResultT = TypeVar("ResultT")
_log = logging.getLogger(__name__)


class OverloadedError(Exception):
    """No request can be taken now; the message says why."""


class ReaderState:
    """Loads the models, proves them on their golden pictures, then reads one picture at a time.

    Attributes:
        status: ``loading``, ``ready`` or ``failed``.
        detail: why it failed.
        models: name and checkpoint digest by role.
        cards: of the exported models by role.
        decisions: which engine serves each, and why.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.status = "loading"
        self.detail = ""
        self.models: dict[str, str] = {}
        self.cards: dict[str, ExportedCard] = {}
        self.decisions: dict[str, Decision] = {}
        self._config = config
        self._reader: OcrReader | None = None
        self._waiting = 0
        # One thread owns the predictors: results cannot get mixed up.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")

    async def start(self) -> None:
        """Load and self-test; never raises, the outcome is in ``status`` and ``detail``."""
        try:
            self._reader = await self._in_thread(self._load)
        except Exception as error:  # noqa: BLE001  (whatever it is, /readyz must say it)
            self.status, self.detail = "failed", f"{type(error).__name__}: {error}"
            # A fault of the user's needs no trace, one of ours does.
            trace = not isinstance(error, OcrPipelineError)
            _log.error("models not loaded: %s", self.detail, exc_info=trace)
        else:
            self.status = "ready"
        finally:
            _take_sigterm_back()

    async def read(self, content: bytes) -> PageText:
        """Read the bytes of one picture.

        Raises:
            OverloadedError: too many requests wait, or the models are not loaded.
            TimeoutError: not done in time; if it had not begun, it will not.
            ImageError: the picture cannot be read.
        """
        reader = self._reader
        if reader is None:
            raise OverloadedError(f"the models are not ready ({self.status}), see /readyz")
        if self._waiting >= self._config.max_waiting:
            raise OverloadedError(f"{self._waiting} requests wait already, no more are taken")
        self._waiting += 1
        try:
            work = self._in_thread(lambda: reader.read(content, self._config.limits))
            return await asyncio.wait_for(work, self._config.timeout_s)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let the picture in work end; drop what waits."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _load(self) -> OcrReader:
        config = self._config
        detector_model = ExportedModel.load(Path(config.detector))
        recognizer_model = ExportedModel.load(Path(config.recognizer))
        detecting = open_best(detector_model, config.engine)
        detector = detector_of(detector_model, detecting.engine, config.engine)
        recognising = open_best(recognizer_model, config.engine)
        recognizer = recognizer_of(recognizer_model, recognising.engine, config.engine)
        self.cards = {"detector": detector_model.card, "recognizer": recognizer_model.card}
        self.decisions = {"detector": detecting.decision, "recognizer": recognising.decision}
        self.models = {
            role: f"{card.name} ({card.checkpoint[:12]})" for role, card in self.cards.items()
        }
        return OcrReader(detector, recognizer, config.orientation)


def _take_sigterm_back() -> None:
    """Importing Paddle puts a handler of its own in place of the server's, one that kills at once.

    The server's is still known to Python; setting it again puts it back.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
