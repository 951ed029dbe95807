"""Each request has an id, a line in the log and its place in the figures."""

import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import Collection

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ocr_pipeline.serving.access import client_of
from ocr_pipeline.serving.metrics import Metrics, Refusal
from ocr_pipeline.serving.problems import problem_response
from ocr_pipeline.serving.records import (
    QUIET,
    RequestRecord,
    method_of,
    recorded,
    route_of,
)

_SANE_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_GONE = 499
_REFUSALS: dict[int, Refusal] = {
    400: "invalid",
    401: "key",
    404: "not_found",
    405: "not_found",
    408: "slow_body",
    413: "too_large",
    415: "unsupported",
    422: "invalid",
    429: "rate",
    _GONE: "client_gone",
    500: "fault",
    503: "busy",
    504: "timeout",
}
_log = logging.getLogger(__name__)


class Observe:
    """ASGI middleware, to stand around all others.

    An error that nothing below has answered is logged with its trace and answered with a bare 500.
    The id is that of the client's ``X-Request-ID`` where it is one of 1 to 64 letters, digits,
    ``.``, ``_`` and ``-``; it goes back in the same header, and not in the problem details: the
    header is on each answer, whoever wrote its body.

    Args:
        app: the application behind it.
        metrics: is told of each request.
        paths: of the routes, ``*`` at the end: and below; any other is ``other`` in logs and
            figures, since paths that clients think of have no end.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, paths: Collection[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        bound = structlog.contextvars.bound_contextvars(request_id=exchange.record.request_id)
        with recorded(exchange.record), bound:
            try:
                await self.app(scope, exchange.receive, exchange.send)
            except Exception:
                if exchange.status is not None:
                    exchange.record.failures["fault"] += 1
                    raise  # half an answer is sent: the server can only cut it off, and logs why
                _log.exception("request failed")
                bare = problem_response(
                    500, "Internal error", "the service failed; the operator's log says why"
                )
                await bare(scope, exchange.receive, exchange.send)
            finally:
                self._note(exchange)

    def _note(self, exchange: "_Exchange") -> None:
        record, scope = exchange.record, exchange.scope
        status = _GONE if exchange.status is None else exchange.status
        seconds = time.monotonic() - exchange.began
        route, method = route_of(scope, self.paths), method_of(scope)
        self.metrics.request(route, method, status, seconds)
        # A task that failed says more than the status does, and a batch is answered 200; a probe
        # that says 503 refuses nobody.
        refusal = None if route in QUIET else _REFUSALS.get(status)
        failures = record.failures or Counter([refusal] if refusal else [])
        self.metrics.refused(failures)
        fields = {
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "client": client_of(scope),
            "key": record.key,
            "pages": record.pages,
            "refused": dict(failures) or None,
            "trace_id": record.trace_id or None,
            "text": record.texts or None,
        }
        level = logging.DEBUG if route in QUIET and status < 500 else logging.INFO
        known = {name: value for name, value in fields.items() if value is not None}
        _log.log(level, "request", extra={"fields": known})


class _Exchange:
    """A request and its answer, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.record = RequestRecord(_request_id(scope))
        self.began = time.monotonic()
        self.status: int | None = None
        self.bytes_in = self.bytes_out = 0
        self._receive, self._send = receive, send

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = self.record.request_id
        self.bytes_out += len(message.get("body", b""))
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    text = given[0].decode("latin-1") if len(given) == 1 else ""
    return text if _SANE_ID.fullmatch(text) else uuid.uuid4().hex
