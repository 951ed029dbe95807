"""A process that reads pictures for the service; it knows nothing of HTTP."""

import logging
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import ImageError, OcrPipelineError
from ocr_pipeline.inference.choose import open_pair
from ocr_pipeline.inference.load import detector_of, recognizer_of
from ocr_pipeline.inference.orientation import OrientedLine
from ocr_pipeline.inference.reader import OcrReader
from ocr_pipeline.ops.decode import BGRImage, decode_image
from ocr_pipeline.ops.documents import count_pages, decode_page
from ocr_pipeline.ops.encode import encode_jpeg
from ocr_pipeline.paddle_environment import keep_large_blocks_apart, set_paddle_environment
from ocr_pipeline.serving.logs import configure_worker_logs, task_number
from ocr_pipeline.serving.messages import (
    Alive,
    Batched,
    CountPages,
    Done,
    Drop,
    Failed,
    FromWorker,
    LinesReading,
    Loaded,
    NotLoaded,
    PageReading,
    ReadLines,
    ReadPage,
    ServedModel,
    Stop,
    Task,
    Work,
)

BEAT_S = 1.0
"""Between two signs of life, seconds."""
_log = logging.getLogger(__name__)


class ReadingError(Exception):
    """A fault of ours while a task was done; the log of the worker has its trace."""


def run_worker(connection: Connection, config: ServeConfig) -> None:
    """Load the models, then read what comes until told to stop, or until the service is gone.

    Args:
        connection: to the service.
        config: ``detector`` and ``recognizer`` are folders of exported models here.
    """
    set_paddle_environment()
    keep_large_blocks_apart()
    voice = _Voice(connection)
    configure_worker_logs(config.logs, voice.say)
    try:
        _ignore_signals()
        reader, models = _load(config)
        _ignore_signals()  # importing Paddle puts a handler of its own there
    except Exception as error:  # noqa: BLE001  (whatever it is, /readyz must say it)
        # A fault of the user's needs no trace, one of ours does.
        trace = "" if isinstance(error, OcrPipelineError) else traceback.format_exc()
        voice.say(NotLoaded(f"{type(error).__name__}: {error}", trace))
        return
    places = reader.detector.engine.lanes + reader.recognizer.engine.lanes
    voice.say(Loaded(models, places))
    voice.say_alive()
    reader.recognizer.watch_batches(lambda lines, most: voice.say(Batched(lines, most)))

    desk = _Desk(
        partial(_do, reader, config, {role: model.label for role, model in models.items()}),
        voice.say,
        places,
    )
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            message = Stop()
        if isinstance(message, Stop):
            desk.close()
            return
        desk.take(message)


def _ignore_signals() -> None:
    """Ctrl-C and a stop of the whole group reach the service too: it says when the end comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _load(config: ServeConfig) -> tuple[OcrReader, dict[str, ServedModel]]:
    detector_model = ExportedModel.load(Path(config.detector))
    recognizer_model = ExportedModel.load(Path(config.recognizer))
    detecting, recognising = open_pair(detector_model, recognizer_model, config.engine)
    detector = detector_of(detector_model, detecting.engine, config.engine)
    recognizer = recognizer_of(recognizer_model, recognising.engine, config.engine)
    served = {
        role: ServedModel(
            model.card.name,
            model.card.model.task,
            model.card.checkpoint,
            opened.decision,
            model.card.model,
        )
        for role, model, opened in (
            ("detector", detector_model, detecting),
            ("recognizer", recognizer_model, recognising),
        )
    }
    return OcrReader(detector, recognizer, config.orientation), served


def _do(reader: OcrReader, config: ServeConfig, models: Mapping[str, str], task: Task[Any]) -> Any:
    if isinstance(task, CountPages):
        return count_pages(task.content, config.limits, config.documents)
    if isinstance(task, ReadPage):
        page = decode_page(task.content, task.page, config.limits, config.documents)
        text = reader.read(page.pixels, words=task.words)
        picture = encode_jpeg(page.pixels) if task.picture else None
        return PageReading(text, picture, page.dpi, models)
    if isinstance(task, ReadLines):
        return LinesReading(_read_lines(reader, config.limits, task.contents), models)
    raise TypeError(f"no worker can do {type(task).__name__}")


def _read_lines(
    reader: OcrReader, limits: ImageLimits, contents: Sequence[bytes]
) -> list[OrientedLine | ImageError]:
    lines: dict[int, BGRImage] = {}
    results: dict[int, OrientedLine | ImageError] = {}
    for place, content in enumerate(contents):
        try:
            lines[place] = decode_image(content, limits)
        except ImageError as error:
            results[place] = error
    results.update(zip(lines, reader.recognizer.recognize([*lines.values()]), strict=True))
    return [results[place] for place in range(len(contents))]


class _Voice:
    """Sends messages of several threads, one at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, message: FromWorker) -> None:
        """Send; a service that is gone hears nothing, and needs to hear nothing."""
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            _log.debug("the service is gone; %s is not sent", type(message).__name__)

    def say_alive(self) -> None:
        """Send a sign of life from now on, until the process ends."""

        def beat() -> None:
            while True:
                time.sleep(BEAT_S)
                self.say(Alive())

        threading.Thread(target=beat, name="alive", daemon=True).start()


class _Desk:
    """Tasks of one worker: those in work and those that wait for a thread."""

    def __init__(
        self,
        do: Callable[[Task[Any]], Any],
        answer: Callable[[FromWorker], None],
        places: int,
    ) -> None:
        self._do = do
        self._answer = answer
        self._dropped: set[int] = set()
        self._threads = ThreadPoolExecutor(places, "read")

    def take(self, message: Work | Drop) -> None:
        if isinstance(message, Drop):
            self._dropped.add(message.number)
        else:
            deadline = time.monotonic() + message.left_s
            self._threads.submit(self._work, message, deadline).add_done_callback(_tell_fault)

    def close(self) -> None:
        """Leave what has not begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _work(self, work: Work, deadline: float) -> None:
        task_number.set(work.number)
        result: Any = Failed(None)
        if work.number not in self._dropped and time.monotonic() < deadline:
            try:
                result = self._do(work.task)
            except ImageError as error:
                result = Failed(error)
            except Exception:  # noqa: BLE001  (whatever it is, its client gets an answer)
                _log.exception("task %d failed", work.number)
                result = Failed(ReadingError("a fault in the worker; its log has the trace"))
        self._dropped.discard(work.number)
        self._answer(Done(work.number, result))


def _tell_fault(work: "Future[None]") -> None:
    """An answer could not be sent: nobody asks the thread for its exception."""
    fault = None if work.cancelled() else work.exception()
    if fault is not None:
        _log.error("an answer could not be sent", exc_info=fault)
