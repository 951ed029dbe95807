"""Paddle Lite on x86: proves that a ``.nb`` file computes what its checkpoint does.

It is there for the check at export, not for speed: Lite is made for ARM.
"""

import os
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import AssetError, EngineError
from ocr_pipeline.inference.lite_toolchain import command, told_by, toolchain_python
from ocr_pipeline.inference.lite_worker import ANSWER, REQUEST

X86_MODEL = "x86.nb"
_WORKER = Path(__file__).with_name("lite_worker.py")
_START_TIMEOUT_S = 120.0
_RUN_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 5.0
_TOLD_BYTES = 4096


class LiteEngine:
    """One process of the Paddle Lite toolchain that runs one network, one call after another.

    It ends with this process, however that ends. Where it ends by itself, the call raises and the
    next one starts it again.

    Args:
        folder: holds ``x86.nb``.
        config: threads.

    Raises:
        EngineError: the file or the toolchain is absent, a pinned version is another, or Paddle
            Lite cannot load the file.
    """

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        if config.device != "cpu":
            raise EngineError(
                f"device {config.device}: Paddle Lite is run on the CPU here; set engine.device=cpu"
            )
        self._model = folder / X86_MODEL
        if not self._model.is_file():
            raise EngineError(f"{self._model}: absent; export again with lite")
        try:
            self._python = toolchain_python()
        except AssetError as error:
            raise EngineError(str(error)) from None
        self._threads = config.threads
        self._lock = threading.Lock()
        self._worker: _Worker | None = self._start()

    @property
    def lanes(self) -> int:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return 1

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~ocr_pipeline.inference.engine.Engine`.

        Raises:
            EngineError: the input is no batch of pictures, or Paddle Lite fails; the engine can be
                used again.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.size == 0:
            raise EngineError(f"input {list(images.shape)}; expected [N, 3, H, W], none of them 0")
        with self._lock:
            if self._worker is None:
                self._worker = self._start()
            try:
                return self._worker.ask(np.ascontiguousarray(images, dtype="<f4"))
            except EngineError:
                self._worker = None
                raise

    def close(self) -> None:
        """End the process; a later call would start it again."""
        with self._lock:
            if self._worker is not None:
                self._worker.stop()
                self._worker = None

    def _start(self) -> "_Worker":
        worker = _Worker(command(self._python, str(_WORKER), str(self._model)), self._threads)
        worker.wait_until_ready(f"{self._model}: Paddle Lite cannot load it")
        return worker


class _Worker:
    """The process, its pipes, and what it says on its error output."""

    def __init__(self, line: list[str], threads: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        assert self._process.stdin is not None  # noqa: S101  (a pipe was asked for)
        assert self._process.stdout is not None  # noqa: S101
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        pipes = (self._requests, self._answers, self._log)
        self.stop = weakref.finalize(self, _stop, self._process, *pipes)

    def wait_until_ready(self, otherwise: str) -> None:
        with self._limit(_START_TIMEOUT_S) as late:
            if self._answer() is None:
                self._fail(otherwise, late)

    def ask(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """One request, one answer; ends the process where there is none."""
        with self._limit(_RUN_TIMEOUT_S) as late:
            result = self._answer() if self._request(images) else None
            if result is None:
                self._fail(f"Paddle Lite failed on an input of {list(images.shape)}", late)
        return result

    def _request(self, images: NDArray[np.float32]) -> bool:
        try:
            self._requests.write(REQUEST.pack(*images.shape))
            self._requests.write(images.data)
            self._requests.flush()
        except BrokenPipeError:
            return False
        return True

    def _answer(self) -> NDArray[np.float32] | None:
        """The next answer; None where the process has ended instead."""
        header = self._answers.read(ANSWER.size)
        if len(header) < ANSWER.size:
            return None
        rank, *sizes = ANSWER.unpack(header)
        shape = sizes[:rank]
        result = np.empty(shape, "<f4")
        content = result.data.cast("B")
        done = 0
        while done < len(content):
            part = self._answers.read(len(content) - done)
            if not part:
                return None
            content[done : done + len(part)] = part
            done += len(part)
        return result

    @contextmanager
    def _limit(self, seconds: float) -> Iterator[threading.Event]:
        """Kill the process when the block takes longer; the event then is set."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()

    def _fail(self, what: str, late: threading.Event) -> NoReturn:
        try:
            code: int | None = self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _TOLD_BYTES))
        told = told_by(self._log.read().decode(errors="replace"), code)
        self.stop()
        raise EngineError(f"{what}: {'it took too long' if late.is_set() else told}")


def _stop(
    process: subprocess.Popen[bytes], requests: IO[bytes], answers: IO[bytes], log: IO[bytes]
) -> None:
    """End its input, and it itself where that does not."""
    with suppress(BrokenPipeError):
        requests.close()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    answers.close()
    log.close()
