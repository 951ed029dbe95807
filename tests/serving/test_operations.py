"""What those who run the service rely on, seen on a service that is run: logs, figures, keys."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.serving.keys import new_key
from tests.conftest import ExportedPair
from tests.serving.servers import START_S, Server, png, started, worker_of


@dataclass(frozen=True)
class Operated:
    """A service with one key, a log file and figures.

    Attributes:
        server: that runs.
        key: of alice.
        folder: where ``serve.log`` is.
    """

    server: Server
    key: str
    folder: Path

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.server.client.request(method, path, headers=headers, **options)

    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "serve.log").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def line_of(self, request_id: str) -> dict[str, Any]:
        """The line of a request; it is written after its answer."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [
                line
                for line in self.lines()
                if line.get("request_id") == request_id and line["event"] == "request"
            ]
            return bool(found)

        self.server.wait(is_there)
        [line] = found
        return line

    def figures(self) -> dict[str, float]:
        return figures(self.send("GET", "/metrics").text)


def figures(text: str) -> dict[str, float]:
    """Value of each series, by name and labels."""
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {
        sample.name + "".join(f" {k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for sample in samples
    }


@pytest.fixture(scope="module")
def operated(
    exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operated")
    key, line = new_key("alice")
    (folder / "keys.txt").write_text(line)
    words = (
        f"detector={exported_tiny.det}",
        f"recognizer={exported_tiny.rec}",
        f"access.keys_file={folder / 'keys.txt'}",
        f"logs.file={folder / 'serve.log'}",
    )
    # The command line says more than the environment does.
    variables = {"OCR_SERVE__LOGS__LEVEL": "debug", "OCR_SERVE__DETECTOR": "/none"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with started(folder / "stderr", *words) as server:
            server.wait(lambda: server.status("/readyz") == 200, START_S)
            yield Operated(server, key, folder)


def test_a_reading_leaves_one_line_with_its_id_and_none_of_its_text(operated: Operated) -> None:
    headers = {"Authorization": f"Bearer {operated.key}", "X-Request-ID": "order-7"}
    content = png(golden_pages()[0])
    files = {"file": ("private-name.png", content)}
    answer = operated.server.client.post("/v1/ocr", headers=headers, files=files)
    assert answer.headers["X-Request-ID"] == "order-7"
    line = operated.line_of("order-7")
    assert line["bytes_in"] > len(content)
    assert line["bytes_out"] == len(answer.content)
    assert {name: line[name] for name in ("level", "method", "route", "status", "key")} == {
        "level": "info",
        "method": "POST",
        "route": "/v1/ocr",
        "status": 200,
        "key": "alice",
    }
    assert (line["pages"], line["client"]) == (1, "127.0.0.1")
    log = (operated.folder / "serve.log").read_text("utf-8")
    words = [word for word in answer.json()["text"].split() if len(word) > 7]
    assert len(words) == 3
    for text in [*words, "private-name", operated.key]:
        assert text not in log


def test_probes_are_in_the_log_since_the_environment_asks_for_debug(operated: Operated) -> None:
    answer = operated.server.client.get("/readyz")
    assert operated.line_of(answer.headers["X-Request-ID"])["level"] == "debug"


def test_the_server_and_the_workers_log_in_the_same_form(operated: Operated) -> None:
    lines = operated.lines()
    assert {"event", "level", "logger", "timestamp"} <= set.intersection(*(set(n) for n in lines))
    assert any(line["logger"] == "uvicorn.error" for line in lines)
    assert any("worker" in line for line in lines)
    assert operated.server.log() == ""


def test_without_the_key_only_the_probes_answer(operated: Operated) -> None:
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        assert operated.server.status(path) == 401
        assert operated.send("GET", path).status_code == 200


def test_the_figures_follow_what_is_read(operated: Operated) -> None:
    before = operated.figures()
    answers = [
        operated.send("POST", "/v1/ocr", files={"file": ("page", png(page))})
        for page in golden_pages()
    ]
    pages = [answer.json()["pages"][0] for answer in answers]
    assert operated.send("POST", "/v1/ocr", files={"file": ("page", b"no")}).status_code == 415
    after = operated.figures()
    grown = Counter({name: after[name] - before.get(name, 0) for name in after})
    lines = [line for page in pages for line in page["lines"]]
    assert grown["ocr_pages_total"] == 2
    assert grown["ocr_lines_total"] == len(lines)
    assert grown["ocr_characters_total"] == sum(len(line["text"]) for line in lines)
    assert grown["ocr_requests_total method=POST route=/v1/ocr status=200"] == 2
    assert grown["ocr_requests_total method=POST route=/v1/ocr status=415"] == 1
    assert grown["ocr_refusals_total reason=unsupported"] == 1
    assert grown["ocr_queue_wait_seconds_count"] == 3
    # Each line is in a batch, some in a second one, turned.
    batches = grown["ocr_batch_fill_count"]
    assert 2 <= batches <= 2 * len(lines)
    assert 0 < grown["ocr_batch_fill_sum"] <= batches
    for step, wall in pages[0]["milliseconds"].items():
        wall += pages[1]["milliseconds"][step]
        assert grown[f"ocr_step_seconds_count step={step}"] == 2
        assert grown[f"ocr_step_seconds_sum step={step}"] == pytest.approx(wall / 1000, abs=2e-4)
    dropped = sum((Counter(page["dropped"]) for page in pages), Counter())
    for reason, regions in dropped.items():
        assert grown[f"ocr_dropped_regions_total reason={reason}"] == regions
    assert (after["ocr_ready"], after["ocr_workers"], after["ocr_queue_depth"]) == (1, 1, 0)
    assert after["ocr_worker_restarts_total"] == before["ocr_worker_restarts_total"]
    for process in ("service", "worker-0"):
        assert 10e6 < after[f"ocr_process_resident_bytes process={process}"] < 8e9
    [build] = [name for name in after if name.startswith("ocr_build_info")]
    models = operated.send("GET", "/v1/models").json()
    assert f"detector={models['detector']['name']} (" in build


def test_each_file_that_cannot_be_read_is_counted_though_the_answer_is_200(
    operated: Operated,
) -> None:
    before = operated.figures()
    line = png(golden_lines()[0])
    parts = [("files", ("1", line)), ("files", ("2", b"no")), ("files", ("3", b"neither"))]
    read = operated.send("POST", "/v1/recognize", files=parts)
    batch = operated.send("POST", "/v1/ocr/batch", files=parts)
    assert (read.status_code, batch.status_code) == (200, 200)
    noted = [operated.line_of(answer.headers["X-Request-ID"]) for answer in (read, batch)]
    name = "ocr_refusals_total reason=unsupported"
    assert operated.figures()[name] - before.get(name, 0) == 4
    assert [line["refused"] for line in noted] == [{"unsupported": 2}] * 2
    assert [line["pages"] for line in noted] == [0, 1]


def test_a_worker_that_is_replaced_is_counted(operated: Operated) -> None:
    before = operated.figures()["ocr_worker_restarts_total"]
    os.kill(worker_of(operated.server), 9)
    operated.server.wait(
        lambda: operated.figures()["ocr_worker_restarts_total"] == before + 1, START_S
    )
    operated.server.wait(lambda: operated.server.status("/readyz") == 200, START_S)
    assert any("was ended by SIGKILL" in line["event"] for line in operated.lines())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_without_room_for_logs_stops_no_request(
    exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    words = (
        f"detector={exported_tiny.det}",
        f"recognizer={exported_tiny.rec}",
        "logs.file=/dev/full",
    )
    with started(tmp_path / "stderr", *words) as server:
        server.wait(lambda: server.status("/readyz") == 200, START_S)
        for page in golden_pages():
            assert server.post(png(page)).status_code == 200
        told = server.log()
        dropped = figures(server.client.get("/metrics").text)["ocr_log_lines_dropped_total"]
    assert dropped >= 2
    assert told.count("\n") == 1
    assert re.match(r"logs: /dev/full cannot be written \(No space left on device\)", told)


def test_an_unknown_variable_of_ours_stops_the_service_and_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_SERVE__ENGINE__THREAD", "2")
    words = [sys.executable, "-m", "ocr_pipeline", "serve"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=START_S)
    assert result.returncode == 2
    assert (
        "OCR_SERVE__ENGINE__THREAD: unknown key (did you mean OCR_SERVE__ENGINE__THREADS?)"
        in " ".join(result.stderr.split())
    )
