"""Save checkpoint after checkpoint, killed before another file operation each time.

``python doomed_saves.py RUN_DIR HALF LOG``: for N = 1, 2, ... a child process goes on with the run
as a training does, saves a checkpoint, deletes an old one, and dies before its Nth operation (HALF:
``half``: in the midst of it). A line of JSON per child is written into LOG.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from ocr_pipeline.artifacts.checkpoint import (
    Checkpoint,
    Tensors,
    clear_run,
    keep_only,
    latest,
    step_folder,
    step_folders,
)
from ocr_pipeline.config.model import DetModelSpec
from tests.training.doomed import Fate, announce_tensors, await_fate


def tensors(step: int) -> Tensors:
    """What a checkpoint holds."""
    return {"a": np.full((50, 3), step, np.float32)}


def go_on(run_dir: Path) -> None:
    """Save the next checkpoint and delete those before the last one."""
    clear_run(run_dir)
    last = latest(run_dir)
    step = 0 if last is None else last.card.step + 1
    Checkpoint.write(
        step_folder(run_dir, step),
        model=DetModelSpec(size="tiny"),
        weights=tensors(step),
        train_state=tensors(-step),
        charset=None,
        golden=[np.full((9, 9, 3), step % 256, np.uint8)],
        step=step,
        metrics={},
        main_metric="hmean",
        started_from="nothing",
        config={},
        made_by={},
    )
    keep_only(run_dir, step_folders(run_dir)[-1:])


def died(run_dir: Path, fate: Fate) -> bool:
    """Whether a child met with its fate; False: it came to its end before."""
    child = os.fork()
    if not child:
        await_fate(fate)
        go_on(run_dir)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status and not os.WIFSIGNALED(status):
        raise SystemExit(f"the child failed at operation {fate.number}")
    return bool(status)


def main(run_dir: Path, log: Path, *, half: bool) -> None:
    """Die at every operation, until none is left."""
    announce_tensors()
    go_on(run_dir)
    go_on(run_dir)
    rows = []
    number = 0
    while True:
        number += 1
        ended = not died(run_dir, Fate(number=number, half=half))
        last = latest(run_dir)
        weights = {} if last is None else last.weights()
        state = {} if last is None else last.train_state() or {}
        step = -1 if last is None else last.card.step
        whole = [Checkpoint.load(folder).card.step for folder in step_folders(run_dir)]
        same = all(
            np.array_equal(found["a"], tensors(value)["a"])
            for found, value in ((weights, step), (state, -step))
        )
        left = len([path for path in run_dir.iterdir() if path.name.startswith(".")])
        clear_run(run_dir)
        names = sorted(path.name for path in run_dir.iterdir())
        row = {"step": step, "whole": whole, "same": same, "left": left, "names": names}
        rows.append(json.dumps(row))
        if ended:
            break
    log.write_text("\n".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]), half=sys.argv[2] == "half")
