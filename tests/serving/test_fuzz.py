"""Bodies that mean harm, sent to a real service: no crash, no fault of ours, memory bounded."""

from collections.abc import Iterator

import pytest

from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.serving.fuzzing import attack, bodies, restarts
from tests.serving.servers import Server, needs_proc, ready

SERVICE_MB = 600
"""Its own process: a few files of 20 MB and what is answered."""


@pytest.fixture(scope="module")
def server(
    exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("fuzz") / "serve.log"
    folders = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with ready(log, *folders) as running:
        yield running


@pytest.fixture(scope="module")
def texts(exported_tiny: ExportedPair) -> list[str]:
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec)
    return [reader.read(page).text for page in golden_pages()]


def test_bodies_are_the_same_for_the_same_seed() -> None:
    first, again = (list(bodies(60, 3, ["a", "b"])) for _ in range(2))
    assert [(b.kind, b.route, len(b.content)) for b in first] == [
        (b.kind, b.route, len(b.content)) for b in again
    ]
    assert first != list(bodies(60, 4, ["a", "b"]))


def withstands(server: Server, texts: list[str], count: int, seed: int) -> None:
    outcome = attack(server, bodies(count, seed, texts))
    assert outcome.faults == []
    assert outcome.statuses.total() == count
    answered = {status for _, status in outcome.statuses}
    assert {200, 413, 415, 422} <= answered <= {200, 400, 405, 413, 415, 422, 502}
    assert outcome.statuses["whole", 200] == count // 20
    assert server.process.poll() is None
    assert restarts(server) == 0
    assert "Traceback" not in server.log()
    service_mb, worker_mb, _ = (max(values) for values in zip(*outcome.memory_mb, strict=True))
    assert service_mb < SERVICE_MB
    assert worker_mb < (ServeConfig().worker_mb or 0)


@needs_proc
def test_three_hundred_bodies_do_no_harm(server: Server, texts: list[str]) -> None:
    withstands(server, texts, 300, 0)


@needs_proc
@pytest.mark.slow
@pytest.mark.long
def test_two_thousand_bodies_do_no_harm(server: Server, texts: list[str]) -> None:
    withstands(server, texts, 2000, 1)
