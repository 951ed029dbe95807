"""The file for Locust: it compiles; where Locust is installed, it runs against a service."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ocr_pipeline.benchmarks.server_apis import OURS
from tests.benchmarks.test_serve import Fake, running

FILE = "deploy/load/locustfile.py"


def test_locust_file_compiles_and_asks_the_route_of_the_service(root: Path) -> None:
    text = (root / FILE).read_text("utf-8")
    compile(text, FILE, "exec")
    assert f'"{OURS.route}"' in text


def test_locust_counts_what_is_not_the_first_text_as_a_failure(root: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("locust") is None:
        pytest.skip("locust is not installed")
    (tmp_path / "page.png").write_bytes(b"any")
    words = ["-f", str(root / FILE), "--headless", "-u", "1", "--json"]
    for texts, code in ((["same"], 0), (["one", "other"], 1)):
        with running(Fake(texts)) as url:
            done = subprocess.run(
                [sys.executable, "-m", "locust", *words, "-t", "3s", "--host", url],
                env={**os.environ, "OCR_PICTURES": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == code, done.stderr
        [figures] = json.loads(done.stdout)
        assert figures["num_requests"] > 1
        assert (figures["num_failures"] > 0) == (code == 1)
