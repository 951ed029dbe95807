"""Sides of a comparison: one process each, one step at a time, strictly in turn.

On a machine that others use too, only what ran side by side can be compared. A worker writes one
line of JSON when it is ready and one per step; it takes a step for each line on its stdin.
"""

import io
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any, Self, TextIO

from ocr_pipeline.errors import TrainingError

START_TIMEOUT_S = 300.0
STEP_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: in tables and messages.
        command: of the worker.
        environment: what is added to ours; an empty value takes a variable away.
        if_slow: what to do where it does not answer in time.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    if_slow: str = "take a smaller --batch or --width"


@dataclass(frozen=True)
class Step:
    """One step as its own process saw it; ``loss`` tells that it did the work."""

    seconds: float
    cpu_seconds: float
    loss: float


class Worker:
    """The process of one side. A context manager: it ends with the block.

    Raises:
        TrainingError: the process ended, or gave no answer in time; with the end of its stderr.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            list(side.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env=environment_with(side.environment),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # closing sends what a dead worker never read
                    stream.close()

    def ready(self) -> dict[str, Any]:
        """Wait for the first line: what the side says of itself."""
        return self._answer(START_TIMEOUT_S)

    def step(self) -> Step:
        """Let it take one step while nobody else does."""
        return Step(**self.ask("step"))

    def ask(self, request: str) -> dict[str, Any]:
        """Send one line and wait for the answer to it."""
        try:
            _pipe(self._process.stdin).write(f"{request}\n")
            _pipe(self._process.stdin).flush()
        except OSError:
            raise TrainingError(self._end()) from None
        return self._answer(STEP_TIMEOUT_S)

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        stdout = _pipe(self._process.stdout)
        if not select.select([stdout], [], [], timeout_s)[0]:
            raise TrainingError(
                f"side {self.side.name!r}: no answer within {timeout_s:g} s; {self.side.if_slow}"
            )
        line = stdout.readline()
        if not line:
            raise TrainingError(self._end())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr if line.strip()]
        return (
            f"side {self.side.name!r}: its process ended with exit code {code} "
            f"({lines[-1] if lines else 'and said nothing'}); run it alone: "
            f"{' '.join(self.side.command)}"
        )


def take_turns(
    sides: Sequence[Side],
    *,
    steps: int,
    warmup: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, list[Step]], dict[str, dict[str, Any]]]:
    """Run all sides, one step here, one step there; the first side of a round changes.

    Args:
        sides: their names differ.
        steps: measured steps of each side.
        warmup: steps of each side before that.
        on_progress: called with (rounds done, rounds in all).

    Returns:
        Measured steps by side, and what each side said of itself.

    Raises:
        TrainingError: a side fails.
    """
    with ExitStack() as stack:
        workers = []
        said = {}
        for side in sides:  # one after the other: starting disturbs nobody's steps
            worker = stack.enter_context(Worker(side))
            said[side.name] = worker.ready()
            workers.append(worker)
        measured: dict[str, list[Step]] = {side.name: [] for side in sides}
        for number in range(warmup + steps):
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                step = worker.step()
                if number >= warmup:
                    measured[worker.side.name].append(step)
            if on_progress is not None:
                on_progress(number + 1, warmup + steps)
    return measured, said


@contextmanager
def protocol() -> Iterator[TextIO]:
    """In a worker: the stream of answers; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # or it would come after the last words
    with answers:
        yield answers


def serve_steps(take: Callable[[], float], said: Mapping[str, Any], answers: TextIO) -> None:
    """In a worker: say what this side is, then take a step for each line on stdin.

    Args:
        take: one step; returns its loss.
        said: facts about this side.
        answers: from :func:`protocol`.
    """

    def step(_request: str) -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = take()
        return {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "loss": loss,
        }

    serve(step, said, answers)


def serve(
    answer: Callable[[str], Mapping[str, Any]], said: Mapping[str, Any], answers: TextIO
) -> None:
    """In a worker: say what this side is, then answer each line on stdin.

    Args:
        answer: from a line, without its end, to plain values.
        said: facts about this side.
        answers: from :func:`protocol`.
    """
    print(json.dumps(said), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line.rstrip("\n"))), file=answers, flush=True)


def environment_with(added: Mapping[str, str]) -> dict[str, str]:
    """Our environment and what is added to it; an empty value takes a variable away."""
    merged = {**os.environ, **added}
    return {name: value for name, value in merged.items() if value}


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # noqa: S101  (all of a worker's streams are pipes)
    return stream
