"""PaddlePaddle's own clients of its OCR server ask ours; only the address is another."""

import json
import subprocess
from pathlib import Path

import pytest

from ocr_pipeline.benchmarks.environments import REQUIREMENTS, peer_python
from ocr_pipeline.errors import AssetError
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair
from tests.serving.servers import png, ready

CLIENTS = Path(__file__).with_name("official_clients.py")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_they_read_what_the_reader_reads(exported_tiny: ExportedPair, tmp_path: Path) -> None:
    try:
        python = peer_python(REQUIREMENTS / "peers-paddleocr-mcp.txt")
    except AssetError as error:
        pytest.skip(str(error))
    page = golden_pages()[0]
    expected = [
        line.text for line in OcrReader.load(exported_tiny.det, exported_tiny.rec).read(page).lines
    ]
    (tmp_path / "page.png").write_bytes(png(page))
    models = (f"detector={exported_tiny.det}", f"recognizer={exported_tiny.rec}")
    with ready(tmp_path / "log", *models) as server:
        address = str(server.client.base_url).rstrip("/")
        done = subprocess.run(
            [str(python), str(CLIENTS), address, str(tmp_path / "page.png")],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for text in expected:
        assert text in found["self_hosted"]
    typed = found["typed"]
    assert typed["texts"] == expected
    assert typed["words"] == len(expected) > 1
    assert (typed["status"], typed["log_id"]) == (200, "mine")
    assert typed["picture"] == "ffd8ff"  # JPEG
    assert typed["refused"] == [422, 422]
