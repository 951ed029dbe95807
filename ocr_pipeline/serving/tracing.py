"""OpenTelemetry traces: a span for each request, and below it where its tasks' time went.

Needs ``pip install 'ocr_pipeline[trace]'``.
"""

import os
import time
from collections.abc import Collection, Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import ocr_pipeline
from ocr_pipeline.config.logs import TraceConfig
from ocr_pipeline.serving.records import QUIET, current_record, method_of, route_of

_NS = 1e9


class Tracing:
    """Makes spans, and sends them from a thread of its own.

    Args:
        config: where to, and how many.
        processor: takes the spans; None: sends them to the config's endpoint.
    """

    def __init__(self, config: TraceConfig, processor: SpanProcessor | None = None) -> None:
        names = {"service.version": ocr_pipeline.__version__}
        if "OTEL_SERVICE_NAME" not in os.environ:
            names["service.name"] = "ocr_pipeline"
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.ratio)),
            resource=Resource.create(names),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            processor or BatchSpanProcessor(OTLPSpanExporter(endpoint=config.endpoint))
        )
        self.tracer = self._provider.get_tracer("ocr_pipeline", ocr_pipeline.__version__)

    def close(self) -> None:
        """Send what is left; takes no longer than a sending may."""
        self._provider.shutdown()

    def task(
        self,
        name: str,
        *,
        asked_s: float,
        handed_s: float | None,
        ended_s: float,
        steps: Mapping[str, float],
        fault: Exception | None,
    ) -> None:
        """A task of the current request has ended.

        Its steps are known by their length alone: their spans follow each other from its handing.

        Args:
            name: of the task.
            asked_s: when it was asked for, ``time.monotonic()``.
            handed_s: when a worker got it; None: it never did.
            ended_s: when there was an answer.
            steps: milliseconds by step.
            fault: why there is no result.
        """
        # Spans want the time of the wall, tasks are timed by a clock that nobody sets.
        offset_s = time.time() - time.monotonic()
        waited_until_s = ended_s if handed_s is None else handed_s
        _end(self._begin("queue wait", asked_s + offset_s), waited_until_s + offset_s)
        if handed_s is None:
            return
        span = self._begin(name, handed_s + offset_s)
        if fault is not None:
            span.set_status(StatusCode.ERROR, type(fault).__name__)
        with trace.use_span(span, end_on_exit=False):
            began_s = handed_s + offset_s
            for step, milliseconds in steps.items():
                child = self._begin(step, began_s)
                began_s += milliseconds / 1000
                _end(child, began_s)
        _end(span, ended_s + offset_s)

    def _begin(self, name: str, at_s: float) -> Span:
        return self.tracer.start_span(name, start_time=int(at_s * _NS))


class TraceRequests:
    """ASGI middleware: a span for each request but the probes, below that of its ``traceparent``.

    Args:
        app: the application behind it.
        tracing: makes the spans.
        paths: of the routes, ``*`` at the end: and below; a span has no other path in its name.
    """

    def __init__(self, app: ASGIApp, *, tracing: Tracing, paths: Collection[str]) -> None:
        self.app = app
        self.tracing = tracing
        self.paths = frozenset(paths)
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = route_of(scope, self.paths) if scope["type"] == "http" else ""
        if scope["type"] != "http" or route in QUIET:
            await self.app(scope, receive, send)
            return
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        method = method_of(scope)
        with self.tracing.tracer.start_as_current_span(
            f"{method} {route}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
        ) as span:
            record = current_record()
            if record is not None:
                span.set_attribute("ocr.request_id", record.request_id)
                record.trace_id = f"{span.get_span_context().trace_id:032x}"

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self.app(scope, receive, send_and_note)


def _end(span: Span, at_s: float) -> None:
    span.end(end_time=int(at_s * _NS))
