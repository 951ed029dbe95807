"""The load tool, against a server that answers what it is told to."""

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, groupby, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ocr_pipeline.benchmarks import serve as module
from ocr_pipeline.benchmarks.groups import Memory
from ocr_pipeline.benchmarks.reading import Found
from ocr_pipeline.benchmarks.serve import Load, LoadPlan, arrivals, mixed, run_load
from ocr_pipeline.benchmarks.serve_report import as_markdown, memory_growth, summary
from ocr_pipeline.benchmarks.server_apis import OURS, PADDLEX
from ocr_pipeline.benchmarks.servers import Server
from ocr_pipeline.cli_benchmark import app
from ocr_pipeline.errors import AssetError, ConfigError
from tests.conftest import ExportedPair
from tests.processes import ends, stops

CORNERS = [[0, 0], [90, 0], [90, 10], [0, 10]]
PADDLEX_AT_OUR_ROUTE = replace(OURS, lines=PADDLEX.lines)
SCRIPT = """
import json, pathlib, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def go_on(seconds, done):
    while time.thread_time() < float(seconds):
        pass
    pathlib.Path(done + str(time.monotonic_ns())).touch()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say({"status": "ready"})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        corners = [[0, 0], [90, 0], [90, 10], [0, 10]]
        self.say({"pages": [{"lines": [{"text": "x", "points": corners}]}]})
        if sys.argv[2:]:
            threading.Thread(target=go_on, args=sys.argv[2:]).start()

    def say(self, answer):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class Fake:
    """A service that says these texts in turn.

    Attributes:
        texts: of its answers.
        refuse_every: so many requests, one is answered 503.
        ready: status of /readyz.
        busy_s: pictures are read one after another, each for so long.
        held: pictures are answered once this is set.
        received: how often each picture came.
        log: to which each picture appends ``texts[0]``.
        keys: that came with pictures.
    """

    texts: list[str]
    refuse_every: int = 0
    ready: int = 200
    busy_s: float = 0.0
    held: threading.Event | None = None
    received: Counter[bytes] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)


class ForgivingServer(ThreadingHTTPServer):
    """Takes it in silence when a client leaves before its answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running(fake: Fake) -> Iterator[str]:
    numbers, one_by_one = count(1), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(fake.ready, {"status": "ready" if fake.ready == 200 else "loading"})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            fake.keys.add(self.headers["authorization"])
            with one_by_one:
                fake.received[content.split(b"\r\n\r\n")[1].split(b"\r\n")[0]] += 1
                number = next(numbers)
                fake.log += fake.texts[:1]
                time.sleep(fake.busy_s)
            if fake.held:
                fake.held.wait()
            if fake.refuse_every and number % fake.refuse_every == 0:
                self._say(503, {"detail": "busy"})
            else:
                line = {"text": fake.texts[number % len(fake.texts)], "points": CORNERS}
                page = {"lines": [line], "milliseconds": {"total": number}}
                self._say(200, {"text": line["text"], "pages": [page]})

        def _say(self, status: int, answer: object) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ForgivingServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            if fake.held:
                fake.held.set()
            server.shutdown()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "page.png"
    path.write_bytes(b"any bytes")
    return path


def closed(picture: Path, *urls: str, **values: Any) -> LoadPlan:
    plan = {"clients": (2,), "seconds": 0.1, "rounds": 1, **values}
    return LoadPlan((picture,), urls, **plan)


def open_loop(picture: Path, url: str, rate: float, **values: Any) -> LoadPlan:
    return closed(picture, url, clients=(), rates=(rate,), **values)


def test_answers_are_counted_and_compared_with_the_first(picture: Path) -> None:
    turns: list[tuple[int, int]] = []
    with running(Fake(["same"])) as good, running(Fake(["1", "2"], refuse_every=5)) as bad:
        plan = closed(picture, good, bad, clients=(1, 4), seconds=0.2, rounds=2)
        report = run_load(plan, on_turn=lambda done, of: turns.append((done, of)))
    assert turns == [(number, 8) for number in range(1, 9)]
    assert [service.url for service in report.services] == [good, bad]
    for clients in (1, 4):
        ours, theirs = (service.turns[Load(clients)] for service in report.services)
        assert set(ours.answers) == {"200"}
        assert ours.differing == 0
        assert 0 < ours.per_second <= ours.answers["200"] / 0.4  # two turns of 0.2 s or more
        assert len(ours.by_round) == 2
        assert 0 < (ours.wait_ms(50) or 0) <= (ours.wait_ms(95) or 0) <= 1000 * max(ours.times)
        assert set(theirs.answers) == {"200", "503"}
        assert theirs.differing > theirs.answers["200"] / 4


def test_services_take_turns_and_the_first_changes(picture: Path) -> None:
    log: list[str] = []
    with running(Fake(["a"], log=log)) as one, running(Fake(["b"], log=log)) as other:
        run_load(closed(picture, one, other, rounds=3))
    assert [name for name, _ in groupby(log[2:])] == ["a", "b", "a", "b"]
    assert log[:2] == ["a", "b"]


@pytest.mark.parametrize(("key", "sent"), [("", None), ("secret", "Bearer secret")])
def test_the_key_of_a_service_is_sent_and_not_shown(
    picture: Path, key: str, sent: str | None
) -> None:
    fake = Fake(["x"])
    with running(fake) as url:
        report = run_load(closed(picture, url, key=key))
    assert fake.keys == {sent}
    assert "secret" not in repr(report)


def test_a_turn_sends_all_pictures_equally_often_and_a_weight_counts(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_text(name)
    plan_of = mixed([str(tmp_path / "a.png"), str(tmp_path / "b.png") + "=3"])
    fake = Fake(["x"])
    with running(fake) as url:
        run_load(LoadPlan(plan_of, (url,), clients=(3,), seconds=0.1, rounds=1))
    a, b = (fake.received[name] - 1 for name in (b"a", b"b"))  # one each before the turns
    assert a > 0
    assert b == 3 * a


def test_pictures_are_mixed_in_an_order_of_their_own_that_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    names = [f"{number}.png" for number in range(8)]
    for name in [*names, "0.json"]:
        (tmp_path / "folder" / name).touch()
    (tmp_path / "x=y.png").touch()
    sources = [str(tmp_path / "folder"), str(tmp_path / "x=y.png")]
    found = mixed(sources, seed=1)
    assert sorted(path.name for path in found) == [*names, "x=y.png"]
    assert found == mixed(sources, seed=1) != mixed(sources, seed=2)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"none: holds no picture .*weight '0'; allowed: a whole"):
        mixed([str(tmp_path / "none"), f"{sources[0]}=0"])


def test_arrivals_come_at_random_with_their_rate_and_always_the_same() -> None:
    times = arrivals(50.0, 100.0, seed=3)
    assert times == arrivals(50.0, 100.0, seed=3) != arrivals(50.0, 100.0, seed=4)
    assert 0 < times[0] < times[-1] < 100
    assert len(times) == pytest.approx(5000, rel=0.05)  # 3.5 standard deviations
    gaps = [later - earlier for earlier, later in pairwise(times)]
    short = sum(gap < 1 / 50 for gap in gaps) / len(gaps)
    assert short == pytest.approx(0.632, abs=0.03)  # exponential: 1 - 1/e below the mean


def test_arrivals_do_not_wait_for_answers_and_are_timed_from_when_they_were_due(
    picture: Path,
) -> None:
    with running(Fake(["x"], busy_s=0.05)) as url:
        report = run_load(open_loop(picture, url, 100.0, seconds=0.2))
    turns = report.services[0].turns[Load(rate=100.0)]
    sent = len(arrivals(100.0, 0.2, seed=0))
    assert sent > 10
    assert turns.answers == {"200": sent}
    # One after another: the last has waited for all others since it was due.
    assert max(turns.times) >= sent * 0.05 - 0.2
    assert turns.seconds[0] >= sent * 0.05


def test_arrivals_beyond_the_bound_are_counted_and_not_sent(picture: Path) -> None:
    fake = Fake(["x"], busy_s=0.1)
    with running(fake) as url:
        report = run_load(open_loop(picture, url, 100.0, seconds=0.3, in_flight=2))
    answers = report.services[0].turns[Load(rate=100.0)].answers
    assert set(answers) == {"200", module.NOT_SENT}
    assert sum(answers.values()) == len(arrivals(100.0, 0.3, seed=0))
    assert answers["200"] == fake.received[b"any bytes"] - 1


def test_a_service_that_never_answers_is_a_time_out(picture: Path) -> None:
    with running(Fake(["x"], held=threading.Event())) as url:
        report = run_load(closed(picture, url, timeout_s=0.2))
    [service] = report.services
    assert set(service.turns[Load(2)].answers) == {"time-out"}
    assert service.first == {}


def test_a_service_that_only_refuses_has_no_times(picture: Path) -> None:
    with running(Fake(["x"], refuse_every=1)) as busy:
        report = run_load(closed(picture, busy))
    turns = report.services[0].turns[Load(2)]
    assert set(turns.answers) == {"503"}
    assert (turns.per_second, turns.wait_ms(50), turns.wait_ms(95)) == (0, None, None)
    assert summary(report)["servers"][busy.partition("//")[2]]["unread"] == 1


def test_what_was_read_is_compared_with_the_known_text(picture: Path) -> None:
    picture.with_suffix(".json").write_text(json.dumps([[CORNERS, "abcdefghij"]]))
    with running(Fake(["abcdefghij"])) as right, running(Fake(["abcdXfghij"])) as wrong:
        report = run_load(closed(picture, right, wrong))
        with running(Fake([""], refuse_every=1)) as silent:
            [nothing] = run_load(closed(picture, silent)).services
    assert [service.cer() for service in report.services] == [0.0, 10.0]
    assert nothing.cer() == 100.0


def test_services_that_are_not_there_or_not_ready_are_named(picture: Path) -> None:
    with running(Fake([], ready=503)) as url, pytest.raises(ConfigError, match="not ready.*loadi"):
        run_load(closed(picture, url))
    with pytest.raises(ConfigError, match="does not answer .*start the service first"):
        run_load(closed(picture, url))


def test_an_answer_of_another_kind_of_service_is_said(picture: Path) -> None:
    with running(Fake(["x"])) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "OURS", PADDLEX_AT_OUR_ROUTE)
        with pytest.raises(ConfigError, match=r"answers 200 with something else .*\('result'\)"):
            run_load(closed(picture, url))


def test_an_answer_of_another_kind_is_said_whenever_it_comes(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = count(1)

    def lines(answer: Any) -> list[Found]:
        return (PADDLEX if next(answers) == 2 else OURS).lines(answer)

    monkeypatch.setattr(module, "OURS", replace(OURS, lines=lines))
    with (
        running(Fake(["x"])) as url,
        pytest.raises(ConfigError, match="answers 200 with something"),
    ):
        run_load(open_loop(picture, url, 50.0, seconds=0.5))


def test_memory_that_cannot_be_read_is_said(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count(1)

    def broken(_group: int) -> Memory:
        if next(looks) == 2:  # in the turn; the first is before it
            raise PermissionError("/proc/1/status")
        return Memory(1.0, 1.0)

    server = started("ours")
    monkeypatch.setattr(module, "our_server", lambda settings, threads: server)
    monkeypatch.setattr(module, "memory", broken)
    with pytest.raises(PermissionError, match="/proc/1/status"):
        run_load(closed(picture))
    assert ends(server.group)


def started(name: str, *words: str) -> Server:
    """A server in a process of its own that reads one text.

    Args:
        name: of it.
        words: seconds of CPU that it uses after each answer, and the path, up to a number, of the
            file that it makes then.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-c", SCRIPT, str(port), *words]
    return Server(name, module.OURS, command, port=port, environment={})


def test_servers_started_here_stand_still_without_a_turn_and_their_memory_is_watched(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [started("ours"), started("paddlex")]
    monkeypatch.setattr(module, "our_server", lambda settings, threads: servers[0])
    monkeypatch.setattr(module, "peer_server", lambda *_, **__: servers[1])
    stopped: list[bool] = []
    plan = closed(picture, against="paddlex", seconds=1.2, soak=True)
    report = run_load(plan, on_turn=lambda *_: stopped.extend(stops(s.group) for s in servers))
    assert stopped == [True] * 4
    assert all(ends(server.group) for server in servers)
    figures = summary(report)["servers"]
    for name in ("ours", "paddlex"):
        assert figures[name]["peak_mb"] > 1
        assert figures[name]["start_s"] > 0
        said = figures[name]["loads"]["2"]
        assert set(said["statuses"]) == {"200"}
        assert said["cpu_ms"] > 0
        assert said["memory"]["growth"] is None
        times = [at for at, _ in said["memory"]["curve"]]
        assert times[0] < 1 <= times[1]
        assert all(mb > 1 for _, mb in said["memory"]["curve"])
    assert "too short to say whether it grows" in as_markdown(report)


def test_a_server_is_stopped_when_its_work_is_done(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = started("ours", "0.7", str(tmp_path / "done"))
    monkeypatch.setattr(module, "our_server", lambda settings, threads: server)
    done: list[int] = []
    plan = closed(picture, clients=(1,), seconds=0.01, soak=True)
    report = run_load(plan, on_turn=lambda *_: done.append(len([*tmp_path.glob("done*")])))
    [service] = report.services
    turns = service.turns[Load(1)]
    assert done == [1 + turns.answers["200"]]
    assert turns.cpu_s > 0.6 * turns.answers["200"]
    assert service.restless == 0


def test_a_server_started_here_is_asked_without_a_proxy(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = started("ours")
    monkeypatch.setattr(module, "our_server", lambda settings, threads: server)
    with running(Fake([], ready=502)) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        report = run_load(closed(picture))
    assert set(report.services[0].turns[Load(2)].answers) == {"200"}


def test_what_a_server_holds_at_the_end_of_its_turn_counts(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, grown = started("ours"), [5.0]

    def memory(_group: int) -> Memory:
        return Memory(grown[0], grown[0])

    def lines(answer: Any) -> list[Found]:
        grown[0] += 1  # with each picture
        return OURS.lines(answer)

    server.api = replace(OURS, lines=lines)
    monkeypatch.setattr(module, "our_server", lambda settings, threads: server)
    monkeypatch.setattr(module, "memory", memory)
    [service] = run_load(closed(picture)).services
    assert service.peak_mb == 5 + 1 + service.turns[Load(2)].answers["200"]


def test_a_server_that_never_rests_is_named(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = started("ours", "600", "")
    monkeypatch.setattr(module, "our_server", lambda settings, threads: server)
    monkeypatch.setattr(module, "_LONGEST_REST_S", 0.6)
    report = run_load(closed(picture, clients=(1,), seconds=0.01, soak=True))
    assert summary(report)["servers"]["ours"]["restless"] == 2  # alone, and its turn
    assert "ours: still at work when it was stopped after 2 turns" in as_markdown(report)


def test_all_faults_of_a_plan_are_one_message(tmp_path: Path) -> None:
    message = (
        r"^url 'ftp://x'; allowed: http\(s\)://; .*none.png: no such picture; clients 0; allowed: "
        r"from 1; rate -1; allowed: above 0; seconds 0; allowed: above 0; rounds 2 of a soak; "
        r"allowed: 1; settings are for a service that is started here; leave --url out$"
    )
    with pytest.raises(ConfigError, match=message):
        LoadPlan(
            (tmp_path / "none.png",) * 2,
            ("ftp://x",),
            settings=("workers=2",),
            clients=(0,),
            rates=(-1.0,),
            seconds=0,
            soak=True,
        )
    with pytest.raises(ConfigError, match="no picture to send; no load; say how many clients"):
        LoadPlan((), clients=())
    with pytest.raises(ConfigError, match="against nobody: no such reader; allowed: paddlex, rapi"):
        LoadPlan((Path(__file__),), against="nobody")


def test_report_says_how_many_times_as_fast_the_first_is(picture: Path) -> None:
    with running(Fake(["x"])) as fast, running(Fake(["x"], busy_s=0.05)) as slow:
        report = run_load(closed(picture, fast, slow, clients=(1, 2)))
    said = json.loads(json.dumps(summary(report)))
    name, first = (url.partition("//")[2] for url in (slow, fast))
    for clients in ("1", "2"):
        ours, theirs = (said["servers"][key]["loads"][clients] for key in (first, name))
        ratio = ours["per_second"] / theirs["per_second"]
        assert said["ratio"][name][clients] == pytest.approx(ratio, rel=0.01)
        p95 = theirs["p95_ms"] / ours["p95_ms"]
        assert said["p95_ratio"][name][clients] == pytest.approx(p95, rel=0.2)  # 0.1 ms is rounded
        assert theirs["statuses"] == {"200": theirs["statuses"]["200"]}
        assert "memory" not in ours
    shown = as_markdown(report)
    assert f"| 2 | {name} |" in shown
    assert "above 1 where it is faster" in shown


def test_waiting_is_not_compared_where_one_leaves_pictures_unread(picture: Path) -> None:
    with running(Fake(["x"])) as one, running(Fake(["x"])) as other:
        report = run_load(closed(picture, one, other))
    first, second = (service.turns[Load(2)] for service in report.services)
    name = report.services[1].name
    first.times[:], second.times[:] = [0.1] * 96, [0.3] * 96
    first.seconds = second.seconds = [10.0]
    first.answers = second.answers = Counter({"200": 96, "503": 4})
    assert summary(report)["p95_ratio"][name]["2"] == 3.0
    assert "| 3.00 |" in as_markdown(report)
    for refuses, reads in ((first, second), (second, first)):
        refuses.answers = Counter({"200": 96, "503": 5, module.NOT_SENT: 1})
        reads.answers = Counter({"200": 96})
        assert summary(report)["p95_ratio"][name]["2"] is None
        assert summary(report)["ratio"][name]["2"] is not None
        assert "| 3.00 |" not in as_markdown(report)


def test_growth_of_memory_is_told_from_what_comes_after_two_minutes() -> None:
    settled = [(float(at), 100.0 + 3 * min(at, 120)) for at in range(600)]
    assert memory_growth(settled) == {
        "settled_mb": 460.0,
        "end_mb": 460.0,
        "growth_mb": 0.0,
        "mb_per_hour": 0.0,
    }
    growing = [(float(at), 100.0 + at / 60) for at in range(721)]
    growth = memory_growth(growing)
    assert growth is not None
    assert growth["mb_per_hour"] == pytest.approx(60.0)
    assert growth["growth_mb"] == pytest.approx((705 - 134.5) / 60, abs=0.1)
    assert memory_growth(growing[:170]) is None
    assert memory_growth([]) is None


def test_the_command_shows_a_table_and_one_json_object_last(picture: Path) -> None:
    with running(Fake(["text"])) as url:
        words = ["serve", str(picture), "--url", url, "--clients", "1,2", "--rate", "20"]
        done = CliRunner().invoke(app, [*words, "--seconds", "0.2", "--rounds", "1"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    [figures] = said["servers"].values()
    assert list(figures["loads"]) == ["1", "2", "20/s"]
    assert said["ratio"] == {}
    assert "pictures/s" in done.stdout
    for option in ("--clients=1,x", "--rate=1/2", "--clients=2.5"):
        with pytest.raises(ConfigError, match=r"(clients|rate) '.*'; allowed: numbers with commas"):
            CliRunner().invoke(app, ["serve", str(picture), option], catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_servers_of_others_read_the_same_page_beside_ours(
    exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    canvas, truth = np.full((400, 800, 3), 255, np.uint8), []
    for top, text in ((40, "INVOICE 2468"), (160, "TOTAL 128.50"), (280, "PAID 13 MAY")):
        cv2.putText(canvas, text, (60, top + 60), cv2.FONT_HERSHEY_SIMPLEX, 2, (0, 0, 0), 4)
        truth.append([[[50, top], [750, top], [750, top + 80], [50, top + 80]], text])
    page = tmp_path / "page.png"
    page.write_bytes(cv2.imencode(".png", canvas)[1].tobytes())
    page.with_suffix(".json").write_text(json.dumps(truth))
    models = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    names = ["paddlex", "rapidocr-api", "rapidocr-api-openvino"]
    plan = LoadPlan(
        (page,), against=",".join(names), settings=models, clients=(1,), seconds=0.1, rounds=1
    )
    try:
        report = run_load(plan)
    except AssetError as error:
        pytest.skip(str(error))
    assert [service.name for service in report.services] == ["ours", *names]
    for service in report.services:
        assert set(service.turns[Load(1)].answers) == {"200"}, service.name
        assert service.turns[Load(1)].differing == 0
        assert service.turns[Load(1)].cpu_s > 0
        cer = service.cer()
        assert cer is not None
        assert cer < 10, service.name
        assert service.peak_mb > 100
