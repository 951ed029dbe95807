"""The reading processes of a service: who reads what, and what happens when one ends."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, Protocol, TypeVar

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.jobs import Job, TaskTimes, Worker
from ocr_pipeline.serving.logs import relay
from ocr_pipeline.serving.messages import (
    Batched,
    Done,
    Drop,
    Failed,
    FromWorker,
    Loaded,
    Logged,
    NotLoaded,
    ServedModel,
    Task,
)
from ocr_pipeline.serving.process import WorkerEntry, WorkerProcess, resident_bytes
from ocr_pipeline.serving.records import current_record
from ocr_pipeline.serving.turns import Turns
from ocr_pipeline.serving.worker import run_worker

_WATCH_EVERY_S = 0.5
_MOST_PAUSE_S = 30.0
_GIVE_UP_AFTER = 5
_RECYCLED_AFTER = 200
"""Tasks; a worker that is as large before has its size from its models."""
_log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


class OverloadedError(Exception):
    """No request can be taken now; the message says why."""


class WorkerLostError(Exception):
    """The process that read a picture ended, and the one that read it alone after that, too."""


class ReloadError(Exception):
    """Models were not taken over; the message says why."""


class Watcher(Protocol):
    """Wants to know what the pool does."""

    def ended(self, task: Task[Any], times: TaskTimes, outcome: Any) -> None:
        """A task has ended with this result or exception; called in the context of its asker."""

    def batched(self, lines: int, capacity: int) -> None:
        """So many lines are recognised together, of so many that could be."""


@dataclass(eq=False)
class _Place:
    """Where a worker stands; the worker changes, the place stays.

    Attributes:
        worker: None between two of them.
        successor: loads, to take the worker's place once it has.
        failures: workers in a row that ended before they had loaded.
    """

    worker: Worker | None = None
    successor: Worker | None = None
    failures: int = 0


class WorkerPool:
    """Processes that read pictures, watched: one that dies or hangs is replaced.

    A process dies by a fault in a native library, or by the system for its memory; all tasks that
    it had are done once more, one by one, since any of them may be the cause. What ends a process
    for the second time is given up.

    Attributes:
        status: loading; ready; recovering: it was ready, and no process is now; failed.
        detail: why it failed.
        models: that are served, by role; empty before they have loaded.
        restarts: processes that had died or were killed.
        recycled: processes that were replaced because they had grown.
        watcher: is told of each task that has ended, and of batches.
    """

    def __init__(self, config: ServeConfig, entry: WorkerEntry = run_worker) -> None:
        self.detail = ""
        self.models: Mapping[str, ServedModel] = {}
        self.restarts = 0
        self.recycled = 0
        self.watcher: Watcher | None = None
        self._config = config
        self._entry = entry
        self._failed = False
        self._closing = False
        self._reloading = False
        self._admitted = 0
        self._numbers = count(1)
        self._workers: set[Worker] = set()
        self._queue: Turns[Job] = Turns()
        self._places = [_Place() for _ in range(config.workers)]
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def config(self) -> ServeConfig:
        """Of workers that are started now."""
        return self._config

    @property
    def status(self) -> Literal["loading", "ready", "recovering", "failed"]:
        """See the class."""
        if self._failed:
            return "failed"
        if self.loaded:
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
        return sum(place.worker is not None and place.worker.places > 0 for place in self._places)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: ``worker-0`` has the first place, ``beside-0`` loads or ends."""
        named = {f"worker-{n}": p.worker for n, p in enumerate(self._places) if p.worker}
        others = self._workers.difference(named.values())
        ordered = sorted(others, key=lambda worker: worker.started)
        named |= {f"beside-{number}": worker for number, worker in enumerate(ordered)}
        return {name: worker.process.pid for name, worker in named.items()}

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
        job = Job(next(self._numbers), task, urgent, deadline, loop.create_future(), request_id)
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

    async def reload(self, config: ServeConfig) -> None:
        """Go over to other models, one place after the other, while the old ones read on.

        A worker with the new ones is started beside the old one, which gets nothing more once the
        new one has loaded and proven them.

        Args:
            config: as at the start; the number of workers stays.

        Raises:
            ReloadError: the new models cannot be served, and why; the old ones are, as before.
        """
        if self._reloading:
            raise ReloadError("models are being loaded already; try again once they are")
        self._reloading = True
        old, changed = self._config, []
        try:
            for place in self._places:
                await self._replace(place, config)
                self._config = config  # also of a worker that is started after a crash
                changed.append(place)
        except ReloadError:
            self._config = old
            for place in changed:
                await self._replace(place, old)
            raise
        finally:
            self._reloading = False

    async def close(self) -> None:
        """End all processes."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        workers = [*self._workers]
        for worker in workers:
            worker.ending = True
        await asyncio.gather(*(worker.process.stop() for worker in workers))

    def _feed(self) -> None:
        """Hand waiting jobs, in their order, to the processes that have the least to do."""
        while (job := self._queue.first()) is not None:
            if not job.answer.done():
                able = [p.worker for p in self._places if p.worker and p.worker.takes(job)]
                if not able:
                    return
                min(able, key=lambda worker: len(worker.jobs)).hand(job)
            self._queue.take()

    def _withdraw(self, job: Job) -> None:
        """Its client has its answer, or is gone."""
        for worker in self._workers:
            if job.number in worker.jobs:
                worker.process.send(Drop(job.number))
        self._queue.discard(job)

    def _employ(self, place: _Place, config: ServeConfig) -> Worker:
        """Start a process that loads the models of a configuration.

        Raises:
            OSError: there is no room for one.
        """
        worker: Worker

        def hear(_: WorkerProcess, message: FromWorker) -> None:
            self._hear(place, worker, message)

        def ended(_: WorkerProcess) -> None:
            self._ended(place, worker)

        loop = asyncio.get_running_loop()
        process = WorkerProcess(self._entry, config, on_message=hear, on_end=ended)
        worker = Worker(process, config, loop.time(), loop.create_future())
        self._workers.add(worker)
        return worker

    async def _replace(self, place: _Place, config: ServeConfig) -> None:
        """Start a worker beside the one of a place, which it takes over once it has loaded.

        Raises:
            ReloadError: it could not be started, or did not load; the place is as it was.
        """
        try:
            place.successor = self._employ(place, config)
        except OSError as error:
            raise ReloadError(f"no worker can be started: {error}") from None
        await place.successor.loaded

    def _hear(self, place: _Place, worker: Worker, message: FromWorker) -> None:
        if isinstance(message, Loaded):
            worker.places = message.places
            self._has_loaded(place, worker, message.models)
        elif isinstance(message, NotLoaded):
            _log.error("models not loaded: %s%s", message.reason, f"\n{message.trace}".rstrip())
            worker.refusal = message.reason
            if worker is place.worker:
                self.detail = message.reason
                # The first time nothing is there to fall back on, and what is wrong stays wrong.
                self._failed = self._failed or not self.models
        elif isinstance(message, Batched):
            if self.watcher is not None:
                self.watcher.batched(message.lines, message.capacity)
        elif isinstance(message, Logged):
            about = worker.jobs.get(message.number or 0)
            relay(message, worker.process.pid, about.request_id if about else "")
        elif isinstance(message, Done):
            worker.take_back(message.number, message.result)
            self._feed()

    def _has_loaded(self, place: _Place, worker: Worker, models: Mapping[str, ServedModel]) -> None:
        if worker is place.successor:
            if place.worker is not None:
                place.worker.retire()
            place.worker, place.successor = worker, None
            self._failed, self.detail = False, ""
        if worker is place.worker:
            self.models, place.failures = models, 0
        if not worker.loaded.done():
            worker.loaded.set_result(None)
        self._feed()

    def _ended(self, place: _Place, worker: Worker) -> None:
        self._workers.discard(worker)
        if self._closing:
            return
        process, jobs = worker.process, [*worker.jobs.values()]
        if worker is place.successor:
            place.successor = None
            if not worker.loaded.done():
                reason = worker.refusal or f"its process {process.ended_by} before it had loaded"
                worker.loaded.set_exception(ReloadError(reason))
            return
        if worker is place.worker:
            place.worker = None
            if self._failed:
                return
            place.failures += not worker.places
            self.restarts += 1
        if worker is not place.worker and worker.stopped_at and not jobs:
            _log.info("worker %d was replaced and has ended", process.pid)
        else:
            _log.error(
                "worker %d %s%s; %d tasks are done again",
                process.pid,
                process.ended_by,
                "" if worker.places else " before it had loaded",
                sum(not job.answer.done() and not job.alone for job in jobs),
            )
        for job in reversed(jobs):
            self._again(job)
        if place.worker is None:
            self._start_again(place)
        else:
            self._feed()

    def _start_again(self, place: _Place) -> None:
        """Another process for a place, unless too many have failed in a row."""
        if place.failures >= _GIVE_UP_AFTER:
            self.detail = self.detail or f"{place.failures} workers ended before they had loaded"
            self._failed = True
            for job in self._queue:
                job.end(Failed(OverloadedError("no worker can be started any more")))
            return
        pause_s = min(_MOST_PAUSE_S, 2.0 ** (place.failures - 1)) if place.failures else 0.0
        self._in_background(self._start_after(place, pause_s))

    def _again(self, job: Job) -> None:
        if job.answer.done():
            return
        if job.alone:
            _log.error("task %d ended two workers; it is given up", job.number)
            job.end(Failed(WorkerLostError(f"task {job.number} ended two workers")))
        else:
            job.alone = True
            self._queue.prepend(job)

    async def _start_after(self, place: _Place, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        if place.worker is not None:
            return  # a successor was faster
        try:
            place.worker = self._employ(place, self._config)
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
            for worker in [*self._workers]:
                if fault := worker.fault(loop.time()):
                    _log.error("worker %d %s; it is killed", worker.process.pid, fault)
                    worker.kill()
            for place in self._places:
                if self._is_bloated(place):
                    self._in_background(self._recycle(place))

    def _is_bloated(self, place: _Place) -> bool:
        """Whether a worker has grown above ``worker_mb`` while it read many pictures."""
        worker, most_mb = place.worker, self._config.worker_mb
        if worker is None or place.successor or self._reloading or most_mb is None:
            return False
        if worker.ending or worker.done < _RECYCLED_AFTER:
            return False
        return (resident_bytes(worker.process.pid) or 0) > most_mb * 1024 * 1024

    async def _recycle(self, place: _Place) -> None:
        """A fresh worker for one that has grown; it ends what it has begun."""
        assert place.worker is not None  # noqa: S101  (it is bloated)
        pid = place.worker.process.pid
        _log.info("worker %d is above %d MB; a fresh one is started", pid, self._config.worker_mb)
        try:
            await self._replace(place, self._config)
        except ReloadError as error:
            place.worker.done = 0  # it is tried again after as many pictures
            _log.error("worker %d goes on: no fresh one: %s", pid, error)
        else:
            self.recycled += 1

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
