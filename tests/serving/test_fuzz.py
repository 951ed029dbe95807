"""Bodies that mean harm, sent to a real service: no crash, no fault of ours, memory bounded."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.serving.fuzzing import attack, bodies, restarts, tiff_bomb
from tests.serving.servers import Server, needs_proc, ready

SERVICE_MB = 600
"""Its own process: a few files of 20 MB and what is answered."""
WORKER_MB = 1500
"""A reading process: 10,000 bodies took it to 609 MB, pictures of 36 megapixels among them."""


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
    first, again, other = (list(bodies(60, seed, ["a", "b"])) for seed in (3, 3, 4))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True) if one.kind != "whole")


def test_the_deflated_bomb_goes_off() -> None:
    """Where nothing stops it."""
    with Image.open(io.BytesIO(tiff_bomb())) as picture:
        picture.load()
        assert picture.size == (3000, 3000)


def withstands(server: Server, texts: list[str], count: int, seed: int) -> None:
    outcome = attack(server, bodies(count, seed, texts))
    assert outcome.faults == []
    assert outcome.statuses.total() == count
    answered = {status for _, status in outcome.statuses}
    assert {200, 413, 415, 422} <= answered <= {200, 400, 405, 413, 415, 422}
    assert outcome.statuses["whole", 200] == count // 20
    assert server.process.poll() is None
    assert restarts(server) == 0
    assert "Traceback" not in server.log()
    service_mb, worker_mb, _ = (max(values) for values in zip(*outcome.memory_mb, strict=True))
    assert service_mb < SERVICE_MB
    assert worker_mb < WORKER_MB


@needs_proc
def test_three_hundred_bodies_do_no_harm(server: Server, texts: list[str]) -> None:
    withstands(server, texts, 300, 0)


@needs_proc
@pytest.mark.slow
@pytest.mark.long
def test_two_thousand_bodies_do_no_harm(server: Server, texts: list[str]) -> None:
    withstands(server, texts, 2000, 1)
