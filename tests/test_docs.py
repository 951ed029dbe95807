"""Every command of the documentation runs: as it stands, in a folder like the project's own.

To be fast, training is cut to two steps of the tiny network; nothing else is changed.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from ocr_pipeline.config import load_config
from ocr_pipeline.config.serve import ServeConfig

PAGES = [
    "README.md",
    "docs/client.md",
    "docs/deploy.md",
    "docs/distributed.md",
    "docs/doctor.md",
    "docs/documents.md",
    "docs/evaluation.md",
    "docs/export.md",
    "docs/linter.md",
    "docs/lite.md",
    "docs/load.md",
    "docs/loader.md",
    "docs/networks.md",
    "docs/operations.md",
    "docs/orientation.md",
    "docs/packs.md",
    "docs/paddle26.md",
    "docs/paddlex.md",
    "docs/pipeline.md",
    "docs/recipes.md",
    "docs/reliability.md",
    "docs/replay.md",
    "docs/report.md",
    "docs/service.md",
    "docs/sources.md",
    "docs/speed.md",
    "docs/storage.md",
    "docs/suspects.md",
    "docs/synthesis.md",
    "docs/training.md",
    "docs/web.md",
]
FASTER = {
    "prepare": ["model=ppocrv6_tiny_rec", "val_count=4", "replay=null"],
    "train": ["start=ppocrv6_tiny_rec", "steps=2", "batch=2", "calibration_batches=1"],
    "train-det": ["start=ppocrv6_tiny_det", "steps=2", "batch=2", "calibration_batches=1"],
    "render": ["train_lines=20", "val_lines=4", "train_pages=2", "val_pages=1"],
    "benchmark train-step": ["--steps=1", "--warmup=0", "--batch=2", "--width=64"],
    "benchmark pages": ["--drawn=1", "--rounds=1", "--warmup=0"],
    "benchmark loader": ["--steps=1", "--warmup=1", "--batch=2", "--batches=2"],
    "benchmark serve": [
        "--seconds=0.1",
        "--rounds=1",
        "--set=detector=ppocrv6_tiny_det",
        "--set=recognizer=ppocrv6_tiny_rec",
    ],
    "benchmark loader-memory": ["--lines=300,600", "--batches=3"],
}
NOT_RUN = {
    "make demo": "CI runs it",
    "make test": "CI runs it",
    "source .venv/bin/activate": "the tests run in that environment",
    "make setup-paddle26": "CI runs it",
    "make test-paddle26": "CI runs it",
    "pip install 'ocr_pipeline[trace]'": "the tests run in an environment that has it",
    "pip install 'ocr_pipeline[remote]'": "the tests run in an environment that has it",
    "pip install 'ocr_pipeline[ray]'": "the tests run in an environment that has it",
    "serve run deploy/ray/serve.yaml": "tests/serving/test_ray_serve.py runs it",
}
SERVICE = "127.0.0.1:8000"
NOT_AT_HAND = ("docker", "kubectl")
OTHER_ENVIRONMENT = ".venv-paddle26/"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[str]:
    found = [line for b in blocks(path.read_text("utf-8"), "bash") for line in b.splitlines()]
    return [line for line in found if line]


def test_both_readmes_give_the_same_commands(root: Path) -> None:
    assert commands(root / "README.md") == commands(root / "README.zh-CN.md")
    english, chinese = (
        blocks((root / name).read_text("utf-8"), "python")
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese


def test_ci_runs_the_two_commands_of_the_readme(root: Path) -> None:
    ci = (root / ".ci/run").read_text().splitlines()
    assert "make demo" in ci
    assert "make test" in ci


def test_links_between_pages_lead_somewhere(root: Path) -> None:
    for page in [*PAGES, "README.zh-CN.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", (root / page).read_text("utf-8")):
            assert ((root / page).parent / target).exists(), f"{page}: {target}"


def test_the_compose_file_starts_the_image_with_settings_that_exist(root: Path) -> None:
    service = yaml.safe_load((root / "deploy/compose.yaml").read_text())["services"]["ocr"]
    entrypoint = re.search(r"^ENTRYPOINT (\[.*\])$", (root / "Dockerfile").read_text(), re.M)
    assert entrypoint is not None
    words = [*json.loads(entrypoint[1]), *service["command"]]
    config = root / words[words.index("--config") + 1]
    overrides = [word for word in words if "=" in word]
    settings = load_config(TypeAdapter(ServeConfig), config, overrides)
    assert settings.host == "0.0.0.0"  # noqa: S104  (inside the container)
    assert {settings.detector, settings.recognizer} == {"/models/det", "/models/rec"}
    assert service["ports"][0].startswith("127.0.0.1:")


def test_scripts_are_short_and_stand_for_a_command(root: Path) -> None:
    for script in (root / "scripts").glob("*.py"):
        text = script.read_text("utf-8")
        assert len(text.splitlines()) <= 25
        assert f'insert(1, "{script.stem}")' in text


@pytest.fixture(scope="module")
def sandbox(root: Path, tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("configs", "scripts", "Dockerfile"):
        (folder / name).symlink_to(root / name)
    run(
        folder,
        "python scripts/render.py --config configs/0_render_demo.yaml "
        "out=data/slips train_lines=24 val_lines=1",
    )
    shutil.move(folder / "data/slips/train.txt", folder / "data/slips/labels.txt")
    shutil.copy(folder / "data/slips/page.png", folder / "page.png")
    run(
        folder,
        "python scripts/render.py --config configs/0_render_display.yaml "
        "out=data/wire_tags train_lines=20 val_lines=2 train_pages=8 val_pages=1",
    )
    for same in ("pages", "game_quest_ui"):
        shutil.copytree(folder / "data/wire_tags", folder / "data" / same)
    shutil.copytree(folder / "data/slips", folder / "data/cn_plates")
    shutil.move(folder / "data/cn_plates/labels.txt", folder / "data/cn_plates/rec_train.txt")
    return folder


def run(folder: Path, command: str) -> str:
    words = shlex.split(command)
    if words[0] == "ocr-pipeline":
        words[:1] = ["python", "-m", "ocr_pipeline"]
    words[0] = sys.executable if words[0] == "python" else words[0]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def run_python(folder: Path, code: str) -> bytes:
    """What a script prints."""
    (folder / "of_the_page.py").write_text(code, encoding="utf-8")
    env = dict(os.environ, PYTHONIOENCODING="utf-8")
    words = [sys.executable, "of_the_page.py"]
    result = subprocess.run(words, cwd=folder, capture_output=True, check=True, env=env)
    return result.stdout.strip()


def ask_served(folder: Path, command: str, later: list[str], codes: list[str]) -> None:
    """Start a service, and give it the commands and the code that speak to it."""
    with served(folder, command) as port:
        address = f"127.0.0.1:{port}"
        for line in later:
            if line.startswith("curl"):
                assert '"lines":[{"text":' in run(folder, line.replace(":8000", f":{port}"))
            elif SERVICE in line:
                assert run(folder, line.replace(SERVICE, address))
        for code in codes:
            if SERVICE in code:
                assert run_python(folder, code.replace(SERVICE, address))


@contextmanager
def served(folder: Path, command: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [sys.executable, *shlex.split(command)[1:], f"port={port}"]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail((folder / "serve.log").read_text())
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_runs(page: str, sandbox: Path, root: Path) -> None:
    lines = commands(root / page)
    # What pages draw has the same names; datasets and runs of the README serve other pages too.
    shutil.rmtree(sandbox / "work/0_pictures", ignore_errors=True)
    for number, line in enumerate(lines):
        words = shlex.split(line)
        if line in NOT_RUN or words[0] in NOT_AT_HAND or words[0].startswith(OTHER_ENVIRONMENT):
            continue
        if words[0] == "curl" or SERVICE in line:
            continue  # runs below, against the service that the page starts
        name = Path(words[1]).stem
        name = f"benchmark {words[2]}" if name == "benchmark" else name
        name = "train" if "paddle.distributed.launch" in words else name
        if name == "serve":
            codes = blocks((root / page).read_text("utf-8"), "python")
            ask_served(sandbox, line, lines[number + 1 :], codes)
            continue
        if name == "train" and "2_train_det_" in line:
            name = "train-det"
        run(sandbox, " ".join([line, *FASTER.get(name, [])]))
    if page == "README.md":
        assert (sandbox / "annotated.png").is_file()
        (python,) = blocks((root / page).read_text("utf-8"), "python")
        assert run_python(sandbox, python)
