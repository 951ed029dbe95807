"""Run ``prepare`` again and again, killed at another file operation each time.

``python killed.py CONFIG.json LOG``: for N = 1, 2, ... a child process replaces the dataset and
kills itself (SIGKILL) just before its Nth operation near it; after each death the dataset is looked
at and the folder tidied. A line of JSON per death is written into LOG.
"""

import json
import os
import signal
import sys
from pathlib import Path

import cv2

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.artifacts.folder import clear_leftovers
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.preprocess import prepare

_OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod")


def kill_at(number: int, near: str) -> None:
    """Make this process die before its operation of this number on a path that holds ``near``."""
    left = [number]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _OPERATIONS and any(near in str(value) for value in arguments[:2]):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def die_once(config: PrepareConfig, number: int) -> bool:
    """Whether a child died at this operation; False: it came to its end before."""
    child = os.fork()
    if not child:
        kill_at(number, config.out.name)
        prepare(config, None, replace=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    if status:
        raise SystemExit(f"the child failed at operation {number}")
    return False


def main(config: PrepareConfig, log: Path) -> None:
    """Die at every operation, until none is left."""
    cv2.setNumThreads(0)  # threads do not live on in a fork
    prepare(config, None)
    rows = []
    number = 0
    while True:
        number += 1
        died = die_once(config, number)
        there = config.out.exists()
        clear_leftovers(config.out)
        dataset = Dataset.load(config.out)
        samples = [s for split in ("train", "val") for s in dataset.pages(split)]
        size = sum(
            len(dataset.pictures(split).content(dataset.pages(split)[0]))
            for split in ("train", "val")
        )
        left = sorted(path.name for path in config.out.parent.iterdir())
        rows.append({"there": there, "samples": len(samples), "bytes": size, "left": left})
        if not died:
            break
    log.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


if __name__ == "__main__":
    values = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    main(PrepareConfig.model_validate(values), Path(sys.argv[2]))
