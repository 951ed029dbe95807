"""The real script on a tiny set: exact files, stop, resume."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import AmpConfig, RecTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError, WeightsError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.golden import golden_lines
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training import train_recognizer
from ocr_pipeline.training.optimizer import learning_rate
from ocr_pipeline.training.precision import choose_precision
from ocr_pipeline.weights.catalog import released_charset
from tests.conftest import Silent

STEPS = 12
"""Enough that a signal after the first one always comes in time."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    folder = tmp_path_factory.mktemp("set")
    rows = []
    for number in range(14):
        text = f"{number * 7919 % 9973:04d}"
        line = np.full((32, 110, 3), 235, np.uint8)
        cv2.putText(line, text, (6, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (30, 30, 30), 2)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        rows.append(f"{number}.png\t{text}")
    (folder / "labels.txt").write_text("\n".join(rows), encoding="utf-8")
    config = PrepareConfig(
        out=folder / "dataset",
        images=folder,
        train_labels=[folder / "labels.txt"],
        val_count=2,
        model="ppocrv6_tiny_rec",
    )
    return prepare(config, released_charset(config.model)).folder


def config(dataset: Path, run_dir: Path, **changes: object) -> RecTrainConfig:
    values = {
        "dataset": dataset,
        "run_dir": run_dir,
        "start": "ppocrv6_tiny_rec",
        "image": {"min_width": 192},
        "steps": STEPS,
        "batch": 4,
        "eval_every": STEPS,
        "log_every": 1,
        "calibration_batches": 1,
    }
    return RecTrainConfig.model_validate(values | changes)


def script(root: Path, settings: RecTrainConfig, *extra: str) -> list[str]:
    path = settings.run_dir.with_suffix(".yaml")
    path.write_text(settings.model_dump_json())
    return [sys.executable, str(root / "scripts/train.py"), "--config", str(path), *extra]


@pytest.fixture(scope="module")
def unbroken(dataset: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> RecTrainConfig:
    settings = config(dataset, tmp_path_factory.mktemp("runs") / "unbroken")
    result = subprocess.run(script(root, settings), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "no effect on CPU" in result.stdout
    assert "next: python scripts/export.py" in result.stdout
    return settings


def losses(run_dir: Path) -> dict[int, float]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row["total"] for row in rows if "total" in row}


def test_a_run_leaves_exactly_these_files(unbroken: RecTrainConfig) -> None:
    run = unbroken.run_dir
    golden = ["golden/00.png", "golden/01.png"]
    best = {"charset.txt", "checkpoint.json", "model.safetensors", *golden}
    steps = sorted(path.name for path in run.iterdir())
    reports = {"report.html", "report.json"}
    assert set(steps) == reports | {"metrics.jsonl", "step-000000", f"step-{STEPS:06d}"}
    last = run / f"step-{STEPS:06d}"
    files = {p.relative_to(last).as_posix() for p in last.rglob("*") if p.is_file()}
    assert files == best | {"train_state.safetensors"}
    assert sorted(losses(run)) == list(range(1, STEPS + 1))
    checkpoint = Checkpoint.load(run)
    assert checkpoint.card.started_from == "ppocrv6_tiny_rec"
    assert checkpoint.card.model.image.min_width == 192


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(
    number: signal.Signals,
    unbroken: RecTrainConfig,
    dataset: Path,
    root: Path,
    tmp_path: Path,
) -> None:
    settings = config(dataset, tmp_path / "stopped")
    process = subprocess.Popen(script(root, settings), stderr=subprocess.PIPE, text=True)
    log = settings.run_dir / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and '"total"' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert f"of {STEPS}; saved in {settings.run_dir}" in stderr
    assert "--resume" in stderr
    stopped_at = max(losses(settings.run_dir))
    assert stopped_at < STEPS
    result = subprocess.run(
        script(root, settings, "--resume"), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert losses(settings.run_dir) == losses(unbroken.run_dir)
    expected = Checkpoint.load(unbroken.run_dir / f"step-{STEPS:06d}").weights()
    found = Checkpoint.load(settings.run_dir / f"step-{STEPS:06d}").weights()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_run_in_use_or_empty_or_done_says_what_to_do(
    unbroken: RecTrainConfig, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="holds a run already; say --resume"):
        train_recognizer(unbroken, Silent())
    with pytest.raises(TrainingError, match="no checkpoint to resume from"):
        train_recognizer(config(dataset, tmp_path / "new"), Silent(), resume=True)
    with pytest.raises(TrainingError, match=f"has {STEPS} of {STEPS} steps already; raise steps"):
        train_recognizer(unbroken, Silent(), resume=True)


def test_a_detector_or_another_character_set_cannot_be_trained_on_lines(
    dataset: Path, tmp_path: Path
) -> None:
    detector = config(dataset, tmp_path / "a", start="ppocrv6_tiny_det")
    with pytest.raises(TrainingError, match="'ppocrv6_tiny_det' is a detector"):
        train_recognizer(detector, Silent())
    other = config(dataset, tmp_path / "b", start="ppocrv6_small_rec")
    with pytest.raises(WeightsError, match="18710 classes, the dataset 6906 .*prepare again"):
        train_recognizer(other, Silent())


def test_a_bucket_too_narrow_for_a_label_is_said_before_training(
    dataset: Path, tmp_path: Path
) -> None:
    narrow = {"height": 48, "min_width": 16, "width_step": 8, "max_width": 24}
    with pytest.raises(TrainingError, match="needs . time steps, its bucket of 24 px gives 3"):
        train_recognizer(config(dataset, tmp_path / "run", image=narrow), Silent())


def test_a_broken_checkpoint_names_all_that_is_missing(
    unbroken: RecTrainConfig, root: Path, tmp_path: Path
) -> None:
    source = unbroken.run_dir / f"step-{STEPS:06d}"
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "checkpoint.json").write_bytes((source / "checkpoint.json").read_bytes())
    with pytest.raises(ArtifactError) as caught:
        Checkpoint.load(broken)
    for name in ("model.safetensors", "charset.txt", "golden/00.png", "train_state.safetensors"):
        assert name in str(caught.value)


def test_the_rate_warms_up_and_falls_to_zero(dataset: Path, tmp_path: Path) -> None:
    optim = config(dataset, tmp_path).optim.model_copy(update={"lr": 1.0, "warmup_steps": 10})
    rates = [learning_rate(step, steps=100, config=optim) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_mixed_precision_on_cpu_is_said_and_not_pretended() -> None:
    chosen = choose_precision(AmpConfig(), "cpu")
    assert chosen.dtype == "float32"
    assert "no effect on CPU" in chosen.reason
    assert not chosen.scaler().is_enable()


def test_a_charset_is_what_a_released_model_has(released_weights: None) -> None:
    charset = released_charset("ppocrv6_tiny_rec")
    assert charset.classes == 6906
    assert isinstance(charset, Charset)
    assert len(golden_lines()) == 4
