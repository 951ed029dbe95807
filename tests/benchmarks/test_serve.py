"""The load tool, against a server that answers what it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ocr_pipeline.benchmarks.serve import LoadPlan, run_load
from ocr_pipeline.cli_benchmark import app
from ocr_pipeline.errors import ConfigError


@contextmanager
def server(texts: list[str], *, refuse_every: int = 0, ready: int = 200) -> Iterator[str]:
    """A service that says these texts in turn, and every so often that it is busy."""
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(ready, {"status": "ready" if ready == 200 else "loading"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            number = next(numbers)
            if refuse_every and number % refuse_every == 0:
                self._say(503, {"detail": "busy"})
            else:
                text = texts[number % len(texts)]
                self._say(200, {"text": text, "milliseconds": {"total": number}})

        def _say(self, status: int, answer: object) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "page.png"
    path.write_bytes(b"any bytes")
    return path


def test_answers_are_counted_and_compared_with_the_first(picture: Path) -> None:
    with server(["the same"]) as good, server(["one", "other"], refuse_every=5) as bad:
        plan = LoadPlan((good, bad), (picture,), clients=(1, 4), seconds=0.2, rounds=2)
        turns: list[tuple[int, int]] = []
        results = run_load(plan, on_turn=lambda done, of: turns.append((done, of)))
    assert turns == [(number, 8) for number in range(1, 9)]
    assert [(r.url, r.clients) for r in results] == [(good, 1), (good, 4), (bad, 1), (bad, 4)]
    for result in results[:2]:
        assert set(result.answers) == {"200"}
        assert result.differing == 0
        assert 0 < result.per_second <= result.answers["200"] / 0.4  # two turns of 0.2 s or more
        assert result.p50_ms is not None
        assert result.p95_ms is not None
        assert 0 < result.p50_ms <= result.p95_ms
    for result in results[2:]:
        assert set(result.answers) == {"200", "503"}
        assert result.differing > result.answers["200"] / 4


def test_a_service_that_only_refuses_has_no_times(picture: Path) -> None:
    with server(["x"], refuse_every=1) as busy:
        [result] = run_load(LoadPlan((busy,), (picture,), clients=(2,), seconds=0.1, rounds=1))
    assert set(result.answers) == {"503"}
    assert (result.per_second, result.p50_ms, result.p95_ms) == (0, None, None)


def test_services_that_are_not_there_or_not_ready_are_named(picture: Path) -> None:
    with server([], ready=503) as loading, pytest.raises(ConfigError, match="is not ready.*loadi"):
        run_load(LoadPlan((loading,), (picture,)))
    with pytest.raises(ConfigError, match="does not answer .*start the service first"):
        run_load(LoadPlan((loading,), (picture,)))


def test_all_faults_of_a_plan_are_one_message(tmp_path: Path) -> None:
    message = (
        r"^url 'ftp://x'; allowed: http\(s\)://; .*none.png: no such picture; "
        r"clients 0; allowed: from 1; seconds 0; allowed: above 0$"
    )
    with pytest.raises(ConfigError, match=message):
        LoadPlan(("ftp://x",), (tmp_path / "none.png",), clients=(0,), seconds=0)
    with pytest.raises(ConfigError, match=r"no service; say --url .*; no picture to send"):
        LoadPlan((), ())


def test_the_command_shows_a_table_and_one_json_object_last(picture: Path) -> None:
    with server(["text"]) as url:
        words = ["serve", str(picture), "--url", url, "--clients", "1,2", "--seconds", "0.1"]
        done = CliRunner().invoke(app, [*words, "--rounds", "1"])
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout.splitlines()[-1])["results"]
    assert [result["clients"] for result in results] == [1, 2]
    assert "pictures/s" in done.stdout
