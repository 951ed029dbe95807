"""Clients that are slow, many or never satisfied: talked to over sockets."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from ocr_pipeline.config.access import PatienceConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.serving.server import PatientProtocol, uvicorn_config
from tests.serving.guarded import guarded

DEADLINE_S = 20
HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: service\r\n"
NOWHERE = b"POST /none HTTP/1.1\r\nHost: service\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: service\r\n\r\n"
SHORT_S = 0.3


class Running:
    """A service in a thread."""

    def __init__(self, app: Any, config: ServeConfig) -> None:
        self.refused: list[Any] = []
        self.server = uvicorn.Server(uvicorn_config(app, config, self.refused.append))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self.server.run, args=([self._listening],))

    def __enter__(self) -> "Running":
        self._thread.start()
        self.wait(lambda: self.server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(DEADLINE_S)
        self._listening.close()
        assert not self._thread.is_alive()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextmanager
def running(**patience: Any) -> Iterator[Running]:
    config = ServeConfig(patience=PatienceConfig(**patience))
    with Running(guarded(config), config) as service:
        yield service


def to_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def trickle(connection: socket.socket, part: bytes, stopped: threading.Event) -> threading.Thread:
    """Send the part again and again, from a thread, until it is stopped or cut off."""

    def send() -> None:
        try:
            while not stopped.wait(SHORT_S / 10):
                connection.sendall(part)
        except OSError:
            pass

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_headers_that_trickle_in_are_cut_off() -> None:
    stopped = threading.Event()
    with running(head_timeout_s=SHORT_S) as service, service.connect() as connection:
        connection.sendall(HEAD)
        thread = trickle(connection, b"X-A: b\r\n", stopped)
        assert to_end(connection) == b""
        stopped.set()
        thread.join()
        assert service.refused == [{"slow_head": 1}]


def test_a_connection_that_says_nothing_is_closed_and_no_refusal() -> None:
    with running(head_timeout_s=SHORT_S) as service, service.connect() as connection:
        assert to_end(connection) == b""
        assert service.refused == []


def test_headers_of_a_second_request_that_trickle_in_are_cut_off_too() -> None:
    stopped = threading.Event()
    with running(head_timeout_s=SHORT_S, idle_timeout_s=60) as service:
        with service.connect() as connection:
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(HEAD)
            thread = trickle(connection, b"X-A: b\r\n", stopped)
            to_end(connection)
            stopped.set()
            thread.join()
        assert service.refused == [{"slow_head": 1}]


def test_an_idle_connection_is_closed() -> None:
    with running(idle_timeout_s=1) as service, service.connect() as connection:
        connection.sendall(GET)
        assert to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_trickles_in_is_answered_408_and_cut_off() -> None:
    stopped = threading.Event()
    patience = {"body_timeout_s": SHORT_S, "body_bytes_per_s": 1e9}
    with running(**patience) as service, service.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        thread = trickle(connection, b"x", stopped)
        answer = to_end(connection)
        stopped.set()
        thread.join()
        service.wait(lambda: service.connections() == 0)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"x-request-id:" in head.lower()
    assert json.loads(body)["detail"].startswith("the body comes too slowly")


def test_a_slow_body_has_more_time_the_more_of_it_has_come() -> None:
    patience = {"body_timeout_s": SHORT_S, "body_bytes_per_s": 1.0}
    with running(**patience) as service, service.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 200\r\nConnection: close\r\n\r\n" + b"x" * 100)
        time.sleep(2 * SHORT_S)
        connection.sendall(b"x" * 100)
        answer = to_end(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"bytes":200}')


def test_a_client_that_pauses_after_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocr_pipeline.serving.server._LINGER_S", SHORT_S)
    with running(idle_timeout_s=60) as service, service.connect() as connection:
        connection.sendall(NOWHERE + b"Content-Length: 1000000\r\n\r\n")
        assert to_end(connection).startswith(b"HTTP/1.1 404 ")


def test_a_client_that_goes_on_sending_keeps_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has sent lies there unread when the answer comes: closing would reset both."""
    monkeypatch.setattr("ocr_pipeline.serving.server._LINGER_S", 1.0)
    stopped = threading.Event()
    with running(idle_timeout_s=60) as service, service.connect() as connection:
        connection.sendall(NOWHERE + b"Content-Length: 1000000\r\n\r\n")
        thread = trickle(connection, b"x", stopped)
        time.sleep(2.0)
        assert service.connections() == 1
        stopped.set()
        thread.join()
        assert to_end(connection).startswith(b"HTTP/1.1 404 ")


def test_a_client_that_sends_on_for_ever_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocr_pipeline.serving.server._LINGER_MOST_S", 2 * SHORT_S)
    stopped = threading.Event()
    with running() as service, service.connect() as connection:
        connection.sendall(NOWHERE + b"Content-Length: 1000000\r\n\r\n")
        thread = trickle(connection, b"x", stopped)
        assert to_end(connection).startswith(b"HTTP/1.1 404 ")
        stopped.set()
        thread.join()
        service.wait(lambda: service.connections() == 0)


def test_a_body_that_ends_after_its_answer_leaves_the_connection_open_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ocr_pipeline.serving.server._LINGER_S", 1000.0)
    with running(idle_timeout_s=60) as service, service.connect() as connection:
        connection.sendall(NOWHERE + b"Content-Length: 10\r\n\r\n12345")
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(b"67890" + GET)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        [protocol] = service.server.server_state.connections
        assert isinstance(protocol, PatientProtocol)
        protocol.loop.call_soon_threadsafe(protocol._end_unread)  # as the timer will
        connection.sendall(GET)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_one_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    with running(max_connections=2) as service:
        first, second = service.connect(), service.connect()
        service.wait(lambda: service.connections() == 2)
        with service.connect() as third:
            head, _, body = to_end(third).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in head
        assert json.loads(body)["status"] == 503
        assert service.refused == [{"too_many_connections": 1}]
        for connection in (first, second):
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            connection.close()
        service.wait(lambda: service.connections() == 0)
        with service.connect() as fourth:
            fourth.sendall(GET)
            assert fourth.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_headers_without_end_are_refused_after_16_kib() -> None:
    with running() as service, service.connect() as connection:
        connection.sendall(HEAD + b"X-A: " + b"b" * 20_000)
        assert to_end(connection).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_does_not_take_its_answer_is_cut_off() -> None:
    ended = threading.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        leaving = asyncio.create_task(_gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        ended.set()

    config = ServeConfig(patience=PatienceConfig(write_timeout_s=SHORT_S))
    with Running(endless, config) as service, service.connect() as connection:
        connection.sendall(GET)
        assert ended.wait(DEADLINE_S)
        service.wait(lambda: service.connections() == 0)


@pytest.mark.parametrize(("changes", "wanted"), [({}, 65), ({"drain_timeout_s": 900.5}, 901)])
def test_work_has_as_long_to_end_as_was_said(changes: dict[str, float], wanted: int) -> None:
    config = ServeConfig.model_validate({"timeout_s": 60, **changes})
    made = uvicorn_config(guarded(config), config, print)
    assert made.timeout_graceful_shutdown == wanted


def test_answers_do_not_say_which_server_it_is() -> None:
    with running() as service, service.connect() as connection:
        connection.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert b"server:" not in to_end(connection).lower()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
