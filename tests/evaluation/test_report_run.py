"""The report of a run on disk, with released weights in the place of trained ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ocr_pipeline.artifacts.checkpoint import Checkpoint, step_folder
from ocr_pipeline.artifacts.dataset import (
    CARD_NAME,
    Dataset,
    DetSample,
    RecSample,
    Region,
    SourceCard,
)
from ocr_pipeline.assets import sha256_of
from ocr_pipeline.cli_report import report
from ocr_pipeline.config.sources import Task
from ocr_pipeline.errors import DataError
from ocr_pipeline.evaluation.report_run import report_run
from ocr_pipeline.weights.source import load_trainable
from ocr_pipeline.weights.tensors import get_weights
from tests.evaluation.reports import Elements


def drawn(path: Path, text: str, size: tuple[int, int], at: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 240, np.uint8)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (30, 30, 30), 2)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def dataset(folder: Path, task: Task) -> Path:
    samples: list[RecSample | DetSample] = []
    for text in ("1234", "5678", "9012"):
        name = f"{text}.png"
        if task == "rec":
            drawn(folder / name, text, (32, 110), (6, 25))
            samples.append(RecSample(name, text, 32, 110))
        else:
            drawn(folder / name, text, (96, 160), (40, 56))
            box = ((38.0, 32.0), (118.0, 32.0), (118.0, 60.0), (38.0, 60.0))
            samples.append(DetSample(name, 96, 160, (Region(box, text),)))
    model = load_trainable("ppocrv6_tiny_rec") if task == "rec" else None
    return Dataset.write(
        folder / "dataset",
        task=task,
        sources=[SourceCard(name="drawn", images=str(folder))],
        splits={"train": samples[:1], "val": samples[1:]},
        charset=None if model is None else model.charset,
        config={},
        made_by={},
    ).folder


def add_step(run: Path, step: int, data: Path, model: str, metric: float) -> None:
    start = load_trainable(model)
    Checkpoint.write(
        step_folder(run, step),
        model=start.spec,
        weights=get_weights(start.network),
        train_state=None,
        charset=start.charset,
        golden=start.golden,
        step=step,
        metrics={"main": metric},
        main_metric="main",
        started_from=model,
        dataset=sha256_of(data / CARD_NAME),
        config={"dataset": str(data), "start": model, "steps": 4, "optim": {"lr": 1e-4}},
        made_by={"python": "3"},
    )


def test_a_recognizer_and_its_start_model(tmp_path: Path, released_weights: None) -> None:
    data, run = dataset(tmp_path, "rec"), tmp_path / "run"
    add_step(run, 4, data, "ppocrv6_tiny_rec", 50.0)
    (run / "metrics.jsonl").write_text('{"step": 1, "total": 3.0}\n{"step": 4, "total": 2.0}\n')
    app = typer.Typer()
    app.command()(report)
    result = CliRunner().invoke(app, [str(run)])
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    values = json.loads((run / "report.json").read_text("utf-8"))
    assert (values["task"], values["lines"], values["best_step"]) == ("rec", 2, 4)
    assert values["before"] == "start model ppocrv6_tiny_rec"  # step 0 was not kept
    assert (values["mended"], values["broken"]) == (0, 0)
    assert values["facts"]["peak learning rate"] == "0.0001"
    assert "note" not in values["facts"]
    found = Elements((run / "report.html").read_text("utf-8"))
    assert "Training run: run" in found.text
    assert "Curves" in found.text
    assert "was chosen on these very lines" in found.text


def test_a_detector_with_step_0_on_another_dataset(tmp_path: Path, released_weights: None) -> None:
    data, run = dataset(tmp_path, "det"), tmp_path / "run"
    add_step(run, 0, data, "ppocrv6_tiny_det", 40.0)
    add_step(run, 4, data, "ppocrv6_tiny_det", 50.0)
    page = report_run(run)
    values = json.loads((run / "report.json").read_text("utf-8"))
    assert (values["task"], values["pages"], values["regions"]) == ("det", 2, 2)
    assert (values["before"], values["after"]) == ("step 0", "best, step 4")
    assert values["metrics"][2]["change"]["value"] == 0
    other = tmp_path / "other"
    other.mkdir()
    report_run(run, before="ppocrv6_tiny_det", dataset=dataset(other, "det"))
    values = json.loads((run / "report.json").read_text("utf-8"))
    assert values["before"] == "ppocrv6_tiny_det"
    assert "not the one that the run was trained on" in values["facts"]["note"]
    assert "was chosen on these very" not in page.read_text("utf-8")


def test_an_empty_validation_part_is_refused(tmp_path: Path, released_weights: None) -> None:
    data, run = dataset(tmp_path, "det"), tmp_path / "run"
    add_step(run, 4, data, "ppocrv6_tiny_det", 50.0)
    empty = Dataset.write(
        tmp_path / "empty",
        task="det",
        sources=[SourceCard(name="drawn", images=str(tmp_path))],
        splits={"train": [], "val": []},
        charset=None,
        config={},
        made_by={},
    )
    with pytest.raises(DataError, match="its validation part is empty"):
        report_run(run, dataset=empty.folder)
