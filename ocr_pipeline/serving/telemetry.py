"""What the reading processes do goes into figures, traces and the request's record."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ocr_pipeline.config.logs import TraceConfig
from ocr_pipeline.errors import (
    ConfigError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from ocr_pipeline.inference.orientation import OrientedLine
from ocr_pipeline.serving.jobs import TaskTimes
from ocr_pipeline.serving.messages import LinesReading, PageReading, Task
from ocr_pipeline.serving.metrics import Metrics, PoolState, Refusal
from ocr_pipeline.serving.pool import OverloadedError, WorkerLostError, WorkerPool
from ocr_pipeline.serving.records import current_record

if TYPE_CHECKING:
    from ocr_pipeline.serving.tracing import Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Telemetry:
    """Is told by the pool what became of each task, in the context of its request.

    Args:
        metrics: counts.
        tracing: makes spans; None: there are no traces.
        keep_text: note what was read in the request's record, for the log.
    """

    def __init__(self, metrics: Metrics, tracing: "Tracing | None", *, keep_text: bool) -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._keep_text = keep_text

    def ended(self, task: Task[Any], times: TaskTimes, outcome: Any) -> None:
        """A task has ended; ``outcome`` is its result, or the exception that it ended with."""
        if times.handed_s is not None:
            self._metrics.waited(times.handed_s - times.asked_s)
        fault = outcome if isinstance(outcome, Exception) else None
        steps: Mapping[str, float] = {}
        if isinstance(outcome, PageReading):
            steps = outcome.text.milliseconds
            self._page(outcome)
        elif isinstance(outcome, LinesReading):
            self._lines(outcome.lines)
        elif fault is not None:
            _note_failure(fault)
        if self._tracing is not None:
            self._tracing.task(
                type(task).__name__,
                asked_s=times.asked_s,
                handed_s=times.handed_s,
                ended_s=times.ended_s,
                steps=steps,
                fault=fault,
            )

    def batched(self, lines: int, capacity: int) -> None:
        """So many lines are recognised together, of so many that could be."""
        self._metrics.batch(lines, capacity)

    def _page(self, reading: PageReading) -> None:
        text = reading.text
        self._metrics.read(
            pages=1,
            lines=len(text.lines),
            characters=sum(len(line.text) for line in text.lines),
            dropped=text.dropped,
            milliseconds=text.milliseconds,
        )
        record = current_record()
        if record is not None:
            record.pages += 1
            if self._keep_text:
                record.texts.append(text.text)

    def _lines(self, outcomes: Sequence[OrientedLine | ImageError]) -> None:
        lines = [line for line in outcomes if not isinstance(line, Exception)]
        self._metrics.read(
            pages=0,
            lines=len(lines),
            characters=sum(len(line.text) for line in lines),
            dropped={},
            milliseconds={},
        )
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                _note_failure(outcome)
        record = current_record()
        if record is not None and self._keep_text:
            record.texts += [line.text for line in lines]


def pool_state(pool: WorkerPool) -> PoolState:
    """What the figures say of the pool now."""
    return PoolState(
        queued=pool.queued,
        workers=pool.loaded,
        restarts=pool.restarts,
        ready=pool.status == "ready",
        pids=pool.pids,
        models={role: model.label for role, model in pool.models.items()},
    )


def open_tracing(config: TraceConfig) -> "Tracing | None":
    """Begin to trace, where the config or the environment names a collector.

    Raises:
        ConfigError: it does, and OpenTelemetry is not installed.
    """
    if config.endpoint is None and not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    try:
        from ocr_pipeline.serving.tracing import Tracing
    except ImportError as error:
        raise ConfigError(
            f"trace.endpoint {config.endpoint or 'of the environment'}: OpenTelemetry is not "
            f"installed ({error}); pip install 'ocr_pipeline[trace]', or set no endpoint"
        ) from None
    return Tracing(config)


def _note_failure(error: Exception) -> None:
    record = current_record()
    if record is not None:
        record.failures[_reason(error)] += 1


def _reason(error: Exception) -> Refusal:
    reasons: tuple[tuple[type[Exception], Refusal], ...] = (
        (ImageTooLargeError, "too_large"),
        (UnsupportedImageError, "unsupported"),
        (ImageError, "unreadable"),
        (OverloadedError, "busy"),
        (TimeoutError, "timeout"),
        (WorkerLostError, "worker_lost"),
    )
    return next((reason for kind, reason in reasons if isinstance(error, kind)), "fault")
