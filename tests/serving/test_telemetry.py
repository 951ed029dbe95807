"""What becomes of the news of a task: figures, the request's record, its line in the log."""

import asyncio
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from ocr_pipeline.config.logs import TraceConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.errors import (
    ConfigError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from ocr_pipeline.inference.orientation import OrientedLine
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.serving.jobs import TaskTimes
from ocr_pipeline.serving.messages import LinesReading, PageReading, ReadLines, ReadPage
from ocr_pipeline.serving.metrics import Metrics, PoolState, Refusal
from ocr_pipeline.serving.observe import Observe
from ocr_pipeline.serving.pool import OverloadedError, WorkerLostError
from ocr_pipeline.serving.records import RequestRecord, recorded
from ocr_pipeline.serving.telemetry import Telemetry, open_tracing
from ocr_pipeline.serving.worker import ReadingError

TIMES = TaskTimes(asked_s=1.0, handed_s=1.25, ended_s=2.0)
CORNERS = np.zeros((4, 2), np.float32)


def page(*texts: str, dropped: Mapping[str, int] | None = None) -> PageReading:
    lines = [ReadLine(t, 0.9, CORNERS, 0.8, row, turned=False) for row, t in enumerate(texts)]
    text = PageText(lines, 10, 10, {**(dropped or {})}, {"detect": 30.0})
    return PageReading(text, None, None, {})


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(PoolState)


def test_a_page_is_counted_and_its_text_kept_only_where_it_is_wanted(metrics: Metrics) -> None:
    kept, left = RequestRecord("a"), RequestRecord("b")
    for record, keep in ((kept, True), (left, False)):
        with recorded(record):
            telemetry = Telemetry(metrics, None, keep_text=keep)
            telemetry.ended(ReadPage(b""), TIMES, page("合计", "128", dropped={"no_text": 3}))
    assert (kept.texts, kept.pages) == (["合计\n128"], 1)
    assert (left.texts, left.pages) == ([], 1)
    assert value(metrics, "ocr_pages_total") == 2
    assert value(metrics, "ocr_lines_total") == 4
    assert value(metrics, "ocr_characters_total") == 10
    assert value(metrics, "ocr_dropped_regions_total", reason="no_text") == 6
    assert value(metrics, "ocr_step_seconds_sum", step="detect") == pytest.approx(0.06)
    assert value(metrics, "ocr_queue_wait_seconds_sum") == 0.5


def test_lines_are_counted_and_those_that_are_none_are_failures(metrics: Metrics) -> None:
    record = RequestRecord("a")
    outcomes = LinesReading([OrientedLine("合计", 0.9), UnsupportedImageError("no picture")], {})
    with recorded(record):
        Telemetry(metrics, None, keep_text=True).ended(ReadLines((b"", b"")), TIMES, outcomes)
    assert (record.texts, record.pages, record.failures) == (["合计"], 0, {"unsupported": 1})
    assert value(metrics, "ocr_lines_total") == 1
    assert value(metrics, "ocr_pages_total") == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImageTooLargeError("a"), "too_large"),
        (UnsupportedImageError("a"), "unsupported"),
        (ImageError("a"), "unreadable"),
        (OverloadedError("a"), "busy"),
        (TimeoutError(), "timeout"),
        (WorkerLostError("a"), "worker_lost"),
        (ReadingError("a"), "fault"),
    ],
)
def test_a_failure_has_its_reason(metrics: Metrics, error: Exception, reason: str) -> None:
    record = RequestRecord("a")
    with recorded(record):
        Telemetry(metrics, None, keep_text=True).ended(ReadPage(b""), TIMES, error)
    assert record.failures == {reason: 1}
    assert value(metrics, "ocr_pages_total") == 0


def test_a_task_that_no_worker_got_has_not_waited_and_outside_of_a_request_nothing_breaks(
    metrics: Metrics,
) -> None:
    telemetry = Telemetry(metrics, None, keep_text=True)
    telemetry.ended(ReadPage(b""), TaskTimes(1.0, None, 2.0), TimeoutError())
    telemetry.ended(ReadPage(b""), TaskTimes(1.0, None, 2.0), None)  # its client went away
    telemetry.ended(ReadPage(b""), TIMES, page("合计"))
    assert value(metrics, "ocr_queue_wait_seconds_count") == 1


def test_text_and_reasons_stand_in_the_line_of_the_request(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    telemetry = Telemetry(metrics, None, keep_text=True)

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        telemetry.ended(ReadPage(b""), TIMES, page("合计"))
        # A generator that streams its answer does so in a task of its own.
        failed = asyncio.to_thread(telemetry.ended, ReadPage(b""), TIMES, TimeoutError())
        await asyncio.create_task(failed)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def nothing(_message: Any = None) -> Any:
        return {}

    scope = {"type": "http", "method": "POST", "path": "/v1/ocr", "headers": [], "client": None}
    asyncio.run(Observe(reads, metrics=metrics, paths=["/v1/ocr"])(scope, nothing, nothing))
    fields = vars(caplog.records[-1])["fields"]
    assert fields["text"] == ["合计"]
    assert (fields["pages"], fields["refused"], fields["client"]) == (1, {"timeout": 1}, "unknown")
    assert value(metrics, "ocr_refusals_total", reason="timeout") == 1


def test_batches_have_a_fill(metrics: Metrics) -> None:
    for lines in (1, 4, 8):
        metrics.batch(lines, 8)
    assert value(metrics, "ocr_batch_fill_bucket", le="0.5") == 2
    assert value(metrics, "ocr_batch_fill_sum") == pytest.approx(13 / 8)


def test_two_services_in_one_process_have_figures_of_their_own(metrics: Metrics) -> None:
    other = Metrics(PoolState)
    metrics.refused({"key": 1})
    assert value(other, "ocr_refusals_total", reason="key") == 0


def test_no_endpoint_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert open_tracing(ServeConfig().trace) is None


@pytest.mark.parametrize("where", ["config", "environment"])
def test_an_endpoint_without_opentelemetry_is_an_error_at_the_start(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setitem(sys.modules, "ocr_pipeline.serving.tracing", None)
    endpoint = "http://localhost:4318/v1/traces"
    config = TraceConfig(endpoint=endpoint if where == "config" else None)
    if where == "environment":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with pytest.raises(ConfigError, match=r"trace.endpoint .*pip install 'ocr_pipeline\[trace\]'"):
        open_tracing(config)


def documented() -> list[tuple[str, tuple[str, ...], str]]:
    """Name, labels and meaning of each figure, as the registry has them."""
    metrics = Metrics(PoolState)
    metrics.request("/", "GET", 200, 1.0)
    metrics.refused({"key": 1})
    metrics.read(pages=1, lines=1, characters=1, dropped={"a": 1}, milliseconds={"a": 1.0})
    metrics.waited(1.0)
    metrics.batch(1, 1)
    rows = []
    for family in metrics.registry.collect():
        ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = dict.fromkeys(name for s in family.samples for name in s.labels if name != "le")
        rows.append((f"{family.name}{ending}", tuple(labels), family.documentation))
    return rows


def test_the_docs_name_each_figure_with_its_labels_and_each_reason(root: Path) -> None:
    text = (root / "docs/operations.md").read_text("utf-8")
    table = re.findall(r"^\| `(ocr_\w+)` \| (.*?) ?\| (.*) \|$", text, re.MULTILINE)
    told = [(name, tuple(re.findall("`(.*?)`", labels)), what) for name, labels, what in table]
    assert told == documented()
    [reasons] = re.findall(r"Reasons of `ocr_refusals_total`: (.*?)\. ", text)
    assert re.findall("`(.*?)`", reasons) == [*get_args(Refusal)]
