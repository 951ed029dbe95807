"""Reading processes that die, freeze and hang: what their requests get."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import ImageError
from ocr_pipeline.serving import pool as pools
from ocr_pipeline.serving.messages import PageReading, ReadPage
from ocr_pipeline.serving.pool import OverloadedError, ReloadError, WorkerLostError, WorkerPool
from ocr_pipeline.serving.process import WorkerProcess
from tests.processes import lives
from tests.serving import entries

LIMIT_S = 120


def run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await work

    asyncio.run(limited())


async def until(done: Callable[[], object]) -> None:
    while not done():
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    folder: Path, entry: Any = entries.obedient, **changes: Any
) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(ServeConfig(silence_s=0.8, **changes), entries.entry_in(folder, entry))
    pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def begun(folder: Path, words: str) -> list[Path]:
    return list(folder.glob(f"*-{words}-*"))


def pids(folder: Path, what: str = "started") -> list[int]:
    return [int(file.name.split("-")[1]) for file in folder.glob(f"{what}-*")]


async def read(pool: WorkerPool, words: str, *, urgent: bool = True) -> PageReading:
    with pool.admitted():
        return await pool.do(ReadPage(words.encode()), urgent=urgent)


async def width(pool: WorkerPool, words: str) -> int:
    return (await read(pool, words)).text.width


def test_each_request_gets_its_own_answer(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, workers=2, max_waiting=64) as pool:
            await until(lambda: len(pids(tmp_path)) == 2 and pool.status == "ready")
            asked = [
                width(pool, f"page {number} after {(number * 7) % 5 / 100}")
                for number in range(1, 61)
            ]
            assert await asyncio.gather(*asked) == list(range(1, 61))
            with pytest.raises(ImageError, match="wrong"):
                await read(pool, "wrong")
            assert pool.restarts == 0
        assert not any(map(lives, pids(tmp_path)))

    run(work())


def test_a_killed_process_is_replaced_and_its_requests_are_read_once_more(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            asked = asyncio.gather(*(width(pool, f"page {n} after 0.3") for n in range(1, 6)))
            await until(lambda: len(begun(tmp_path, "page-*")) == 2)
            [pid] = pids(tmp_path)
            os.kill(pid, signal.SIGKILL)
            await until(lambda: pool.status == "recovering")
            assert await asked == [1, 2, 3, 4, 5]
            assert (pool.status, pool.restarts, pool.is_alive) == ("ready", 1, True)
            assert len(begun(tmp_path, "page-1-*")) == len(begun(tmp_path, "page-2-*")) == 2
            assert len(begun(tmp_path, "page-3-*")) == 1

    run(work())


def test_a_picture_that_ends_processes_is_given_up_and_those_beside_it_are_read(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            asked = [width(pool, "page 1 after 0.5"), read(pool, "die")]
            asked += [width(pool, f"page {number} after 0.1") for number in (2, 3)]
            first, deadly, *rest = await asyncio.gather(*asked, return_exceptions=True)
            assert (first, rest) == (1, [2, 3])
            assert isinstance(deadly, WorkerLostError)
            assert len(begun(tmp_path, "die")) == 2
            assert pool.restarts == 2

    run(work())


def test_a_frozen_process_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            asked = [read(pool, "freeze once a"), width(pool, "page 2 after 0.1")]
            frozen, page = await asyncio.gather(*asked)
            assert isinstance(frozen, PageReading)
            assert page == 2
            assert pool.restarts == 1
        assert not any(map(lives, pids(tmp_path)))

    run(work())


def test_a_picture_that_is_never_done_costs_one_process_and_itself(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, timeout_s=0.5) as pool:
            await until(lambda: pool.status == "ready")
            with pytest.raises(TimeoutError):
                await read(pool, "hang")
            # The other place of the process goes on until then.
            assert await width(pool, "page 2 after 0") == 2
            await until(lambda: pool.restarts == 1)
            await until(lambda: pool.status == "ready")
            assert await width(pool, "page 3 after 0") == 3
            assert len(begun(tmp_path, "hang")) == 1

    run(work())


def test_what_nobody_waits_for_any_more_is_not_read(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, timeout_s=5) as pool:
            await until(lambda: pool.status == "ready")
            busy = [asyncio.create_task(width(pool, f"page {n} after 0.3")) for n in (1, 2)]
            waiting = asyncio.create_task(width(pool, "page 3 after 0"))
            await until(lambda: len(begun(tmp_path, "page-*")) == 2)
            waiting.cancel()
            assert await asyncio.gather(*busy) == [1, 2]
            assert await width(pool, "page 4 after 0") == 4
            assert begun(tmp_path, "page-3-*") == []

    run(work())


def test_more_than_may_wait_are_refused_and_places_come_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, max_waiting=3) as pool:
            with pytest.raises(OverloadedError, match=r"not ready \(loading\)"):
                await read(pool, "page 1 after 0")
            await until(lambda: pool.status == "ready")
            asked = [width(pool, f"page {number} after 0.2") for number in range(1, 6)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert answers[:3] == [1, 2, 3]
            assert [str(answer) for answer in answers[3:]] == [
                "3 requests wait already, no more are taken"
            ] * 2
            assert await width(pool, "page 9 after 0") == 9

    run(work())


def test_models_that_vanish_end_the_service_only_after_several_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_MOST_PAUSE_S", 0.01)
    monkeypatch.setattr(pools, "_GIVE_UP_AFTER", 3)

    async def work() -> None:
        async with running(tmp_path, entries.works_once) as pool:
            await until(lambda: pool.status == "ready")
            waiting = asyncio.create_task(read(pool, "die"))
            await until(lambda: pool.status == "failed")
            assert len(pids(tmp_path, "tried")) == 3
            assert pool.detail == "ArtifactError: the models are gone"
            assert not pool.is_alive
            with pytest.raises(OverloadedError, match="no worker can be started any more"):
                await waiting
            with pytest.raises(OverloadedError, match=r"not ready \(failed\)"):
                await read(pool, "page 1 after 0")

    run(work())


def test_a_process_that_dies_while_loading_is_given_up_after_several_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_MOST_PAUSE_S", 0.01)
    monkeypatch.setattr(pools, "_GIVE_UP_AFTER", 2)

    async def work() -> None:
        async with running(tmp_path, entries.ends_at_once) as pool:
            await until(lambda: pool.status == "failed")
            assert len(pids(tmp_path, "tried")) == 2
            assert pool.detail == "2 workers ended before they had loaded"

    run(work())


def test_a_process_that_loads_for_ever_is_replaced(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, entries.never_loads, start_timeout_s=1.5) as pool:
            await until(lambda: pool.restarts == 1)
            assert pool.status == "loading"

    run(work())


def test_a_process_that_talks_nonsense_is_replaced(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            assert isinstance(await read(pool, "babble once a"), PageReading)
            assert pool.restarts == 1
            assert await width(pool, "page 2 after 0") == 2

    run(work())


def test_a_machine_without_room_for_a_process_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_MOST_PAUSE_S", 0.01)
    tries: list[int] = []

    def crowded(*arguments: Any, **named: Any) -> WorkerProcess:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError(12, "Cannot allocate memory")
        return WorkerProcess(*arguments, **named)

    monkeypatch.setattr(pools, "WorkerProcess", crowded)

    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            assert len(tries) == 3
            assert await width(pool, "page 2 after 0") == 2

    run(work())
    tries.clear()
    monkeypatch.setattr(pools, "_GIVE_UP_AFTER", 2)

    async def never() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "failed")
            assert "Cannot allocate memory" in pool.detail

    run(never())


def test_closing_ends_a_process_that_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocr_pipeline.serving.process._STOP_S", 0.3)

    async def work() -> None:
        async with running(tmp_path) as pool:
            await until(lambda: pool.status == "ready")
            [pid] = pids(tmp_path)
            os.kill(pid, signal.SIGSTOP)
        assert not lives(pid)

    run(work())


def reader_of(answer: PageReading) -> str:
    return answer.models["detector"]


def other(**changes: Any) -> ServeConfig:
    return ServeConfig(silence_s=0.8, **changes)


def test_other_models_are_taken_over_while_the_old_ones_read_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, detector="old", workers=2, max_waiting=64) as pool:
            await until(lambda: pool.loaded == 2)
            long = [asyncio.create_task(read(pool, f"page {n} after 0.6")) for n in range(4)]
            await until(lambda: len(begun(tmp_path, "page-*")) == 4)
            reloading = asyncio.create_task(pool.reload(other(detector="slow", workers=2)))
            await until(lambda: len(pids(tmp_path)) == 3)
            with pytest.raises(ReloadError, match="being loaded already"):
                await pool.reload(other(detector="new"))
            answers = await asyncio.gather(*long)
            answers += [await read(pool, "page 9 after 0")]
            assert {reader_of(answer) for answer in answers} == {"old"}
            during = [asyncio.create_task(read(pool, f"page {n} after 0.05")) for n in range(40)]
            (tmp_path / "open").touch()
            await reloading
            assert {reader_of(await answer) for answer in during} <= {"old", "slow"}
            assert reader_of(await read(pool, "page 9 after 0")) == "slow"
            assert pool.models["detector"].name == "slow"
            await until(lambda: sum(map(lives, pids(tmp_path))) == 2)
            assert (pool.restarts, pool.status, pool.loaded) == (0, "ready", 2)

    run(work())


def test_models_that_cannot_be_loaded_are_not_taken_over(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, detector="old") as pool:
            await until(lambda: pool.status == "ready")
            with pytest.raises(ReloadError, match="bad models"):
                await pool.reload(other(detector="bad"))
            assert reader_of(await read(pool, "page 1 after 0")) == "old"
            assert (pool.status, pool.restarts, pool.detail) == ("ready", 0, "")
            [pid] = pids(tmp_path)
            os.kill(pid, signal.SIGKILL)
            assert reader_of(await read(pool, "page 2 after 0")) == "old"

    run(work())


def test_a_place_that_went_over_goes_back_when_another_cannot(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, detector="old", workers=2) as pool:
            await until(lambda: pool.loaded == 2)
            with pytest.raises(ReloadError, match="was ended by SIGKILL before it had loaded"):
                await pool.reload(other(detector="good once", workers=2))
            answers = await asyncio.gather(*(read(pool, f"page {n} after 0.1") for n in range(4)))
            assert {reader_of(answer) for answer in answers} == {"old"}
            assert pool.models["detector"].name == "old"
            await until(lambda: sum(map(lives, pids(tmp_path))) == 2)
            assert pool.loaded == 2

    run(work())


def test_a_service_without_models_gets_them_by_a_reload(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(tmp_path, detector="bad") as pool:
            await until(lambda: pool.status == "failed")
            await pool.reload(other(detector="new"))
            assert (pool.status, pool.detail) == ("ready", "")
            assert reader_of(await read(pool, "page 1 after 0")) == "new"

    run(work())


def test_a_process_that_has_grown_is_replaced_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_RECYCLED_AFTER", 2)

    async def work() -> None:
        async with running(tmp_path, worker_mb=250, max_waiting=64) as pool:
            await until(lambda: pool.status == "ready")
            await asyncio.gather(*(read(pool, f"page {n} after 0") for n in range(8)))
            await asyncio.sleep(1.2)  # two looks at its memory
            assert pool.recycled == 0
            asked = [asyncio.create_task(width(pool, f"page {n} after 0.1")) for n in range(30)]
            await read(pool, "swell")
            assert [await answer for answer in asked] == list(range(30))
            await until(lambda: pool.recycled == 1)
            await until(lambda: sum(map(lives, pids(tmp_path))) == 1)
            assert (len(pids(tmp_path)), pool.restarts) == (2, 0)
            assert await width(pool, "page 7 after 0") == 7

    run(work())
