import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess import prepare

CHARSET = Charset(list("0123456789ABCDEF"))


def picture(folder: Path, name: str, width: int = 96) -> None:
    random = np.random.default_rng(list(name.encode()))  # no two pictures alike
    _, content = cv2.imencode(".png", random.integers(0, 255, (24, width, 3), np.uint8))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.tobytes())


def config(root: Path, lines: list[str], **changes: object) -> PrepareConfig:
    labels = root / "labels.txt"
    labels.write_text("\n".join(lines), encoding="utf-8")
    values = {"out": root / "out", "images": root, "train_labels": [labels], "val_count": 1}
    return PrepareConfig.model_validate(values | changes)


def clean_lines(root: Path, count: int = 6) -> list[str]:
    for number in range(count):
        picture(root, f"ok{number}.png")
    return [f"ok{number}.png\tA{number}" for number in range(count)]


def test_every_fault_is_refused_by_name_and_line(tmp_path: Path) -> None:
    lines = clean_lines(tmp_path)
    for name in ("a.png", "b.png", "c.png", "d.png"):
        picture(tmp_path, name)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    dirty = {
        "no tab here": "format",
        "missing.png\tAB": "missing_picture",
        "broken.png\tAB": "unreadable_picture",
        "empty.png\tAB": "unreadable_picture",
        "text.png\tAB": "unreadable_picture",
        "a.png\t": "empty_label",
        "b.png\tAZ": "unknown_character",
        f"c.png\t{'A' * 30}": "label_too_long",
        "ok0.png\tA0": "duplicate",
        "ok1.png\tFF": "conflict",
        "../outside.png\tAB": "outside_root",
    }
    dataset = prepare(config(tmp_path, [*lines, *dirty]), CHARSET)
    refusals = [
        json.loads(row) for row in (dataset.folder / "refused.jsonl").read_text().splitlines()
    ]
    labels = tmp_path / "labels.txt"
    expected = [(f"{labels}:{n}", reason) for n, reason in enumerate(dirty.values(), start=7)]
    assert [(r["source"], r["reason"]) for r in refusals] == expected
    assert dataset.manifest.refused == dict(Counter(dirty.values()))
    assert sum(dataset.manifest.counts.values()) == 6
    details = {r["reason"]: r["detail"] for r in refusals}
    assert "'Z' (U+005A)" in details["unknown_character"]
    assert "needs 59 time steps, the network emits 40 for 96 x 24 px" in details["label_too_long"]
    assert "ok1.png: labelled at" in details["conflict"]
    assert "label is empty" in details["empty_label"]


def test_outer_white_space_is_taken_off_and_counted(tmp_path: Path) -> None:
    lines = clean_lines(tmp_path)
    lines[0] = "ok0.png\t A0 "
    dataset = prepare(config(tmp_path, lines), CHARSET)
    assert dataset.manifest.fixed == {"outer_space": 1}
    assert "A0" in {sample.text for part in ("train", "val") for sample in dataset.lines(part)}


def test_a_windows_list_is_read(tmp_path: Path) -> None:
    lines = clean_lines(tmp_path)
    settings = config(tmp_path, lines)
    content = b"\xef\xbb\xbf" + "\r\n".join(lines).encode()
    Path(settings.train_labels[0].labels).write_bytes(content)
    assert sum(prepare(settings, CHARSET).manifest.counts.values()) == 6


def test_a_list_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    settings = config(tmp_path, [])
    Path(settings.train_labels[0].labels).write_bytes("ok.png\tA\n图.png\t国".encode("gb18030"))
    with pytest.raises(DataError, match=r"labels\.txt:2: not UTF-8"):
        prepare(settings, CHARSET)


def test_a_missing_list_and_no_sample_left_are_errors(tmp_path: Path) -> None:
    settings = config(tmp_path, [], train_labels=[tmp_path / "nowhere.txt"])
    with pytest.raises(DataError, match=r"nowhere\.txt: not there; check the path"):
        prepare(settings, CHARSET)
    with pytest.raises(DataError, match="no sample is left for 'train'.*missing.png"):
        prepare(config(tmp_path, ["missing.png\tA"]), CHARSET)
    assert not (tmp_path / "out").exists()


def test_texts_never_stand_in_both_parts_even_with_a_validation_list(tmp_path: Path) -> None:
    lines = clean_lines(tmp_path)
    picture(tmp_path, "v.png")
    val = tmp_path / "val.txt"
    val.write_text("v.png\tA3\n")
    dataset = prepare(config(tmp_path, lines, val_labels=[val]), CHARSET)
    assert [sample.image for sample in dataset.lines("val")] == ["v.png"]
    assert dataset.manifest.refused == {"leak": 1}
    assert len(dataset.lines("train")) == 5


def test_an_existing_dataset_is_kept_unless_told(tmp_path: Path) -> None:
    settings = config(tmp_path, clean_lines(tmp_path))
    prepare(settings, CHARSET)
    with pytest.raises(ArtifactError, match="exists already; .* --overwrite"):
        prepare(settings, CHARSET)
    again = prepare(settings, CHARSET, replace=True)
    assert Dataset.load(again.folder).manifest == again.manifest
    assert again.charset == CHARSET
