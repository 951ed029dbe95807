"""What a run can start from, and in which form; each trained for a step or two."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import DataError, TrainingError, WeightsError
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.preprocess.prepare import choose_charset
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


def test_a_run_keeps_what_it_was_started_with(
    pictures: Path, tmp_path: Path, released_weights: None
) -> None:
    dataset = prepared(pictures, tmp_path / "set", "ppocrv6_tiny_rec")
    trained(dataset, tmp_path / "run", steps=1)
    last = Checkpoint.load(tmp_path / "run/step-000001")
    for changes in ({"form": "multi_branch"}, {"guide": True}, {"image": {"min_width": 192}}):
        config = RecTrainConfig.model_validate({**last.card.config, "steps": 2, **changes})
        with pytest.raises(
            TrainingError, match=f"{next(iter(changes))} cannot change within a run"
        ):
            train_recognizer(config, Silent(), resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": {"time_stride": 4}}, "time_stride 4: ppocrv6 has 8 px"),
        ({"image": {"height": 96}}, "height 96: ppocrv6 reads lines of 48 px"),
        ({"start": "crnn_mobile", "guide": True}, "crnn has one training form and no guide"),
        ({"start": "crnn_mobile", "image": {"height": 40}}, "height 40: crnn needs a multiple"),
    ],
)
def test_what_the_network_cannot_be_is_said_before_training(
    changes: dict[str, object],
    message: str,
    pictures: Path,
    tmp_path: Path,
    released_weights: None,
) -> None:
    dataset = prepared(pictures, tmp_path / "set", "ppocrv6_tiny_rec")
    with pytest.raises(TrainingError, match=message):
        trained(dataset, tmp_path / "run", **changes)


def test_an_image_rule_changes_only_what_it_names(pictures: Path, tmp_path: Path) -> None:
    dataset = prepared(pictures, tmp_path / "set", "crnn_mobile", mode="new")
    folder = trained(
        dataset, tmp_path / "run", start="crnn_mobile", image={"min_width": 160}, steps=1
    )
    image = load_trainable(str(folder)).spec.image
    assert (image.min_width, image.height, image.time_stride) == (160, 32, 4)


def test_a_dictionary_file_needs_its_mode(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="file is used with mode union or new"):
        prepared(pictures, tmp_path / "set", "ppocrv6_tiny_rec", file=tmp_path / "mine.txt")


def test_characters_of_labels_are_entries_of_the_model(released_weights: None) -> None:
    model, _ = recognizer_rules("ppocrv5_mobile_rec")
    assert model is not None
    flag = next(entry for entry in model.dictionary if len(entry) > 1)
    values = {"out": "x", "images": "x", "train_labels": ["x"], "dictionary": {"mode": "new"}}
    config = PrepareConfig.model_validate(values)
    texts = [f"a\u3000{flag}b", "a b\tc"]
    assert choose_charset(config, model, texts).dictionary == ("a", "b", "c", flag)
    kept = PrepareConfig.model_validate(values | {"check": {"policies": {"odd_space": "keep"}}})
    assert choose_charset(kept, model, texts).dictionary == ("a", "b", "c", "\u3000", flag)
