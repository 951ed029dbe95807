"""One reading process as the service sees it: started, talked to, heard, ended."""

import asyncio
import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.messages import FromWorker, Stop, ToWorker

WorkerEntry = Callable[[Connection, ServeConfig], None]
"""What the process runs; a function of a module, since it is looked up there by name."""
_STOP_S = 5.0
_log = logging.getLogger(__name__)


class WorkerProcess:
    """A child process and the pipe to it. To be made inside the event loop.

    Nothing here waits: a process that does not read its pipe holds up a thread, never the loop.

    Args:
        entry: what the process runs.
        config: handed to it.
        on_message: is told all that it says, in the loop.
        on_end: is told once that it has ended, in the loop, after its last message.
    """

    def __init__(
        self,
        entry: WorkerEntry,
        config: ServeConfig,
        *,
        on_message: Callable[["WorkerProcess", FromWorker], None],
        on_end: Callable[["WorkerProcess"], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._loop = asyncio.get_running_loop()
        self._on_message, self._on_end = on_message, on_end
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=entry, args=(theirs, config), name="ocr-worker", daemon=True
        )
        self._process.start()
        theirs.close()
        self.heard = self._loop.time()
        self._outgoing: queue.SimpleQueue[ToWorker | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="to-worker", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="from-worker", daemon=True)
        self._writer.start()
        self._listener.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None  # noqa: S101  (it was started)
        return self._process.pid

    @property
    def ended_by(self) -> str:
        """How the process ended, once it has."""
        code = self._process.exitcode
        if code is None:
            return "is running"
        return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"

    def send(self, message: ToWorker) -> None:
        """Hand a message to the thread that sends them."""
        self._outgoing.put(message)

    def kill(self) -> None:
        """End it at once, whatever it does; ``on_end`` follows."""
        self._process.kill()

    async def stop(self) -> None:
        """Let what is in work end, for a few seconds; then end it."""
        self.send(Stop())
        await asyncio.to_thread(self._listener.join, _STOP_S)
        if self._listener.is_alive():
            self.kill()
            await asyncio.to_thread(self._listener.join, _STOP_S)

    def _write(self) -> None:
        while (message := self._outgoing.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:
                return  # it has ended; the listener says so

    def _listen(self) -> None:
        try:
            while True:
                self._loop.call_soon_threadsafe(self._hear, self._connection.recv())
        except (EOFError, OSError):
            pass  # it has ended, or is about to
        except Exception:  # noqa: BLE001  (unpickling raises whatever it likes)
            _log.exception("worker %d says what cannot be understood; it is killed", self.pid)
            self.kill()
        self._process.join()
        self._outgoing.put(None)
        self._loop.call_soon_threadsafe(self._on_end, self)

    def _hear(self, message: FromWorker) -> None:
        self.heard = self._loop.time()
        self._on_message(self, message)


def resident_bytes(pid: int) -> int | None:
    """Memory of a process that is in RAM; None where that cannot be told."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):  # it has just ended, or the system has no /proc
        return None
    return pages * int(os.sysconf("SC_PAGE_SIZE"))
