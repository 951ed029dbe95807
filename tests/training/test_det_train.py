"""A detector's training on drawn pages: files, resume, what is refused, and what becomes of it."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.checkpoint import Checkpoint, latest, step_folders
from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import DetTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError, TrainingInterruptedError
from ocr_pipeline.export import export_model
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training import train_detector
from ocr_pipeline.training.run import check_start
from ocr_pipeline.weights.source import load_trainable
from tests.conftest import Silent

STEPS = 4


def page(number: int) -> tuple[np.ndarray, list[dict[str, object]]]:
    picture = np.full((160, 200, 3), 240, np.uint8)
    regions = []
    for row in range(3):
        left, low = 10 + 7 * (number % 4), 40 + 48 * row
        text = f"{number * 31 + row * 7:04d}"
        cv2.putText(picture, text, (left, low), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (20, 20, 20), 2)
        right, high = left + 76, low - 24
        points = [[left, high], [right, high], [right, low + 3], [left, low + 3]]
        regions.append({"transcription": text, "points": points})
    return picture, regions


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    rows = []
    for number in range(8):
        picture, regions = page(number)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        rows.append(f"{number}.png\t{json.dumps(regions)}")
    (folder / "labels.txt").write_text("\n".join(rows), encoding="utf-8")
    config = PrepareConfig(
        task="det",
        out=folder / "dataset",
        images=folder,
        train_labels=[folder / "labels.txt"],
        val_count=2,
        workers=0,
    )
    return prepare(config, None).folder


def config(dataset: Path, run_dir: Path, **changes: object) -> DetTrainConfig:
    values: dict[str, object] = {
        "task": "det",
        "dataset": dataset,
        "run_dir": run_dir,
        "start": "ppocrv6_tiny_det",
        "steps": STEPS,
        "batch": 2,
        "eval_every": 2,
        "log_every": 1,
        "calibration_batches": 2,
        "augment": {"size": 128},
        "average": 0.9,
        "freeze": {"steps": 1},
        "loader": {"workers": 0},
    }
    return DetTrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> DetTrainConfig:
    settings = config(dataset, tmp_path_factory.mktemp("runs") / "whole")
    train_detector(settings, Silent())
    return settings


def rows(run_dir: Path) -> list[dict[str, float]]:
    text = (run_dir / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_leaves_its_record_and_its_best(trained: DetTrainConfig) -> None:
    records = rows(trained.run_dir)
    assert [row["step"] for row in records if "val_hmean" in row] == [0, 2, 4]
    losses = [row for row in records if "total" in row]
    assert [row["step"] for row in losses] == [1, 2, 3, 4]
    for row in losses:
        parts = 5 * row["prob"] + 10 * row["threshold"] + row["binary"]
        assert row["total"] == pytest.approx(parts, rel=1e-4)
    best = Checkpoint.load(trained.run_dir)
    seen = {row["step"]: row["val_hmean"] for row in records if "val_hmean" in row}
    assert best.card.metrics["hmean"] == max(seen.values())
    assert best.card.main_metric == "hmean"
    assert len(best.golden()) == 2


def test_only_the_fresh_branch_learns_while_the_rest_is_frozen(
    dataset: Path, trained: DetTrainConfig, tmp_path: Path
) -> None:
    settings = config(
        dataset, tmp_path / "run", steps=1, eval_every=1, freeze={"steps": 1}, average=None
    )
    train_detector(settings, Silent())
    start, end = (Checkpoint.load(folder).weights() for folder in step_folders(settings.run_dir))
    for name, value in start.items():
        frozen = name.startswith(("backbone.", "neck."))
        assert np.array_equal(value, end[name]) == frozen, name


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(
    dataset: Path, trained: DetTrainConfig, tmp_path: Path
) -> None:
    settings = config(dataset, tmp_path / "run")

    class Stop(Silent):
        def step(self, step: int, steps: int, loss: float, lr: float) -> None:
            if step == 1:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingInterruptedError, match="stopped after step 1 of 4"):
        train_detector(settings, Stop())
    train_detector(settings, Silent(), resume=True)
    timing = ("seconds", "reader_seconds")
    whole, parts = (
        [{k: v for k, v in row.items() if k not in timing} for row in rows(where.run_dir)]
        for where in (trained, settings)
    )
    assert parts == whole
    ends = [latest(where.run_dir) for where in (trained, settings)]
    assert ends[0] is not None
    assert ends[1] is not None
    for one, other in (
        (ends[0].weights(), ends[1].weights()),
        (ends[0].train_state() or {}, ends[1].train_state() or {}),
    ):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_what_was_trained_is_exported_without_its_training_branches(
    trained: DetTrainConfig, tmp_path: Path
) -> None:
    model = load_trainable(str(trained.run_dir))
    exported = export_model(model, tmp_path / "out", ExportConfig())
    assert exported.card.backends


def test_auxiliary_heads_are_trained_along(dataset: Path, tmp_path: Path) -> None:
    settings = config(dataset, tmp_path / "run", steps=1, eval_every=1, auxiliary=True)
    train_detector(settings, Silent())
    (row,) = (row for row in rows(settings.run_dir) if "total" in row)
    parts = 5 * row["prob"] + 10 * row["threshold"] + row["binary"] + row["auxiliary"]
    assert row["total"] == pytest.approx(parts, rel=1e-4)
    start, end = (Checkpoint.load(folder).weights() for folder in step_folders(settings.run_dir))
    name = "auxiliary.2.prob.conv.conv.weight"
    assert not np.array_equal(start[name], end[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "ppocrv6_tiny_rec"}, "'ppocrv6_tiny_rec' is a recognizer; name a detector"),
        ({"start": "ppocrv5_mobile_det", "auxiliary": True}, "only ppocrv6 was trained with it"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    dataset: Path, tmp_path: Path, changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        train_detector(config(dataset, tmp_path / "run", **changes), Silent())


def test_settings_of_the_network_cannot_change_within_a_run(trained: DetTrainConfig) -> None:
    more = trained.model_copy(update={"steps": 9, "auxiliary": True})
    with pytest.raises(TrainingError, match="auxiliary cannot change within a run"):
        train_detector(more, Silent(), resume=True)


def test_a_dataset_of_lines_is_refused(dataset: Path, tmp_path: Path) -> None:
    lines = Dataset.load(dataset)
    (tmp_path / "lines").mkdir()
    for path in lines.folder.iterdir():
        if path.is_file():
            (tmp_path / "lines" / path.name).write_bytes(path.read_bytes())
    card = tmp_path / "lines" / "manifest.json"
    card.write_text(card.read_text(encoding="utf-8").replace('"task": "det"', '"task": "rec"'))
    with pytest.raises(ArtifactError, match="a dataset of lines; a detector is trained on one"):
        train_detector(config(tmp_path / "lines", tmp_path / "run"), Silent())


def test_a_start_that_lost_its_level_does_not_begin() -> None:
    words = {"start": "a model", "samples": 8, "limit": 5.0}
    check_start({"hmean": 90.0}, {"hmean": 85.0}, "hmean", **words)
    with pytest.raises(TrainingError, match=r"hmean is 84\.9 %, that of a model .* 90\.0 % on the"):
        check_start({"hmean": 90.0}, {"hmean": 84.9}, "hmean", **words)
