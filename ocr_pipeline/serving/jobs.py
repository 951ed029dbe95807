"""Work that the service has given out: tasks, and the processes that do them."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.messages import Failed, Stop, Task, Work
from ocr_pipeline.serving.process import WorkerProcess


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


@dataclass(eq=False)
class Job:
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

    def end(self, result: Any) -> None:
        """Tell its client, if there still is one."""
        if self.answer.done():
            return
        if isinstance(result, Failed):
            self.answer.set_exception(result.error or TimeoutError())
        else:
            self.answer.set_result(result)


@dataclass(eq=False)
class Worker:
    """A process and what it has to do.

    Attributes:
        process: it.
        config: that it was started with.
        started: time of the loop.
        loaded: done once it has loaded.
        places: tasks that keep it busy; 0 until it has loaded.
        jobs: handed to it and not yet answered, by number.
        done: tasks that it has answered.
        refusal: why it cannot serve the models.
        ending: it was told to end, or is being killed: nothing more is handed to it.
        stopped_at: time of the loop at which it was told to end, having nothing left to do.
        killed: it was.
    """

    process: WorkerProcess
    config: ServeConfig
    started: float
    loaded: "asyncio.Future[None]"
    places: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    done: int = 0
    refusal: str = ""
    ending: bool = False
    stopped_at: float | None = None
    killed: bool = False

    def takes(self, job: Job) -> bool:
        """Whether this job may be handed to it now."""
        if self.ending or len(self.jobs) >= self.places:
            return False
        return not self.jobs or not (job.alone or any(j.alone for j in self.jobs.values()))

    def hand(self, job: Job) -> None:
        """Give it a job that it takes."""
        self.jobs[job.number] = job
        job.handed_s = job.handed_s or time.monotonic()
        left_s = job.deadline - asyncio.get_running_loop().time()
        self.process.send(Work(job.number, job.task, left_s))

    def take_back(self, number: int, result: Any) -> None:
        """What became of a job."""
        self.done += 1
        if (job := self.jobs.pop(number, None)) is not None:
            job.end(result)
        if self.ending:
            self.retire()

    def retire(self) -> None:
        """Hand nothing more to it, and end it once it has done what it has."""
        self.ending = True
        if not self.jobs and self.stopped_at is None:
            self.stopped_at = asyncio.get_running_loop().time()
            self.process.send(Stop())

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.ending = self.killed = True
        self.process.kill()

    def fault(self, now: float) -> str:
        """What is wrong with a process that still runs at a time of the loop; empty: nothing."""
        config = self.config
        if self.killed:
            return ""
        if self.stopped_at is not None:
            late = now - self.stopped_at > config.silence_s
            return f"has not ended within {config.silence_s:g} s" if late else ""
        if not self.places:
            late = now - self.started > config.start_timeout_s
            return f"has not loaded within {config.start_timeout_s:g} s" if late else ""
        if now - self.process.heard > config.silence_s:
            return f"has given no sign of life for {config.silence_s:g} s"
        # Its client has got a 504 by now, but the place is still taken.
        if any(now - job.deadline > config.silence_s for job in self.jobs.values()):
            return f"reads one picture for {config.timeout_s + config.silence_s:g} s"
        return ""
