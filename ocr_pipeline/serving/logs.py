"""Logs of the service: one line an event; writing them neither breaks nor holds up a request."""

import errno
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

import structlog
from structlog.typing import EventDict, Processor

from ocr_pipeline.config.logs import LogConfig
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.serving.messages import Logged

_MOST_WAITING = 10_000
_CLOSE_S = 5.0
_FILE_MODE = 0o640
task_number: ContextVar[int | None] = ContextVar("task_number", default=None)
"""In a worker: of the task that this thread does."""


class _Target(Protocol):
    """Where lines go."""

    name: str

    def write(self, line: str) -> None:
        """Write a line, without its end; OSError: it is not written."""


class Stderr:
    """The process's own."""

    name = "stderr"

    def write(self, line: str) -> None:
        """Write a line."""
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except ValueError as error:  # it was closed
            raise OSError(errno.EBADF, str(error)) from None


class RotatingFile:
    """A file that holds whole lines only, even where the disk was full for a while.

    ``logging.handlers.RotatingFileHandler`` keeps a line that was half written, and when it cannot
    close a file on a full disk it never writes again.

    Args:
        path: the file; those before it are ``path.1``, the newest, to ``path.N``.
        max_bytes: before a line that would make it larger, a new one is begun.
        backups: files that are kept beside it, at least 1.

    Raises:
        ConfigError: it cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self.name = str(path)
        self._path, self._max_bytes, self._backups = path, max_bytes, backups
        self._descriptor: int | None = None
        try:
            self._open()
        except OSError as error:
            raise ConfigError(
                f"logs.file {path}: cannot be opened ({error.strerror}); give a file in a folder "
                "that exists and may be written to"
            ) from None

    def write(self, line: str) -> None:
        """Write a line, without its end.

        Raises:
            OSError: it cannot be written; nothing of it is in the file.
        """
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        descriptor = self._open() if self._descriptor is None else self._descriptor
        size = os.fstat(descriptor).st_size
        if size and size + len(data) > self._max_bytes:
            descriptor, size = self._rotate(), 0
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, _FILE_MODE)
        return self._descriptor

    def _rotate(self) -> int:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None
        names = [self._path, *(Path(f"{self._path}.{n}") for n in range(1, self._backups + 1))]
        for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
            with suppress(FileNotFoundError):
                newer.replace(older)
        return self._open()


class DroppingHandler(logging.Handler):
    """Formats a record at once and writes it in a thread of its own.

    What cannot be written, or comes faster than it can be, is dropped and counted.

    Args:
        target: where lines go.
        most_waiting: lines that may wait for the thread.

    Attributes:
        dropped: lines so far.
    """

    def __init__(self, target: _Target, most_waiting: int = _MOST_WAITING) -> None:
        super().__init__()
        self._target = target
        self._lines: queue.Queue[str | None] = queue.Queue(most_waiting)
        self._came_too_fast = 0
        self._not_written = 0
        self._told = 0
        self._is_failing = False
        self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """See the class."""
        return self._came_too_fast + self._not_written

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record to the thread."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._came_too_fast += 1
        except Exception:  # noqa: BLE001  (a record that cannot be formatted breaks no request)
            self._not_written += 1

    def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSE_S)
            self._thread.join(_CLOSE_S)
        super().close()

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._target.write(line)
                self._is_failing = False
                if self.dropped > self._told:
                    self._tell_dropped()
            except OSError as error:
                self._not_written += 1
                self._tell_failing(error)
            finally:
                self._lines.task_done()

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        values = {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": f"{dropped - self._told} log lines were dropped",
        }
        self._target.write(self.format(logging.makeLogRecord(values)))
        self._told = dropped

    def _tell_failing(self, error: OSError) -> None:
        if self._is_failing:
            return
        self._is_failing = True
        with suppress(OSError):
            Stderr().write(
                f"logs: {self._target.name} cannot be written ({error.strerror}); lines are "
                "dropped until it can, the service goes on"
            )


class ToService(logging.Handler):
    """In a worker: its log lines go to the service, which has the one open file.

    Args:
        say: sends a message there.
    """

    def __init__(self, say: Callable[[Logged], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        try:
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            text = record.getMessage()
        except Exception:  # noqa: BLE001  (a record that cannot be formatted breaks no request)
            text, trace = str(record.msg), ""
        self._say(Logged(record.name, record.levelno, text, trace, task_number.get()))


def configure_logs(config: LogConfig) -> DroppingHandler:
    """Make this process write its logs as the config says: those of all libraries, too.

    Raises:
        ConfigError: the file cannot be opened.
    """
    target: _Target = (
        RotatingFile(Path(config.file), max_bytes=config.max_bytes, backups=config.backups)
        if config.file
        else Stderr()
    )
    handler = DroppingHandler(target)
    for_people = config.form == "console" or (
        config.form == "auto" and config.file is None and sys.stderr.isatty()
    )
    handler.setFormatter(formatter(for_people=for_people))
    _replace_handlers(handler, config.level)
    return handler


def configure_worker_logs(config: LogConfig, say: Callable[[Logged], None]) -> None:
    """Make this worker process send its logs to the service."""
    _replace_handlers(ToService(say), config.level)


def relay(message: Logged, pid: int, request_id: str) -> None:
    """In the service: log what a worker has said, about this request if it is about one."""
    logger = logging.getLogger(message.logger)
    if logger.isEnabledFor(message.level):
        values = {
            "name": message.logger,
            "levelno": message.level,
            "levelname": logging.getLevelName(message.level),
            "msg": message.text,
            "exc_text": message.trace or None,
            "fields": {"worker": pid, **({"request_id": request_id} if request_id else {})},
        }
        logger.handle(logging.makeLogRecord(values))


def dropped_lines() -> int:
    """Log lines of this process that were dropped so far."""
    handlers = logging.getLogger().handlers
    return sum(h.dropped for h in handlers if isinstance(h, DroppingHandler))


def formatter(*, for_people: bool) -> logging.Formatter:
    """What turns a record into a line.

    What stands in ``extra={"fields": {...}}`` becomes part of it, and so does what is bound to the
    request, e.g. its id.
    """
    # The value of a variable may be the text of a page: traces show code only.
    render: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
            exception_formatter=structlog.dev.plain_traceback,
        )
        if for_people
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_of_record,
            *([] if for_people else [structlog.processors.format_exc_info]),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )


def _add_of_record(_logger: object, _method: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["logger"] = record.name
    if record.exc_text and not record.exc_info:  # of a worker
        event["exception"] = record.exc_text
    event.update(getattr(record, "fields", {}))
    return event


def _replace_handlers(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for old in [*root.handlers]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # Ten lines for each PDF that is written.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
