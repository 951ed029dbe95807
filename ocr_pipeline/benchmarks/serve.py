"""Load on running services: clients that each send the next picture when they have an answer."""

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from ocr_pipeline.errors import ConfigError

_ROUTE = "/v1/ocr"
_VARYING = ("milliseconds",)
"""Of an answer; all else must be the same each time."""


@dataclass(frozen=True)
class LoadPlan:
    """What is sent where.

    Attributes:
        urls: of services, such as http://127.0.0.1:8000; they take turns.
        pictures: files, sent one after another, again and again.
        clients: numbers of clients, one measurement each.
        seconds: of load on a service in one turn.
        rounds: turns of each service with each number of clients.
        timeout_s: a request without an answer for so long counts as a time-out.

    Raises:
        ConfigError: a value is not possible; all faults are one message.
    """

    urls: tuple[str, ...]
    pictures: tuple[Path, ...]
    clients: tuple[int, ...] = (1, 8)
    seconds: float = 10.0
    rounds: int = 2
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        faults = [] if self.urls else ["no service; say --url http://127.0.0.1:8000"]
        faults += [f"url {u!r}; allowed: http(s)://" for u in self.urls if not _is_http(u)]
        faults += [] if self.pictures else ["no picture to send"]
        faults += [f"{path}: no such picture" for path in self.pictures if not path.is_file()]
        faults += [f"clients {n}; allowed: from 1" for n in self.clients if n < 1]
        for name in ("seconds", "rounds", "timeout_s"):
            if getattr(self, name) <= 0:
                faults.append(f"{name} {getattr(self, name)}; allowed: above 0")
        if faults:
            raise ConfigError("; ".join(faults))


@dataclass(frozen=True)
class LoadResult:
    """What one service did under one number of clients, all turns together.

    Attributes:
        url: of the service.
        clients: that sent at the same time.
        per_second: pictures read a second.
        p50_ms, p95_ms: from sending a picture to its text; None where none was read.
        answers: number of answers by status, ``time-out`` and ``broken`` among them.
        differing: texts that are not what the first answer for that picture said.
    """

    url: str
    clients: int
    per_second: float
    p50_ms: float | None
    p95_ms: float | None
    answers: dict[str, int]
    differing: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class _Turns:
    """What is gathered about one service and one number of clients."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.times: list[float] = []
        self.answers: Counter[str] = Counter()
        self.differing = 0

    def result(self, url: str, clients: int) -> LoadResult:
        """The figures of all turns."""
        cuts = statistics.quantiles(self.times, n=20) if len(self.times) > 1 else self.times * 19
        p50, p95 = (round(1000 * cuts[at], 1) if cuts else None for at in (9, 18))
        rate = round(len(self.times) / self.seconds, 2)
        return LoadResult(url, clients, rate, p50, p95, dict(self.answers), self.differing)


def run_load(
    plan: LoadPlan, *, on_turn: Callable[[int, int], None] = lambda _done, _of: None
) -> list[LoadResult]:
    """Load all services in turn, round by round, so that a busy machine is busy for all.

    Args:
        plan: what is sent where.
        on_turn: is told how many turns of how many are done.

    Raises:
        ConfigError: a service does not answer at all.
    """
    return asyncio.run(_run(plan, on_turn))


async def _run(plan: LoadPlan, on_turn: Callable[[int, int], None]) -> list[LoadResult]:
    contents = [path.read_bytes() for path in plan.pictures]
    gathered = {(url, n): _Turns() for url in plan.urls for n in plan.clients}
    first: dict[tuple[str, int], str] = {}
    total, done = len(gathered) * plan.rounds, count(1)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=plan.timeout_s, limits=limits) as session:
        for url in plan.urls:
            await _check(session, url)
        for _ in range(plan.rounds):
            for clients in plan.clients:
                for url in plan.urls:
                    turns = gathered[url, clients]
                    await _one_turn(session, url, contents, clients, plan.seconds, turns, first)
                    on_turn(next(done), total)
    return [turns.result(*key) for key, turns in gathered.items()]


async def _check(session: httpx.AsyncClient, url: str) -> None:
    try:
        answer = await session.get(f"{url}/readyz")
    except httpx.HTTPError as error:
        raise ConfigError(f"{url}: does not answer ({error}); start the service first") from None
    if answer.status_code != 200:
        raise ConfigError(f"{url}: is not ready ({answer.text}); wait for /readyz to say 200")


async def _one_turn(
    session: httpx.AsyncClient,
    url: str,
    contents: Sequence[bytes],
    clients: int,
    seconds: float,
    turns: _Turns,
    first: dict[tuple[str, int], str],
) -> None:
    started = time.perf_counter()
    numbers = count()

    async def client() -> None:
        while time.perf_counter() - started < seconds:
            number = next(numbers) % len(contents)
            sent = time.perf_counter()
            status, said = await _ask(session, url, contents[number])
            turns.answers[status] += 1
            if said is not None:
                turns.times.append(time.perf_counter() - sent)
                turns.differing += first.setdefault((url, number), said) != said

    await asyncio.gather(*(client() for _ in range(clients)))
    turns.seconds += time.perf_counter() - started


async def _ask(session: httpx.AsyncClient, url: str, content: bytes) -> tuple[str, str | None]:
    """Status, and what was read; None where nothing was."""
    try:
        answer = await session.post(url + _ROUTE, files={"file": ("picture", content)})
    except httpx.TimeoutException:
        return "time-out", None
    except httpx.TransportError:
        return "broken", None
    if answer.status_code != 200:
        return str(answer.status_code), None
    said = {name: value for name, value in answer.json().items() if name not in _VARYING}
    return "200", json.dumps(said, sort_keys=True)


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://")) and not url.endswith("/")
