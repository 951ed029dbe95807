"""A side that stands still while it has no turn: ``python -m … <command> <argument> …``.

A data pipeline goes on preparing batches when nobody draws them. It would do so in the other
side's turn, and its own next turn would begin with batches that cost nothing. So the worker that
is given as command runs in a process group of its own, with its threads and its processes; the
group is stopped by the system's signal after each step and goes on with the next. What a side does
is then done in its own turn, and nothing is lost. Threads that wait for more work by spinning, as
those of ONNX Runtime do for some ten milliseconds, are stopped as well.

For the comparison this process is the worker: it passes on what the other one says.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from ocr_pipeline.benchmarks.groups import PROCESSES, cpu_seconds
from ocr_pipeline.benchmarks.interleave import protocol
from ocr_pipeline.processes import end_with_parent

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Paddle's workers put their batches)


def main() -> None:
    """Run the command of the arguments, stopped between its steps."""
    with (
        subprocess.Popen(
            sys.argv[1:],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            process_group=0,
            preexec_fn=end_with_parent,
        ) as process,
        protocol() as answers,
    ):
        assert process.stdin is not None  # noqa: S101  (a pipe)
        assert process.stdout is not None  # noqa: S101  (a pipe)
        line = process.stdout.readline()
        while line:
            os.killpg(process.pid, signal.SIGSTOP)
            used = cpu_seconds(process.pid)
            answers.write(line)
            answers.flush()
            asked = sys.stdin.readline()
            os.killpg(process.pid, signal.SIGCONT)
            if not asked:
                return
            process.stdin.write(asked)
            process.stdin.flush()
            line = _with_cpu(process.stdout.readline(), process.pid, used)
    sys.exit(process.returncode)


def _with_cpu(line: str, group: int, before: float) -> str:
    """The answer with the CPU time of the whole group: a worker counts its own process alone."""
    if not line or not PROCESSES.is_dir():
        return line
    answer = json.loads(line)
    answer["cpu_seconds"] = cpu_seconds(group) - before
    return json.dumps(answer) + "\n"


def paused(command: Sequence[str]) -> list[str]:
    """Command of a worker that stands still between its steps."""
    return [sys.executable, "-m", "ocr_pipeline.benchmarks.pausing", *command]


class DrawnBatches:
    """Steps of a data pipeline.

    Args:
        batches: an endless generator; a batch's first array has one row a sample.
        count: batches of one step.
        steps: after so many the next step only ends the pipeline, with its workers and their
            shared memory.
    """

    def __init__(self, batches: Generator[Any, None, None], *, count: int, steps: int) -> None:
        self._batches = batches
        self._count = count
        self._left = steps

    def shapes(self) -> list[list[int]]:
        """Draw one batch; return the shapes of its arrays."""
        return [list(array.shape) for array in next(self._batches)]

    def step(self) -> float:
        """Return how many samples were drawn."""
        if self._left == 0:
            self._end()
            return 0.0
        self._left -= 1
        return float(sum(len(next(self._batches)[0]) for _ in range(self._count)))

    def _end(self) -> None:
        workers = [child.pid for child in active_children()]
        self._batches.close()
        # Paddle leaves what its workers had ready, in shared memory and named after them.
        for worker in workers:
            for left in _SHARED_MEMORY.glob(f"paddle_{worker}_*"):
                left.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
