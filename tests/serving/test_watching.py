"""What the pool tells of its tasks, and of itself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocr_pipeline.errors import ImageError
from ocr_pipeline.serving.jobs import TaskTimes
from ocr_pipeline.serving.messages import PageReading, ReadPage, Task
from ocr_pipeline.serving.telemetry import pool_state
from tests.serving.test_pool import begun, pids, read, run, running, until


class Notes:
    """A watcher that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, TaskTimes, Any]] = []

    def ended(self, task: Task[Any], times: TaskTimes, outcome: Any) -> None:
        assert isinstance(task, ReadPage)
        self.heard.append((task.content, times, outcome))


def test_each_task_is_told_with_its_times_and_what_became_of_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, timeout_s=30) as pool:
            pool.watcher = notes = Notes()
            await until(lambda: pool.status == "ready")
            await read(pool, "page 7 after 0.2")
            with pytest.raises(ImageError):
                await read(pool, "wrong")
            left = asyncio.create_task(read(pool, "hang"))
            await until(lambda: begun(tmp_path, "hang"))
            left.cancel()
            await asyncio.wait({left})
        page, wrong, hang = notes.heard
        assert isinstance(page[2], PageReading)
        assert page[2].text.width == 7
        assert page[1].handed_s is not None
        assert page[1].asked_s <= page[1].handed_s <= page[1].ended_s - 0.2
        assert (wrong[0], type(wrong[2])) == (b"wrong", ImageError)
        assert (hang[0], hang[2]) == (b"hang", None)

    run(work())


def test_what_no_worker_got_in_time_was_never_handed(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, timeout_s=1.0) as pool:
            pool.watcher = notes = Notes()
            await until(lambda: pool.status == "ready")
            busy = [asyncio.create_task(read(pool, "page 1 after 1.5")) for _ in range(2)]
            await until(lambda: len(begun(tmp_path, "page-*")) == 2)
            with pytest.raises(TimeoutError):
                await read(pool, "page 2 after 0")
            await asyncio.gather(*busy, return_exceptions=True)
        [late] = [heard for heard in notes.heard if heard[0] == b"page 2 after 0"]
        assert late[1].handed_s is None
        assert isinstance(late[2], TimeoutError)

    run(work())


def test_the_state_says_what_waits_who_works_and_for_whom(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, workers=2) as pool:
            assert (pool_state(pool).ready, pool_state(pool).models) == (False, {})
            await until(lambda: pool_state(pool).workers == 2)
            asked = [asyncio.create_task(read(pool, f"page {n} after 0.3")) for n in range(1, 7)]
            await until(lambda: len(begun(tmp_path, "page-*")) == 4)
            state = pool_state(pool)
            await asyncio.gather(*asked)
        assert (state.queued, state.ready, state.restarts) == (2, True, 0)
        assert sorted(state.pids.values()) == sorted(pids(tmp_path))
        assert set(state.pids) == {"worker-0", "worker-1"}
        assert state.models == {"detector": "ppocrv6_small_det (000000000000)"}

    run(work())


def test_the_state_names_those_that_end_beside_their_successors(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            [old] = pool_state(pool).pids.values()
            hung = asyncio.create_task(read(pool, "hang"))
            await until(lambda: begun(tmp_path, "hang"))
            await pool.reload(pool.config)
            state = pool_state(pool)
            hung.cancel()
        assert set(state.pids) == {"worker-0", "beside-0"}
        assert state.pids["beside-0"] == old
        assert sorted(state.pids.values()) == sorted(pids(tmp_path))

    run(work())
