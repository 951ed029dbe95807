"""The HTTP server around the application: who is slow, or one too many, is cut off."""

import asyncio
import json
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import ceil
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ocr_pipeline.config.access import PatienceConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.serving.metrics import Refusal

_DRAIN_MORE_S = 5
_LINGER_S, _LINGER_MOST_S = 2.0, 30.0
"""After an answer that came early the rest of the body is read until it pauses for so long, and so
long in all: closed before, what is still on its way would reset the connection and the answer."""
Refused = Callable[[Mapping[Refusal, int]], None]
"""Is told how many connections ended without an answer of the application, by reason."""
_log = logging.getLogger(__name__)


def run(app: ASGIApp, config: ServeConfig, refused: Refused) -> None:
    """Serve until a signal ends it; see :func:`uvicorn_config`. To be called in the main thread.

    Raises:
        ConfigError: it could not begin.
    """
    signal.signal(signal.SIGTERM, _end_by)
    server = uvicorn.Server(uvicorn_config(app, config, refused))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise ConfigError(f"{config.host}:{config.port}: the service did not start; see its log")


def uvicorn_config(app: ASGIApp, config: ServeConfig, refused: Refused) -> uvicorn.Config:
    """Say how uvicorn is to serve.

    Args:
        app: what :func:`ocr_pipeline.serving.app.create_app` has made.
        config: address, patience and time-outs.
        refused: is told of connections that never became a request.
    """
    patience = config.patience

    class Protocol(PatientProtocol):
        def __init__(
            self,
            config: uvicorn.Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self.patience, self.refused = patience, refused

    return uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application has its own list of whom it believes
        timeout_keep_alive=patience.idle_timeout_s,
        # A client that never ends its upload may not keep the process alive.
        timeout_graceful_shutdown=ceil(config.drain_timeout_s or config.timeout_s + _DRAIN_MORE_S),
    )


def _end_by(number: int, _frame: FrameType | None) -> None:
    """uvicorn has ended in order and sends itself the signal again: the last lines are written."""
    logging.shutdown()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with the time limits that it lacks.

    h11 and not httptools, which sets no limit to the size of headers: here it is 16 KiB, 400 above.
    uvicorn's own ``limit_concurrency`` answers plain text without our headers, probes too.

    Attributes:
        patience: the limits.
        refused: is told why a connection ended without a request.
    """

    patience: PatienceConfig
    refused: Refused
    _head_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _linger_until: float = 0.0
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless there are too many."""
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > self.patience.max_connections:
            self.refused({"too_many_connections": 1})
            self.transport.write(_TOO_MANY)
            self.transport.close()
            return
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; those after an answer that came early count for nothing."""
        super().data_received(data)
        self._watch_head()
        if self._is_unread:
            self._linger()

    def on_response_complete(self) -> None:
        """Go on with the next request, or end where the client still sends the last one."""
        super().on_response_complete()
        if self._is_unread:
            self._linger_until = self.loop.time() + _LINGER_MOST_S
            self._linger()

    def pause_writing(self) -> None:
        """The client does not take its answer."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.patience.write_timeout_s, self._abort)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        _cancel(self._write_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        for timer in (self._head_timer, self._linger_timer, self._write_timer):
            _cancel(timer)
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """One timer from the first byte to the last of the head, however the bytes trickle."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            _cancel(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.patience.head_timeout_s, self._end_slow)

    def _end_slow(self) -> None:
        if self.conn.trailing_data[0]:  # else a browser that opened it beforehand
            self.refused({"slow_head": 1})
        self.transport.close()

    @property
    def _is_unread(self) -> bool:
        """Answered while the client still sends."""
        return (self.conn.our_state, self.conn.their_state) == (h11.DONE, h11.SEND_BODY)

    def _linger(self) -> None:
        _cancel(self._linger_timer)
        until = min(self.loop.time() + _LINGER_S, self._linger_until)
        self._linger_timer = self.loop.call_at(until, self._end_unread)

    def _end_unread(self) -> None:
        if self._is_unread:
            self.transport.close()

    def _abort(self) -> None:
        _log.warning("a client took nothing of its answer for %g s", self.patience.write_timeout_s)
        self.transport.abort()


class BodyDeadline:
    """ASGI middleware: 408 for a body that comes too slowly.

    It has ``body_timeout_s``, and one second more for each ``body_bytes_per_s`` that have come.

    Args:
        app: the application behind it.
        patience: these two.
    """

    def __init__(self, app: ASGIApp, *, patience: PatienceConfig) -> None:
        self.app = app
        self.patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self.patience.body_timeout_s
        is_whole = False

        async def receive_in_time() -> Message:
            nonlocal deadline, is_whole
            if is_whole:
                return await receive()  # waits for the client to go away
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408,
                    "the body comes too slowly; send a smaller file, or over a faster line",
                    {"Connection": "close"},
                ) from None
            deadline += len(message.get("body", b"")) / self.patience.body_bytes_per_s
            is_whole = not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time, send)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _too_many() -> bytes:
    body = json.dumps(
        {
            "type": "about:blank",
            "title": "Busy",
            "status": 503,
            "detail": "too many connections are open; try again in 1 s",
        }
    ).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Retry-After: 1\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


_TOO_MANY = _too_many()
