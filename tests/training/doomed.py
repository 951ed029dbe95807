"""Run a training that meets with an accident at a chosen moment.

``python doomed.py FATE ARGUMENTS...``: as ``scripts/train.py ARGUMENTS...``; FATE is a JSON object.
"""

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fate:
    """What happens, and when: before a file or folder is written, renamed or deleted.

    Attributes:
        near: part of its path; ``fork``: before a worker is started.
        number: at this occurrence, from 1; 0: never.
        half: what is being written or deleted is left half done, and the process dies.
        signal: is sent otherwise.
        delay_s: after this time.
        largest_file: bytes; a file that grows larger cannot be written.
    """

    near: str = ""
    number: int = 0
    half: bool = False
    signal: int = signal.SIGKILL
    delay_s: float = 0.0
    largest_file: int | None = None

    def text(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def await_fate(fate: Fate) -> None:
    """Make it come to this process."""
    if fate.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fate.largest_file, resource.RLIM_INFINITY))
    left = [fate.number]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        path = _changed(event, arguments)
        if path is None or fate.near not in path:
            return
        left[0] -= 1
        if not left[0]:
            if fate.half and event == "open":
                _write_half(Path(path))
            elif fate.half and event == "shutil.rmtree":
                _delete_half(Path(path))
            _meet(fate)

    sys.addaudithook(hook)


def announce_tensors() -> None:
    """Make the writing of tensors, which is not Python's, an event like that of other files."""
    from ocr_pipeline.artifacts import checkpoint

    save: Callable[..., None] = checkpoint.save_file

    def announced(tensors: object, path: Path) -> None:
        sys.audit("open", str(path), "w", 0)
        save(tensors, path)

    checkpoint.save_file = announced


def _changed(event: str, arguments: tuple[object, ...]) -> str | None:
    """Path that is about to be changed."""
    if event == "open":
        return str(arguments[0]) if arguments[1] in ("a", "w", "wb") else None
    if event == "os.fork":
        return "fork"
    changes = ("os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir", "shutil.rmtree")
    return str(arguments[0]) if event in changes else None


def _meet(fate: Fate) -> None:
    if not fate.delay_s:
        os.kill(os.getpid(), fate.signal)
        return
    timer = threading.Timer(fate.delay_s, os.kill, (os.getpid(), fate.signal))
    timer.daemon = True
    timer.start()


def _write_half(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b'{"step": 1')


def _delete_half(folder: Path) -> None:
    for path in sorted(folder.glob("*.*"))[:1]:
        path.unlink()


if __name__ == "__main__":
    from ocr_pipeline.cli import main

    announce_tensors()
    await_fate(Fate(**json.loads(sys.argv[1])))
    sys.argv[:] = [sys.argv[0], "train", *sys.argv[2:]]
    main()
