import json
import re
from pathlib import Path
from typing import Any

import pytest

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, Refusal
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.ops.charset import Charset

CHARSET = Charset(["一", "A", "\u3000"])
TRAIN = [
    RecSample("甲/1.png", "一 A\u3000A", 48, 300),
    RecSample("2.png", "A\u2028一\x85", 20, 100),
    RecSample('3 "x".png', "A", 1, 1),
]
VAL = [RecSample("4.png", "一", 24, 30)]
REFUSALS = [
    Refusal("labels.txt:3", "format", "no tab; write image<TAB>text"),
    Refusal("labels.txt:9", "unknown_character", "label 'B': 'B' (U+0042) not in the set"),
    Refusal("labels.txt:12", "format", "no tab; write image<TAB>text"),
]


def write(folder: Path, **changes: Any) -> Dataset:
    values: dict[str, Any] = {
        "splits": {"train": TRAIN, "val": VAL},
        "refusals": REFUSALS,
        "stripped": 2,
        "charset": CHARSET,
        "image_root": folder.parent,
        "config": {"seed": 7},
        "made_by": {"numpy": "2.0"},
    }
    return Dataset.write(folder, **(values | changes))


def test_dataset_is_read_back_as_written(tmp_path: Path) -> None:
    written = write(tmp_path / "data")
    loaded = Dataset.load(tmp_path / "data")
    assert loaded == written
    assert loaded.samples("train") == TRAIN
    assert loaded.samples("val") == VAL
    assert loaded.charset == CHARSET
    assert loaded.manifest.config == {"seed": 7}
    assert loaded.manifest.stripped == 2


def test_samples_and_refusals_are_counted(tmp_path: Path) -> None:
    manifest = write(tmp_path / "data").manifest
    assert manifest.counts == {"train": 3, "val": 1}
    assert manifest.refused == {"format": 2, "unknown_character": 1}


def test_each_refusal_is_in_its_file(tmp_path: Path) -> None:
    write(tmp_path / "data")
    lines = (tmp_path / "data" / "refused.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == [vars(refusal) for refusal in REFUSALS]


def test_image_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", image_root=Path("pictures"))
    assert Dataset.load(tmp_path / "data").image_root == tmp_path.resolve() / "pictures"


def test_changed_samples_are_found(tmp_path: Path) -> None:
    write(tmp_path / "data")
    with (tmp_path / "data" / "train.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("{}\n")
    message = r"data: changed since it was made: train\.jsonl; .*make it again with scripts/prepare"
    with pytest.raises(ArtifactError, match=message):
        Dataset.load(tmp_path / "data")


def test_missing_files_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "data")
    for name in ("train.jsonl", "charset.txt"):
        (tmp_path / "data" / name).unlink()
    message = r"data: is missing 2 of 4 files: charset\.txt, train\.jsonl; copy the whole folder"
    with pytest.raises(ArtifactError, match=message):
        Dataset.load(tmp_path / "data")


def test_folder_of_pictures_is_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    message = f"{tmp_path}: holds no manifest.json; expected a folder made by scripts/prepare.py"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        Dataset.load(tmp_path)


def test_dataset_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "data")
    with pytest.raises(ArtifactError, match="exists already; give another name, delete it, or say"):
        write(tmp_path / "data", stripped=9)
    write(tmp_path / "data", stripped=9, replace=True)
    assert Dataset.load(tmp_path / "data").manifest.stripped == 9
