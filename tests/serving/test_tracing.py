"""Traces: which spans a request leaves, below which parent, and that they arrive somewhere."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

pytest.importorskip("opentelemetry.sdk", reason="the extra 'trace' is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from ocr_pipeline.config.logs import TraceConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import ImageError
from ocr_pipeline.serving.guard import guard
from ocr_pipeline.serving.jobs import TaskTimes
from ocr_pipeline.serving.messages import PageReading, ReadPage
from ocr_pipeline.serving.metrics import Metrics, PoolState
from ocr_pipeline.serving.telemetry import Telemetry
from ocr_pipeline.serving.tracing import Tracing
from tests.serving.guarded import call
from tests.serving.test_telemetry import page

PARENT = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{PARENT}-b7ad6b7169203331-01"
PATHS = ("/v1/read", "/v1/fault", "/livez")


def traced(tracing: Tracing, outcome: PageReading | Exception | None = None) -> FastAPI:
    """``/v1/read`` has a task that waited 0.1 s and took 0.2 s."""
    app = FastAPI()
    metrics = Metrics(PoolState)
    telemetry = Telemetry(metrics, tracing, keep_text=False)

    @app.get("/v1/read")
    async def read() -> str:
        now = time.monotonic()
        task = asyncio.to_thread(
            telemetry.ended, ReadPage(b""), TaskTimes(now - 0.3, now - 0.2, now), outcome
        )
        await asyncio.create_task(task)
        return "ok"

    @app.get("/v1/fault")
    async def fault() -> None:
        raise RuntimeError("segment 7")

    @app.get("/livez")
    async def livez() -> str:
        return "ok"

    guard(app, ServeConfig(), metrics, tracing, PATHS)
    return app


class Memory:
    """Spans that stay here."""

    def __init__(self, **config: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = Tracing(TraceConfig(**config), SimpleSpanProcessor(self._exporter))

    def spans(self) -> dict[str, ReadableSpan]:
        found = self._exporter.get_finished_spans()
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}


@pytest.fixture
def memory() -> Memory:
    return Memory()


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def test_a_request_leaves_its_span_and_below_it_where_the_time_went(memory: Memory) -> None:
    answer = call(traced(memory.tracing, page("合计")), "GET", "/v1/read?secret=1")
    spans = memory.spans()
    assert set(spans) == {"GET /v1/read", "queue wait", "ReadPage", "detect"}
    request, wait, task, step = (
        spans[n] for n in ("GET /v1/read", "queue wait", "ReadPage", "detect")
    )
    assert request.parent is None
    assert dict(request.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/v1/read",
        "http.response.status_code": 200,
        "ocr.request_id": answer.headers["X-Request-ID"],
    }
    assert parent(wait) == parent(task) == request.context.span_id
    assert parent(step) == task.context.span_id
    assert seconds(wait) == pytest.approx(0.1, abs=1e-3)
    assert seconds(task) == pytest.approx(0.2, abs=1e-3)
    assert seconds(step) == pytest.approx(0.03, abs=1e-3)
    assert step.start_time == pytest.approx(task.start_time, abs=1e6)
    assert request.resource.attributes["service.name"] == "ocr_pipeline"
    assert "合计" not in request.to_json() + task.to_json() + step.to_json()


def test_the_trace_of_the_caller_goes_on(memory: Memory) -> None:
    call(traced(memory.tracing), "GET", "/v1/read", headers={"traceparent": TRACEPARENT})
    spans = memory.spans()
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {PARENT}
    assert f"{parent(spans['GET /v1/read']):016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize("given", ["", "nonsense", "00-0-0-01", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(memory: Memory, given: str) -> None:
    call(traced(memory.tracing), "GET", "/v1/read", headers={"traceparent": given})
    assert memory.spans()["GET /v1/read"].parent is None


def test_a_failed_task_and_a_fault_are_errors(memory: Memory) -> None:
    app = traced(memory.tracing, ImageError("cut off"))
    call(app, "GET", "/v1/read")
    call(app, "GET", "/v1/fault")
    spans = memory.spans()
    assert spans["ReadPage"].status.status_code is StatusCode.ERROR
    assert spans["ReadPage"].status.description == "ImageError"
    assert spans["GET /v1/fault"].status.status_code is StatusCode.ERROR
    assert spans["GET /v1/read"].status.status_code is StatusCode.UNSET


def test_probes_and_unchosen_requests_leave_none(memory: Memory) -> None:
    call(traced(memory.tracing), "GET", "/livez")
    assert memory.spans() == {}
    never = Memory(ratio=0.0)
    call(traced(never.tracing), "GET", "/v1/read")
    assert never.spans() == {}
    call(traced(never.tracing), "GET", "/v1/read", headers={"traceparent": TRACEPARENT})
    assert "GET /v1/read" in never.spans()  # since its caller has chosen it


def test_a_path_that_is_none_of_ours_has_no_name_of_its_own(memory: Memory) -> None:
    call(traced(memory.tracing), "GET", "/made/up")
    assert set(memory.spans()) == {"GET other"}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Takes OTLP over HTTP; its address and what it got."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = ExportTraceServiceRequest()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            message.ParseFromString(body)
            got.append(message)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("where", ["config", "environment"])
def test_spans_arrive_at_a_collector(
    collector: tuple[str, list[ExportTraceServiceRequest]],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    address, got = collector
    endpoint = f"{address}/v1/traces" if where == "config" else None
    if where == "environment":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ocr-of-alice")
    tracing = Tracing(TraceConfig(endpoint=endpoint))
    call(traced(tracing, page("合计")), "GET", "/v1/read")
    tracing.close()
    [resource] = [part for message in got for part in message.resource_spans]
    names = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert names == {"GET /v1/read", "queue wait", "ReadPage", "detect"}
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert attributes["service.name"] == "ocr-of-alice"


def test_a_collector_that_is_not_there_holds_up_no_request() -> None:
    tracing = Tracing(TraceConfig(endpoint="http://127.0.0.1:9/v1/traces"))
    answer: httpx.Response = call(traced(tracing), "GET", "/v1/read")
    assert answer.status_code == 200
    tracing.close()
