"""What reading processes run in tests, looked up by name in the process itself."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import ImageError
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.choose import Decision
from ocr_pipeline.inference.reader import PageText
from ocr_pipeline.serving import worker
from ocr_pipeline.serving.messages import (
    Alive,
    Done,
    Failed,
    Loaded,
    NotLoaded,
    PageReading,
    ReadPage,
    ServedModel,
    Stop,
    Work,
)

MODELS = {
    "detector": ServedModel(
        "fake", "det", "0" * 64, Decision("paddle-fp32", [], ""), DetModelSpec(size="tiny")
    )
}


class _Obedient:
    """See :func:`obedient`."""

    def __init__(self, folder: Path, connection: Connection) -> None:
        self.models: dict[str, str] = {}
        self._held: list[bytes] = []
        self._folder = folder
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, message: Any) -> None:
        with self._lock:
            self._connection.send(message)

    def beat(self) -> None:
        while True:
            time.sleep(0.1)
            self.say(Alive())

    def work(self, work: Work) -> None:
        assert isinstance(work.task, ReadPage)
        words = work.task.content.decode().split()
        (self._folder / f"{work.number}-{'-'.join(words)}-{os.getpid()}").touch()
        if words[0] == "hang":
            time.sleep(1000)
        if words[0] == "babble" and self._is_first(words[2]):
            with self._lock:
                self._connection.send_bytes(b"no pickle")
            return
        if words[0] == "swell":
            self._held.append(b"x" * 200_000_000)
        if words[0] in ("die", "freeze") and (len(words) == 1 or self._is_first(words[2])):
            os.kill(os.getpid(), signal.SIGKILL if words[0] == "die" else signal.SIGSTOP)
        self.say(Done(work.number, self._result(words)))

    def _result(self, words: list[str]) -> PageReading | Failed:
        if words[0] == "wrong":
            return Failed(ImageError("wrong"))
        width = 0
        if words[0] == "page":
            width = int(words[1])
            time.sleep(float(words[3]))
        return PageReading(PageText([], width, 0, {}, {}), None, None, self.models)

    def _is_first(self, name: str) -> bool:
        try:
            (self._folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def obedient(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """Does what a request says, and leaves a file ``NUMBER-WORDS-PID`` for each that it begins.

    ``page N after S``: a page of N px width, after S seconds. ``die``: it ends. ``freeze once
    NAME``: it stops, so that nothing of it goes on, but the first time only. ``hang``: never
    answers. ``babble once NAME``: says what is no message. ``wrong``: the picture cannot be read.
    ``swell``: it takes 200 MB and keeps them. A detector ``bad`` cannot be loaded, ``slow`` once
    there is a file ``open``, ``good once`` by the first process alone.
    """
    desk = _Obedient(folder, connection)
    if config.detector.startswith("bad"):
        desk.say(NotLoaded("ArtifactError: bad models", ""))
        return
    (folder / f"started-{os.getpid()}").touch()
    if config.detector == "slow":
        _wait_for(folder / "open")
    if config.detector == "good once" and len([*folder.glob("good-*")]) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"{config.detector.split()[0]}-{os.getpid()}").touch()
    desk.models = {"detector": config.detector}
    desk.say(Loaded({"detector": replace(MODELS["detector"], name=config.detector)}, 2))
    threading.Thread(target=desk.beat, daemon=True).start()
    pool = ThreadPoolExecutor(4)
    while not isinstance(message := connection.recv(), Stop):
        if isinstance(message, Work):
            pool.submit(desk.work, message)
    os._exit(0)


def works_once(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """As :func:`obedient` for the first process; those after it cannot load their models."""
    if not any(folder.glob("started-*")):
        obedient(folder, connection, config)
    (folder / f"tried-{os.getpid()}").touch()
    connection.send(NotLoaded("ArtifactError: the models are gone", ""))


def ends_at_once(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """Dies before it has loaded anything."""
    (folder / f"tried-{os.getpid()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def never_loads(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """Loads for ever."""
    (folder / f"tried-{os.getpid()}").touch()
    time.sleep(1000)


def held_while_loading(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """The real one, once there is a file ``open``."""
    _wait_for(folder / "open")
    worker.run_worker(connection, config)


def held_while_reading(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """The real one, but each page leaves a file named by its pixels, then waits for ``open``."""
    read = OcrReader.read

    def held(self: OcrReader, picture: Any, *rest: Any, **options: Any) -> PageText:
        (folder / sha256(picture.tobytes()).hexdigest()).touch()
        _wait_for(folder / "open")
        return read(self, picture, *rest, **options)

    OcrReader.read = held  # type: ignore[method-assign]
    worker.run_worker(connection, config)


def broken_once(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """The real one, but the first picture meets a fault of ours."""
    read = OcrReader.read

    def broken(self: OcrReader, *rest: Any, **options: Any) -> PageText:
        OcrReader.read = read  # type: ignore[method-assign]
        raise RuntimeError("segment 7 of /srv/secret")

    OcrReader.read = broken  # type: ignore[method-assign, assignment]
    worker.run_worker(connection, config)


def broken_while_loading(folder: Path, connection: Connection, config: ServeConfig) -> None:
    """The real one, but its models meet a fault of ours."""

    def broken_load(config: ServeConfig) -> Any:
        raise RuntimeError("segment 7")

    worker._load = broken_load
    worker.run_worker(connection, config)


def _wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def entry_in(folder: Path, function: Any) -> Any:
    """The function with its folder, as a process can be given it."""
    return partial(function, folder)
