"""Figures of the service for Prometheus."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

import ocr_pipeline
from ocr_pipeline.serving.logs import dropped_lines
from ocr_pipeline.serving.process import resident_bytes

CONTENT_TYPE = CONTENT_TYPE_LATEST
Refusal = Literal[
    "busy",
    "client_gone",
    "fault",
    "invalid",
    "key",
    "not_found",
    "rate",
    "slow_body",
    "slow_head",
    "timeout",
    "too_large",
    "too_many_connections",
    "unreadable",
    "unsupported",
    "worker_lost",
]
"""Why a request got no text."""
_REQUEST_S = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_STEP_S = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_FILL = tuple(eighths / 8 for eighths in range(1, 9))


@dataclass(frozen=True)
class PoolState:
    """What the reading processes are doing now.

    Attributes:
        queued: tasks that wait for a process.
        workers: processes that have loaded their models.
        restarts: processes that were replaced.
        ready: whether the service answers.
        pids: process ids by name, of those that run.
        models: name and checkpoint by role; empty before they are loaded.
    """

    queued: int = 0
    workers: int = 0
    restarts: int = 0
    ready: bool = False
    pids: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)


class Metrics:
    """Counters and histograms of one service, in a registry of their own.

    Args:
        state: asked whenever the figures are fetched.
    """

    def __init__(self, state: Callable[[], PoolState]) -> None:
        # A second series of each, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.registry = registry
        self._requests = Counter(
            "ocr_requests_total",
            "Requests that were answered, whatever the answer.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._request_s = Histogram(
            "ocr_request_seconds",
            "From the head of a request to the end of its answer.",
            ("route",),
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._refusals = Counter(
            "ocr_refusals_total",
            "Requests, files and connections that got no text, by reason.",
            ("reason",),
            registry=registry,
        )
        for reason in get_args(Refusal):  # from 0, or rate() would miss the first of each
            self._refusals.labels(reason)
        self._wait_s = Histogram(
            "ocr_queue_wait_seconds",
            "From the asking to the handing to a worker.",
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._pages = Counter("ocr_pages_total", "Pages that were read.", registry=registry)
        self._lines = Counter("ocr_lines_total", "Lines that were read.", registry=registry)
        self._characters = Counter(
            "ocr_characters_total", "Characters that were read.", registry=registry
        )
        self._dropped = Counter(
            "ocr_dropped_regions_total",
            "Regions that gave no line, by reason.",
            ("reason",),
            registry=registry,
        )
        self._step_s = Histogram(
            "ocr_step_seconds",
            "Wall time of a step of reading a page.",
            ("step",),
            buckets=_STEP_S,
            registry=registry,
        )
        self._fill = Histogram(
            "ocr_batch_fill",
            "Lines in a batch of the recognizer over the lines that it may hold.",
            buckets=_FILL,
            registry=registry,
        )
        registry.register(_State(state))

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is a template, never a path as it was sent."""
        self._requests.labels(route, method, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def refused(self, reasons: Mapping[Refusal, int]) -> None:
        """So many requests, files of one or connections got no text, by reason."""
        for reason, times in reasons.items():
            self._refusals.labels(reason).inc(times)

    def waited(self, seconds: float) -> None:
        """A task was handed to a worker so long after it was asked for."""
        self._wait_s.observe(seconds)

    def read(
        self,
        *,
        pages: int,
        lines: int,
        characters: int,
        dropped: Mapping[str, int],
        milliseconds: Mapping[str, float],
    ) -> None:
        """Something was read; ``dropped`` by reason, ``milliseconds`` by step."""
        self._pages.inc(pages)
        self._lines.inc(lines)
        self._characters.inc(characters)
        for reason, regions in dropped.items():
            self._dropped.labels(reason).inc(regions)
        for step, wall in milliseconds.items():
            self._step_s.labels(step).observe(wall / 1000)

    def batch(self, lines: int, capacity: int) -> None:
        """So many lines were recognised together, of so many that could be."""
        self._fill.observe(lines / capacity)

    def text(self) -> bytes:
        """All figures in Prometheus' text form, of the type ``CONTENT_TYPE``."""
        return generate_latest(self.registry)


class _State:
    """Figures that are looked up when they are fetched."""

    def __init__(self, state: Callable[[], PoolState]) -> None:
        self._state = state

    def describe(self) -> Iterable[Metric]:
        """Their names, without looking anything up."""
        return self._families(PoolState())

    def collect(self) -> Iterable[Metric]:
        """What they are now."""
        return self._families(self._state())

    def _families(self, state: PoolState) -> Iterable[Metric]:
        yield GaugeMetricFamily("ocr_queue_depth", "Tasks that wait for a worker.", state.queued)
        yield GaugeMetricFamily(
            "ocr_workers", "Workers that have loaded their models.", state.workers
        )
        yield CounterMetricFamily(
            "ocr_worker_restarts_total", "Workers that were replaced.", state.restarts
        )
        yield GaugeMetricFamily("ocr_ready", "1 while /readyz says 200.", float(state.ready))
        yield CounterMetricFamily(
            "ocr_log_lines_dropped_total", "Log lines that could not be written.", dropped_lines()
        )
        memory = GaugeMetricFamily(
            "ocr_process_resident_bytes",
            "Memory of a process, on Linux.",
            labels=("process",),
        )
        names = {"service": os.getpid(), **state.pids}
        for name, pid in names.items():
            resident = resident_bytes(pid)
            if resident is not None:
                memory.add_metric((name,), resident)
        yield memory
        yield InfoMetricFamily(
            "ocr_build",
            "What is served.",
            {
                "version": ocr_pipeline.__version__,
                "detector": state.models.get("detector", ""),
                "recognizer": state.models.get("recognizer", ""),
            },
        )
