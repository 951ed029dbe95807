"""The reading processes of a service: who reads what, and what happens when one ends."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal, Protocol, TypeVar

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.logs import relay
from ocr_pipeline.serving.messages import (
    Done,
    Drop,
    Failed,
    FromWorker,
    Loaded,
    Logged,
    NotLoaded,
    ServedModel,
    Task,
    Work,
)
from ocr_pipeline.serving.process import WorkerEntry, WorkerProcess
from ocr_pipeline.serving.records import current_record
from ocr_pipeline.serving.turns import Turns
from ocr_pipeline.serving.worker import run_worker

_WATCH_EVERY_S = 0.5
_MOST_PAUSE_S = 30.0
_GIVE_UP_AFTER = 5
_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


class OverloadedError(Exception):
    """No request can be taken now; the message says why."""


class WorkerLostError(Exception):
    """The process that read a picture ended, and the one that read it alone after that, too."""


@dataclass(frozen=True)
class TaskTimes:
    """When what happened to a task, ``time.monotonic()``.

    Attributes:
        asked_s: it was asked for.
        handed_s: a worker first got it; None: none did.
        ended_s: it was answered, or given up.
    """

    asked_s: float
    handed_s: float | None
    ended_s: float


class Watcher(Protocol):
    """Wants to know what the pool does."""

    def ended(self, task: Task[Any], times: TaskTimes, outcome: Any) -> None:
        """A task has ended with this result or exception; called in the context of its asker."""


@dataclass(eq=False)
class _Job:
    """One task.

    Attributes:
        number: of the task.
        task: what to do.
        urgent: somebody waits for it and does nothing else.
        deadline: time of the loop after which nobody waits for it.
        answer: what its client waits for.
        request_id: of the request that it is for; empty where it is for none.
        asked_s: when it was asked for, ``time.monotonic()``.
        handed_s: when a worker first got it.
        alone: a process ended while it was read there: the next one reads nothing beside it.
    """

    number: int
    task: Task[Any]
    urgent: bool
    deadline: float
    answer: "asyncio.Future[Any]"
    request_id: str
    asked_s: float = field(default_factory=time.monotonic)
    handed_s: float | None = None
    alone: bool = False


@dataclass(eq=False)
class _Place:
    """Where a worker stands; the process in it changes, the place stays.

    Attributes:
        process: None between two of them.
        places: tasks that keep it busy; 0 until it has loaded.
        jobs: handed to it and not yet answered, by number.
        failures: processes in a row that ended before they had loaded.
        started: time of the loop.
        ending: it was told to end, or is being killed: nothing more is handed to it.
    """

    process: WorkerProcess | None = None
    places: int = 0
    jobs: dict[int, _Job] = field(default_factory=dict)
    failures: int = 0
    started: float = 0.0
    ending: bool = False

    def takes(self, job: _Job) -> bool:
        """Whether this job may be handed to it now."""
        if self.process is None or self.ending or len(self.jobs) >= self.places:
            return False
        return not self.jobs or not (job.alone or any(j.alone for j in self.jobs.values()))


class WorkerPool:
    """Processes that read pictures, watched: one that dies or hangs is replaced.

    A process dies by a fault in a native library, or by the system for its memory; all tasks that
    it had are done once more, one by one, since any of them may be the cause. What ends a process
    for the second time is given up.

    Attributes:
        status: loading; ready; recovering: it was ready, and no process is now; failed.
        detail: why it failed.
        models: that are served, by role; empty before they have loaded.
        restarts: processes that were replaced.
        watcher: is told of each task that has ended.
    """

    def __init__(self, config: ServeConfig, entry: WorkerEntry = run_worker) -> None:
        self.detail = ""
        self.models: Mapping[str, ServedModel] = {}
        self.restarts = 0
        self.watcher: Watcher | None = None
        self._config = config
        self._entry = entry
        self._failed = False
        self._closing = False
        self._admitted = 0
        self._numbers = count(1)
        self._queue: Turns[_Job] = Turns()
        self._places = [_Place() for _ in range(config.workers)]
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> Literal["loading", "ready", "recovering", "failed"]:
        """See the class."""
        if self._failed:
            return "failed"
        if any(place.places for place in self._places):
            return "ready"
        return "recovering" if self.models else "loading"

    @property
    def is_alive(self) -> bool:
        """False once processes that had worked before cannot be started any more."""
        return not (self._failed and self.models)

    @property
    def queued(self) -> int:
        """Tasks that wait for a process."""
        return len(self._queue)

    @property
    def loaded(self) -> int:
        """Processes that have loaded their models."""
        return sum(place.places > 0 for place in self._places)

    @property
    def pids(self) -> dict[int, int]:
        """Process id by place, of those that run."""
        processes = {number: place.process for number, place in enumerate(self._places)}
        return {number: process.pid for number, process in processes.items() if process}

    def start(self) -> None:
        """Start the processes and watch them; call it inside the event loop."""
        for place in self._places:
            self._in_background(self._start_after(place, 0.0))
        self._in_background(self._watch())

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Hold one of the ``max_waiting`` places while a request and its tasks are in the house.

        Raises:
            OverloadedError: too many requests are, or the models are not loaded.
        """
        if self.status not in ("ready", "recovering"):
            raise OverloadedError(f"the models are not ready ({self.status}), see /readyz")
        if self._admitted >= self._config.max_waiting:
            raise OverloadedError(f"{self._admitted} requests wait already, no more are taken")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def do(self, task: Task[ResultT], *, urgent: bool = True) -> ResultT:
        """Have a task done by a worker; it is taken out of the queue if the caller is cancelled.

        Args:
            task: what to do.
            urgent: it goes before those that are not, of which one in five has its turn all the
                same.

        Raises:
            OverloadedError: no worker can be started any more.
            TimeoutError: not done within ``timeout_s``; if it had not begun, it will not.
            ImageError: the picture cannot be read.
            WorkerLostError: two processes ended while they did it.
        """
        if self._failed:
            raise OverloadedError("no worker can be started any more")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.timeout_s
        record = current_record()
        request_id = record.request_id if record else ""
        job = _Job(next(self._numbers), task, urgent, deadline, loop.create_future(), request_id)
        self._queue.append(job)
        self._feed()
        outcome: Any = None
        try:
            async with asyncio.timeout_at(deadline):
                outcome = await job.answer
                result: ResultT = outcome
                return result
        except Exception as error:
            outcome = error
            raise
        finally:
            self._withdraw(job)
            if self.watcher is not None:
                times = TaskTimes(job.asked_s, job.handed_s, time.monotonic())
                self.watcher.ended(task, times, outcome)

    async def close(self) -> None:
        """End all processes."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        running = [place for place in self._places if place.process is not None]
        for place in running:
            place.ending = True
        await asyncio.gather(*(place.process.stop() for place in running if place.process))

    def _feed(self) -> None:
        """Hand waiting jobs, in their order, to the processes that have the least to do."""
        while (job := self._queue.first()) is not None:
            if not job.answer.done():
                place = min(self._places, key=lambda place: (not place.takes(job), len(place.jobs)))
                if not place.takes(job) or place.process is None:
                    return
                place.jobs[job.number] = job
                job.handed_s = job.handed_s or time.monotonic()
                left_s = job.deadline - asyncio.get_running_loop().time()
                place.process.send(Work(job.number, job.task, left_s))
            self._queue.take()

    def _withdraw(self, job: _Job) -> None:
        """Its client has its answer, or is gone."""
        for place in self._places:
            if job.number in place.jobs and place.process is not None:
                place.process.send(Drop(job.number))
        self._queue.discard(job)

    def _start_one(self, place: _Place) -> None:
        place.started = asyncio.get_running_loop().time()
        place.places, place.ending = 0, False
        place.process = WorkerProcess(
            self._entry,
            self._config,
            on_message=lambda _, message: self._hear(place, message),
            on_end=lambda process: self._ended(place, process),
        )

    def _hear(self, place: _Place, message: FromWorker) -> None:
        if isinstance(message, Loaded):
            self.models = message.models
            place.places, place.failures = message.places, 0
            self._feed()
        elif isinstance(message, NotLoaded):
            _log.error("models not loaded: %s%s", message.reason, f"\n{message.trace}".rstrip())
            self.detail = message.reason
            # The first time nothing is there to fall back on, and what is wrong stays wrong.
            self._failed = self._failed or not self.models
        elif isinstance(message, Logged) and place.process is not None:
            about = place.jobs.get(message.number or 0)
            relay(message, place.process.pid, about.request_id if about else "")
        elif isinstance(message, Done):
            job = place.jobs.pop(message.number, None)
            if job is not None:
                _answer(job, message.result)
            self._feed()

    def _ended(self, place: _Place, process: WorkerProcess) -> None:
        loaded, jobs = place.places > 0, [*place.jobs.values()]
        place.process, place.places, place.jobs = None, 0, {}
        if self._closing or self._failed:
            return
        place.failures += not loaded
        self.restarts += 1
        _log.error(
            "worker %d %s%s; %d tasks are done again",
            process.pid,
            process.ended_by,
            "" if loaded else " before it had loaded",
            sum(not job.answer.done() and not job.alone for job in jobs),
        )
        for job in reversed(jobs):
            self._again(job)
        self._start_again(place)

    def _start_again(self, place: _Place) -> None:
        """Another process for a place, unless too many have failed in a row."""
        if place.failures >= _GIVE_UP_AFTER:
            self.detail = self.detail or f"{place.failures} workers ended before they had loaded"
            self._failed = True
            for job in self._queue:
                _answer(job, Failed(OverloadedError("no worker can be started any more")))
            return
        pause_s = min(_MOST_PAUSE_S, 2.0 ** (place.failures - 1)) if place.failures else 0.0
        self._in_background(self._start_after(place, pause_s))

    def _again(self, job: _Job) -> None:
        if job.answer.done():
            return
        if job.alone:
            _log.error("task %d ended two workers; it is given up", job.number)
            _answer(job, Failed(WorkerLostError(f"task {job.number} ended two workers")))
        else:
            job.alone = True
            self._queue.prepend(job)

    async def _start_after(self, place: _Place, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        try:
            self._start_one(place)
        except OSError as error:  # no memory or no process is left on this machine
            _log.error("no worker can be started: %s", error)
            self.detail = f"no worker can be started: {error}"
            place.failures += 1
            self._start_again(place)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_WATCH_EVERY_S)
            if loop.time() - before > 2 * _WATCH_EVERY_S:
                continue  # this process was held up itself: signs of life wait to be heard
            for place in self._places:
                fault = self._fault(place)
                if fault and place.process is not None:
                    place.ending = True
                    _log.error("worker %d %s; it is killed", place.process.pid, fault)
                    place.process.kill()

    def _fault(self, place: _Place) -> str:
        """What is wrong with a process that still runs; empty where nothing is."""
        if place.process is None or place.ending:
            return ""
        config, now = self._config, asyncio.get_running_loop().time()
        if not place.places:
            late = now - place.started > config.start_timeout_s
            return f"has not loaded within {config.start_timeout_s:g} s" if late else ""
        if now - place.process.heard > config.silence_s:
            return f"has given no sign of life for {config.silence_s:g} s"
        # Its client has got a 504 by now, but the place is still taken.
        if any(now - job.deadline > config.silence_s for job in place.jobs.values()):
            return f"reads one picture for {config.timeout_s + config.silence_s:g} s"
        return ""

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _answer(job: _Job, result: Any) -> None:
    if job.answer.done():
        return  # its client is gone
    if isinstance(result, Failed):
        job.answer.set_exception(result.error or TimeoutError())
    else:
        job.answer.set_result(result)
