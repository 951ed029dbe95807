"""Load on running services, ours and those of others, in turns and with the same pictures.

Closed loop: clients that each send the next picture when they have an answer; a slow service is
asked less often. Open loop: pictures arrive at random with a mean rate (a Poisson process, as from
many people who do not know of each other) whether or not earlier ones were answered, and each is
timed from when it should have been sent: waiting behind a slow answer counts in full.

Only pictures that were read are timed. A service that refuses some is quicker with the others than
one that lets all wait, so waiting is compared only where nearly all were read.
"""

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from ocr_pipeline.benchmarks.groups import cpu_seconds, memory
from ocr_pipeline.benchmarks.pages import Page, score
from ocr_pipeline.benchmarks.peers import SERVER_PEERS, find_peers
from ocr_pipeline.benchmarks.reading import Found
from ocr_pipeline.benchmarks.server_apis import OURS, Api, Body
from ocr_pipeline.benchmarks.servers import Server, ended_by_sigterm, our_server, peer_server
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.evaluation.pages import PICTURE_SUFFIXES, load_truth
from ocr_pipeline.paddle_environment import paddle_environment

_CHECK_S = 10.0
_SAMPLE_S = 1.0
_QUIET_S, _QUIET_CPU_S, _LONGEST_REST_S = 0.5, 0.015, 120.0
NOT_SENT, TIMED_OUT, BROKEN = "not sent", "time-out", "broken"
"""Beside the statuses: too many were in flight; no answer in time; no answer at all."""


@dataclass(frozen=True)
class Load:
    """One way to send pictures: so many ``clients``, or ``rate`` a second; the other is 0."""

    clients: int = 0
    rate: float = 0.0

    @property
    def label(self) -> str:
        """In tables, and the key in JSON: ``8`` or ``2.5/s``."""
        return str(self.clients) if self.clients else f"{self.rate:g}/s"


@dataclass(frozen=True)
class LoadPlan:
    """What is sent where.

    Attributes:
        pictures: files in the order in which they are sent, again and again; one that is here three
            times is sent three times as often.
        urls: of running services, such as http://127.0.0.1:8000. None: ours is started.
        key: that these services ask for; empty: none.
        against: names of :data:`~ocr_pipeline.benchmarks.peers.SERVER_PEERS`, with commas between.
        settings: ``KEY=VALUE`` of our service where it is started.
        threads: of each server that is started.
        clients: numbers of clients, one load each.
        rates: pictures a second that arrive whatever happens, one load each.
        seconds: of load on a service in one turn; a closed-loop turn goes on until all pictures
            were sent equally often.
        soak: turns are so long exactly, and the memory's course is kept.
        rounds: turns of each service with each load.
        timeout_s: a request without an answer for so long counts as a time-out.
        in_flight: an arrival that finds so many unanswered is not sent, but counted.
        seed: of the arrivals; all services see the same ones.

    Raises:
        ConfigError: a value is not possible; all faults are one message.
    """

    pictures: tuple[Path, ...]
    urls: tuple[str, ...] = ()
    key: str = field(default="", repr=False)
    against: str = ""
    settings: tuple[str, ...] = ()
    threads: int = 2
    clients: tuple[int, ...] = (1, 8)
    rates: tuple[float, ...] = ()
    seconds: float = 10.0
    soak: bool = False
    rounds: int = 2
    timeout_s: float = 60.0
    in_flight: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [f"url {u!r}; allowed: http(s)://" for u in self.urls if not _is_http(u)]
        faults += [] if self.pictures else ["no picture to send"]
        missing = dict.fromkeys(path for path in self.pictures if not path.is_file())
        faults += [f"{path}: no such picture" for path in missing]
        faults += [f"clients {n}; allowed: from 1" for n in self.clients if n < 1]
        faults += [f"rate {rate:g}; allowed: above 0" for rate in self.rates if not rate > 0]
        faults += [] if self.loads else ["no load; say how many clients or which rate"]
        for name in ("threads", "seconds", "rounds", "timeout_s", "in_flight"):
            if getattr(self, name) <= 0:
                faults.append(f"{name} {getattr(self, name)}; allowed: above 0")
        if self.soak and self.rounds != 1:
            faults.append(f"rounds {self.rounds} of a soak; allowed: 1")
        if self.urls and self.settings:
            faults.append("settings are for a service that is started here; leave --url out")
        if faults:
            raise ConfigError("; ".join(faults))
        find_peers(self.against, SERVER_PEERS)

    @property
    def loads(self) -> tuple[Load, ...]:
        """Those of both kinds."""
        closed = tuple(Load(clients=number) for number in self.clients)
        return closed + tuple(Load(rate=rate) for rate in self.rates)


@dataclass
class Turns:
    """What is gathered about one service under one load.

    Attributes:
        seconds, answered: of each turn.
        times: from sending a picture, or from when it was due, to its text, s.
        answers: number of answers by status, and :data:`NOT_SENT`, :data:`TIMED_OUT`,
            :data:`BROKEN`.
        differing: texts or places that are not what the first answer for that picture said.
        cpu_s: CPU time of the service's processes until they were at rest; 0 where it was not
            started here.
        course: seconds of the turn and MB that the service held then; of soaks.
    """

    seconds: list[float] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    differing: int = 0
    cpu_s: float = 0.0
    course: list[tuple[float, float]] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Pictures read a second."""
        return len(self.times) / sum(self.seconds)

    @property
    def by_round(self) -> list[float]:
        """The same of each turn."""
        return [number / s for number, s in zip(self.answered, self.seconds, strict=True)]

    @property
    def cpu_ms(self) -> float | None:
        """CPU time a picture, ms; None where nobody tells."""
        return 1000 * self.cpu_s / len(self.times) if self.cpu_s and self.times else None

    @property
    def read_share(self) -> float:
        """Pictures read, as a share of all that were or should have been sent; in [0, 1]."""
        return len(self.times) / max(1, self.answers.total())

    def wait_ms(self, percent: int) -> float | None:
        """So many percent of the texts came within this time; None where there was none."""
        if len(self.times) < 2:
            return 1000 * self.times[0] if self.times else None
        return 1000 * statistics.quantiles(self.times, n=100, method="inclusive")[percent - 1]


@dataclass
class Service:
    """One service that takes turns.

    Attributes:
        name: in tables.
        url: of it.
        api: how it is asked.
        server: where it was started here.
        key: sent with each request; empty: none.
        bodies: of requests, by picture.
        first: what it said first, by picture.
        turns: by load.
        peak_mb: most that its processes held; 0 where it was not started here.
        restless: turns after which it was still at work when it was stopped.
    """

    name: str
    url: str
    api: Api
    server: Server | None = None
    key: str = field(default="", repr=False)
    bodies: dict[Path, Body] = field(default_factory=dict)
    first: dict[Path, list[Found]] = field(default_factory=dict)
    turns: dict[Load, Turns] = field(default_factory=dict)
    peak_mb: float = 0.0
    restless: int = 0

    def cer(self) -> float | None:
        """Edits in percent of the characters of the pictures whose text is known.

        Lines are compared where they lie; one that is not answered counts in full.
        """
        scores = [
            score(Page(path, load_truth(truth)), self.first.get(path, []))
            for path in self.bodies
            if (truth := path.with_suffix(".json")).exists()
        ]
        characters = sum(s.characters for s in scores)
        return 100 * sum(s.edits for s in scores) / characters if characters else None


@dataclass(frozen=True)
class LoadReport:
    """All services; ratios are to the first."""

    plan: LoadPlan
    services: list[Service]


OnTurn = Callable[[int, int], None]
"""Called with (turns done, turns in all)."""


def run_load(plan: LoadPlan, *, on_turn: OnTurn = lambda _done, _of: None) -> LoadReport:
    """Load all services in turn, round by round, so that a busy machine is busy for all.

    Servers that were started here stand still while they have no turn.

    Args:
        plan: what is sent where.
        on_turn: see :data:`OnTurn`.

    Raises:
        ConfigError: a service does not answer at all.
        AssetError: the environment of another server or a released file cannot be had.
        DataError: the text beside a picture cannot be read.
        TrainingError: a server that was started here ended.
    """
    services = [
        Service(urlsplit(url).netloc, url, OURS, key=plan.key) for url in dict.fromkeys(plan.urls)
    ]
    peers = find_peers(plan.against, SERVER_PEERS)
    with ended_by_sigterm(), ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serve-")))
        starts: list[Callable[[], Server]] = [
            partial(peer_server, peer, scratch, threads=plan.threads, without=paddle_environment())
            for peer in peers
        ]
        if not plan.urls:
            starts.insert(0, partial(our_server, plan.settings, threads=plan.threads))
        for start in starts:  # one after the other: starting disturbs nobody
            server = stack.enter_context(start())
            server.pause()
            services.append(Service(server.name, server.url, server.api, server))
        asyncio.run(_run(plan, services, on_turn))
    return LoadReport(plan, services)


def mixed(sources: Iterable[str], seed: int = 0) -> tuple[Path, ...]:
    """Pictures in a random order that is the same each time.

    Args:
        sources: files, or folders of pictures; ``PATH=3`` is there three times.
        seed: of the order.

    Raises:
        ConfigError: a path that is not there, a folder without pictures, a weight that is no whole
            number from 1; all faults in one message.
    """
    found, faults = [], []
    for source in sources:
        name, _, weight = source.rpartition("=")
        as_is = not name or Path(source).exists()
        path, times = (Path(source), "1") if as_is else (Path(name), weight)
        pictures = [path]
        if path.is_dir():
            files = sorted(path.iterdir())
            pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
        if not times.isdecimal() or int(times) < 1:
            faults.append(f"{source}: weight {times!r}; allowed: a whole number from 1")
        elif not pictures:
            faults.append(f"{path}: holds no picture ({', '.join(PICTURE_SUFFIXES)})")
        else:
            found += pictures * int(times)
    if faults:
        raise ConfigError("; ".join(faults))
    return tuple(found[at] for at in np.random.default_rng(seed).permutation(len(found)))


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Times of a Poisson process, s from its start.

    Args:
        rate: mean number a second.
        seconds: none comes later.
        seed: the same one gives the same times.
    """
    draw, times, now = np.random.default_rng(seed), [], 0.0
    while (now := now + float(draw.exponential(1 / rate))) < seconds:
        times.append(now)
    return times


async def _run(plan: LoadPlan, services: Sequence[Service], on_turn: OnTurn) -> None:
    contents = {path: path.read_bytes() for path in plan.pictures}
    for service in services:
        service.bodies = {path: service.api.body(content) for path, content in contents.items()}
        service.turns = {load: Turns() for load in plan.loads}
        async with _turn(service) as session:
            await _check(session, service)
            for path in service.bodies:  # all are warm, and have said what they read
                await _ask(session, service, path, Turns(), plan.timeout_s)
    total, done = len(services) * len(plan.loads) * plan.rounds, count(1)
    for number in range(plan.rounds):
        first = number % len(services)
        for load in plan.loads:
            for service in [*services[first:], *services[:first]]:
                await _one_turn(plan, service, load, plan.seed + number)
                on_turn(next(done), total)


@asynccontextmanager
async def _turn(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Let a service run until it is at rest: what clients gave up belongs to no other turn.

    Connections are new: a stopped server cannot close its old ones.
    """
    if service.server:
        service.server.go_on()
    session = httpx.AsyncClient(
        timeout=None,  # noqa: S113  (_ask has one)
        limits=httpx.Limits(max_connections=None),
        trust_env=service.server is None,  # no proxy leads to this machine's own addresses
    )
    async with session:
        yield session
    if service.server:
        service.restless += not await _rests(service.server.group)
        service.peak_mb = max(service.peak_mb, memory(service.server.group).peak)
        service.server.check()
        service.server.pause()


async def _rests(group: int) -> bool:
    """Wait until processes use no CPU, but not for ever; whether they do."""
    deadline, used = time.perf_counter() + _LONGEST_REST_S, cpu_seconds(group)
    while time.perf_counter() < deadline:
        await asyncio.sleep(_QUIET_S)
        before, used = used, cpu_seconds(group)
        if used - before <= _QUIET_CPU_S:
            return True
    return False


async def _check(session: httpx.AsyncClient, service: Service) -> None:
    url = service.url
    try:
        answer = await session.get(url + service.api.ready, timeout=_CHECK_S)
    except httpx.HTTPError as error:
        raise ConfigError(f"{url}: does not answer ({error}); start the service first") from None
    if answer.status_code != 200:
        raise ConfigError(f"{url}: is not ready ({answer.text}); wait for /readyz to say 200")


async def _one_turn(plan: LoadPlan, service: Service, load: Load, seed: int) -> None:
    turns = service.turns[load]
    before = len(turns.times)
    group = service.server.group if service.server else 0
    used = cpu_seconds(group) if group else 0.0
    async with _turn(service) as session, _together() as tasks:
        started = time.perf_counter()
        watch = tasks.create_task(_watch(service, turns.course if plan.soak else []))
        if load.clients:
            await _closed(session, service, plan, load.clients, turns)
        else:
            due = arrivals(load.rate, plan.seconds, seed)
            await _open(session, service, plan, due, turns)
        turns.seconds.append(time.perf_counter() - started)
        turns.answered.append(len(turns.times) - before)
        watch.cancel()
    turns.cpu_s += cpu_seconds(group) - used if group else 0.0


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Tasks that end with the block; the error of one ends the others, and is the block's."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _closed(
    session: httpx.AsyncClient, service: Service, plan: LoadPlan, clients: int, turns: Turns
) -> None:
    started, numbers, over = time.perf_counter(), count(), False
    length = 1 if plan.soak else len(plan.pictures)

    async def client() -> None:
        nonlocal over
        while not over:
            number = next(numbers)
            late = time.perf_counter() - started >= plan.seconds
            if late and number and number % length == 0:
                over = True
                return
            path = plan.pictures[number % len(plan.pictures)]
            await _ask(session, service, path, turns, plan.timeout_s)

    await asyncio.gather(*(client() for _ in range(clients)))


async def _open(
    session: httpx.AsyncClient,
    service: Service,
    plan: LoadPlan,
    due: Sequence[float],
    turns: Turns,
) -> None:
    started = time.perf_counter()
    waiting: set[asyncio.Task[None]] = set()
    async with _together() as tasks:
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
            if len(waiting) >= plan.in_flight:
                turns.answers[NOT_SENT] += 1
                continue
            path = plan.pictures[number % len(plan.pictures)]
            asked = _ask(session, service, path, turns, plan.timeout_s, due=started + at)
            waiting.add(task := tasks.create_task(asked))
            task.add_done_callback(waiting.discard)


async def _ask(
    session: httpx.AsyncClient,
    service: Service,
    path: Path,
    turns: Turns,
    timeout_s: float,
    *,
    due: float | None = None,
) -> None:
    """Send one picture and note what came of it."""
    body = service.bodies[path]
    headers = {"content-type": body.media_type}
    headers |= {"authorization": f"Bearer {service.key}"} if service.key else {}
    since = time.perf_counter() if due is None else due
    try:
        async with asyncio.timeout(timeout_s):
            answer = await session.post(
                service.url + service.api.route,
                content=body.content,
                headers=headers,
            )
    except TimeoutError:
        turns.answers[TIMED_OUT] += 1
        return
    except httpx.RequestError:
        turns.answers[BROKEN] += 1
        return
    turns.answers[str(answer.status_code)] += 1
    if answer.status_code != 200:
        return
    took = time.perf_counter() - since
    try:
        said = service.api.lines(answer.json())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{service.url}: answers 200 with something else than pages of lines ({error!r}); "
            "give the address of a service of this version"
        ) from None
    turns.times.append(took)
    turns.differing += service.first.setdefault(path, said) != said


async def _watch(service: Service, course: list[tuple[float, float]]) -> None:
    """Look at a service's memory each second until cancelled."""
    started = time.perf_counter()
    while service.server:
        held = memory(service.server.group)
        service.peak_mb = max(service.peak_mb, held.peak)
        course.append((time.perf_counter() - started, held.now))
        await asyncio.sleep(_SAMPLE_S)


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://")) and not url.endswith("/")
