"""What each request gets, whatever its route does: an id, headers, a line in the log, figures."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from ocr_pipeline.config.access import AccessConfig, RateConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.keys import new_key
from tests.serving.guarded import CLIENT, call, guarded
from tests.serving.test_patience import Running

Lines = Callable[[], list[dict[str, Any]]]
LOGGER = "ocr_pipeline.serving.observe"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return guarded(ServeConfig())


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Gives the fields of the lines that requests have left."""
    caplog.set_level(logging.DEBUG, LOGGER)
    return lambda: [vars(r)["fields"] for r in caplog.records if r.message == "request"]


def figures(app: FastAPI) -> str:
    return str(app.state.metrics.text().decode())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("POST", "/v1/echo", 200),
        ("GET", "/v1/echo", 405),
        ("GET", "/none", 404),
        ("GET", "/v1/fault", 500),
    ],
)
def test_every_answer_carries_the_security_headers_and_an_id(
    app: FastAPI, method: str, path: str, status: int
) -> None:
    answer = call(app, method, path)
    assert answer.status_code == status
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= {*policy}
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_an_answer_may_say_itself_how_long_it_is_kept() -> None:
    answer = call(guarded(ServeConfig()), "GET", "/static/page.js")
    assert answer.headers.get_list("Cache-Control") == ["max-age=60"]


@pytest.mark.parametrize("given", ["a", "A-1_b.c", "x" * 64])
def test_a_sane_id_of_the_client_is_kept(app: FastAPI, lines: Lines, given: str) -> None:
    assert call(app, "GET", "/", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"b', "a\tb", "{}", "é"])
def test_an_id_that_could_do_harm_in_a_log_is_replaced(app: FastAPI, given: str) -> None:
    headers = [("X-Request-ID", given.encode("latin-1"))]
    answer = call(app, "GET", "/", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_two_ids_are_none(app: FastAPI) -> None:
    headers = [("X-Request-ID", "a"), ("X-Request-ID", "b")]
    assert call(app, "GET", "/", headers=headers).headers["X-Request-ID"] not in ("a", "b")


def test_a_request_leaves_one_line_without_its_content(
    app: FastAPI, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    answer = call(app, "POST", "/v1/echo?secret=1", content="合计".encode())
    fields = lines()[-1]
    assert fields.pop("milliseconds") >= 0
    assert fields == {
        "method": "POST",
        "route": "/v1/echo",
        "status": 200,
        "bytes_in": 6,
        "bytes_out": len(answer.content),
        "client": CLIENT,
        "pages": 0,
    }
    assert len(lines()) == 1
    assert "secret" not in caplog.text
    assert caplog.records[-1].levelno == logging.INFO


def test_probes_leave_their_line_at_debug(
    app: FastAPI, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/livez", "/metrics"):
        call(app, "GET", path)
        assert lines()[-1]["route"] == path
        assert caplog.records[-1].levelno == logging.DEBUG


def test_a_fault_is_bare_to_the_client_and_whole_in_the_log(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    answer = call(app, "GET", "/v1/fault")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal error",
        "status": 500,
        "detail": "the service failed; the operator's log says why",
    }
    assert "segment 7 of /srv/secret" in caplog.text
    assert caplog.text.count("Traceback") == 1


def test_a_fault_after_half_the_answer_cuts_it_off_and_is_counted(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    app = guarded(ServeConfig())
    with Running(app, ServeConfig()) as service, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{service.port}/v1/half")
    assert (lines()[-1]["status"], lines()[-1]["refused"]) == (200, {"fault": 1})
    assert "segment 7 of /srv/secret" in caplog.text
    assert 'ocr_refusals_total{reason="fault"} 1.0' in figures(app)


def test_paths_and_methods_that_clients_think_of_have_no_label_of_their_own(
    lines: Lines,
) -> None:
    app = guarded(ServeConfig())
    for number in range(20):
        call(app, f"X{number}", f"/made/up/{number}")
        call(app, "GET", f"/static/{number}.png")
        call(app, "GET", f"/v1/echo/{number}")
    assert {line["route"] for line in lines()} == {"other", "/static/*"}
    text = figures(app)
    assert 'ocr_requests_total{method="OTHER",route="other",status="404"} 20.0' in text
    assert 'ocr_requests_total{method="GET",route="other",status="404"} 20.0' in text
    assert 'ocr_requests_total{method="GET",route="/static/*",status="404"} 20.0' in text
    assert text.count("ocr_requests_total{") == 3
    assert 'ocr_refusals_total{reason="not_found"} 60.0' in text


def test_refusals_are_counted_by_reason_and_the_key_is_named() -> None:
    app = guarded(ServeConfig(access=AccessConfig(rate=RateConfig(per_minute=0.001, burst=1))))
    assert [call(app, "POST", "/v1/echo").status_code for _ in range(3)] == [200, 429, 429]
    call(app, "GET", "/v1/fault", client="203.0.113.9")
    text = figures(app)
    assert 'ocr_refusals_total{reason="rate"} 2.0' in text
    assert 'ocr_refusals_total{reason="fault"} 1.0' in text
    assert 'ocr_request_seconds_count{route="/v1/echo"} 3.0' in text


def test_the_line_names_the_key_and_never_shows_it(
    lines: Lines, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    key, line = new_key("alice")
    path = tmp_path / "keys.txt"
    path.write_text(line)
    app = guarded(ServeConfig(access=AccessConfig(keys_file=str(path))))
    call(app, "POST", "/v1/echo", headers={"X-API-Key": key})
    assert lines()[-1]["key"] == "alice"
    call(app, "POST", "/v1/echo", headers={"X-API-Key": key + "x"})
    assert "key" not in lines()[-1]
    assert lines()[-1]["refused"] == {"key": 1}
    assert key not in caplog.text
