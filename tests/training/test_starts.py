"""What a run can start from, and in which form; each trained for a step or two."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import DataError, WeightsError
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training import train_recognizer
from ocr_pipeline.weights.source import load_trainable, recognizer_rules
from tests.conftest import Silent


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    rows = []
    for number in range(8):
        text = f"A{number * 7919 % 9973:04d}"
        line = np.full((32, 110, 3), 235, np.uint8)
        cv2.putText(line, text, (3, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (30, 30, 30), 2)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        rows.append(f"{number}.png\t{text}")
    (folder / "labels.txt").write_text("\n".join(rows), encoding="utf-8")
    return folder


def prepared(pictures: Path, out: Path, model: str, **dictionary: object) -> Dataset:
    config = PrepareConfig.model_validate(
        {
            "out": out,
            "images": pictures,
            "train_labels": [pictures / "labels.txt"],
            "val_count": 2,
            "model": model,
            "dictionary": dictionary,
        }
    )
    charset, image = recognizer_rules(model)
    return prepare(config, charset, image=image)


def trained(dataset: Dataset, run_dir: Path, notes: Notes | None = None, **changes: object) -> Path:
    values = {
        "dataset": dataset.folder,
        "run_dir": run_dir,
        "start": "ppocrv6_tiny_rec",
        "steps": 2,
        "batch": 3,
        "calibration_batches": 1,
        "log_every": 1,
        **changes,
    }
    return train_recognizer(RecTrainConfig.model_validate(values), notes or Silent()).folder


def losses(run_dir: Path) -> list[dict[str, float]]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [values for values in map(json.loads, lines) if "total" in values]


def test_a_guided_multi_branch_run_resumes(
    pictures: Path, tmp_path: Path, released_weights: None
) -> None:
    dataset = prepared(pictures, tmp_path / "set", "ppocrv6_tiny_rec", mode="new")
    run_dir = tmp_path / "run"
    trained(dataset, run_dir, form="multi_branch", guide=True, steps=1, charset="new")
    (first,) = losses(run_dir)
    assert first["total"] == pytest.approx(first["ctc"] + first["guide"], rel=1e-5)
    last = Checkpoint.load(run_dir / "step-000001")
    assert last.card.model.form == "multi_branch"
    assert any(name.startswith("guide.") for name in last.weights())
    values = {"form": "multi_branch", "guide": True}
    config = RecTrainConfig.model_validate({**last.card.config, **values, "steps": 2})
    train_recognizer(config, Silent(), resume=True)
    assert [line["step"] for line in losses(run_dir)] == [1, 2]


def test_a_new_character_set_is_trained_from_rows_that_moved(
    pictures: Path, tmp_path: Path, released_weights: None
) -> None:
    dataset = prepared(pictures, tmp_path / "set", "ppocrv6_tiny_rec", mode="new")
    assert set(dataset.charset.dictionary) <= set("A0123456789")
    with pytest.raises(WeightsError, match=r"6906 classes, the dataset \d+ .*charset=new"):
        trained(dataset, tmp_path / "refused")
    notes = Notes()
    folder = trained(dataset, tmp_path / "run", notes, charset="new")
    assert any(
        f"{len(dataset.charset.dictionary)} characters kept, 0 new" in n for n in notes.notes
    )
    model = load_trainable(str(folder))
    assert model.charset == dataset.charset
    assert model.spec.classes == dataset.charset.classes


def test_a_crnn_is_trained_from_nothing(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"crnn_mobile has no characters .* dictionary.mode=new"):
        prepared(pictures, tmp_path / "refused", "crnn_mobile")
    dataset = prepared(pictures, tmp_path / "set", "crnn_mobile", mode="new")
    folder = trained(dataset, tmp_path / "run", start="crnn_mobile", steps=3)
    model = load_trainable(str(folder))
    assert (model.spec.family, model.spec.image.height) == ("crnn", 32)
    first, *_, last = losses(tmp_path / "run")
    assert last["total"] < first["total"]
