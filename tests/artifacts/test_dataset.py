import json
import multiprocessing
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ocr_pipeline.artifacts.dataset import (
    Dataset,
    DetSample,
    RecSample,
    Refusal,
    Region,
    SourceCard,
)
from ocr_pipeline.artifacts.packs import PackWriter
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import ArtifactError, ImageError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.geometry import crop_line

CHARSET = Charset(["一", "A", "\u3000"])
TRAIN = [
    RecSample("甲/1.png", "一 A\u3000A", 48, 300),
    RecSample("2.png", "A\u2028一\x85", 20, 100),
    RecSample('3 "x".png', "A", 1, 1),
    RecSample("5.jpg", "AA", 30, 90, 1, ((1.0, 2.5), (91.0, 2.0), (91.0, 32.0), (1.0, 33.0))),
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
        "task": "rec",
        "sources": [SourceCard(name="a", images=str(folder.parent))],
        "fixed": {"outer_space": 2},
        "charset": CHARSET,
        "config": {"seed": 7},
        "made_by": {"numpy": "2.0"},
    }
    return Dataset.write(folder, **(values | changes))


def test_dataset_is_read_back_as_written(tmp_path: Path) -> None:
    written = write(tmp_path / "data")
    loaded = Dataset.load(tmp_path / "data")
    assert loaded == written
    assert list(loaded.lines("train")) == TRAIN
    assert [loaded.lines("train")[number] for number in range(4)] == TRAIN
    assert loaded.lines("train")[1:3] == TRAIN[1:3]
    assert loaded.lines("val")[:] == VAL
    assert loaded.charset == CHARSET
    assert loaded.manifest.config == {"seed": 7}
    assert loaded.manifest.fixed == {"outer_space": 2}


def test_samples_and_refusals_are_counted(tmp_path: Path) -> None:
    manifest = write(tmp_path / "data").manifest
    assert manifest.counts == {"train": 4, "val": 1}
    assert manifest.refused == {"format": 2, "unknown_character": 1}


def test_each_refusal_is_in_its_file(tmp_path: Path) -> None:
    write(tmp_path / "data")
    lines = (tmp_path / "data" / "refused.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == [asdict(refusal) for refusal in REFUSALS]


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
    message = r"data: is missing 2 of 6 files: charset\.txt, train\.jsonl; copy the whole folder"
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
        write(tmp_path / "data", fixed={"x": 9})
    write(tmp_path / "data", fixed={"x": 9}, replace=True)
    assert Dataset.load(tmp_path / "data").manifest.fixed == {"x": 9}


def test_columns_tell_sizes_without_reading_samples(tmp_path: Path) -> None:
    lines = write(tmp_path / "data").lines("train")
    assert lines.column("height").tolist() == [48, 20, 1, 30]
    assert lines.column("width").tolist() == [300, 100, 1, 90]
    assert lines.column("length").tolist() == [5, 4, 1, 2]
    assert lines.column("source").tolist() == [0, 0, 0, 1]
    assert lines.column("shard").tolist() == [-1] * 4


def test_very_long_pictures_keep_their_sizes(tmp_path: Path) -> None:
    long = RecSample("long.png", "A", 70_000, 2**20)
    lines = write(tmp_path / "data", splits={"train": [long], "val": VAL}).lines("train")
    assert (lines.column("height").tolist(), lines.column("width").tolist()) == ([70_000], [2**20])
    with pytest.raises(ValidationError, match="max_side"):
        ImageLimits(max_side=2**20 + 1)


def test_samples_are_read_in_other_processes_and_after_a_fork(tmp_path: Path) -> None:
    lines = write(tmp_path / "data").lines("train")
    assert lines[0] == TRAIN[0]  # its file is open now
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(lines.__getitem__, range(4)) == TRAIN


def test_pages_keep_their_regions(tmp_path: Path) -> None:
    box = ((1.0, 2.0), (50.5, 2.0), (50.0, 20.0), (1.0, 21.0))
    pages = [
        DetSample("1.png", 60, 80, (Region(box, "一"), Region(box[:3], "", ignore=True))),
        DetSample("2.png", 60, 80, ()),
    ]
    made = write(tmp_path / "data", task="det", splits={"train": pages, "val": []}, charset=None)
    assert made.pages("train")[:] == pages
    assert Dataset.load(tmp_path / "data").charset is None
    with pytest.raises(ArtifactError, match=r"data: a dataset for task=det, asked for task=rec"):
        made.lines("train")


def test_a_line_is_cut_out_of_its_page_as_the_reader_does(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (60, 200, 3), np.uint8)
    (tmp_path / "page.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    crop = ((10.0, 5.0), (110.0, 5.0), (110.0, 35.0), (10.0, 35.0))
    sample = RecSample("page.png", "A", 30, 100, crop=crop)
    made = write(tmp_path / "data", splits={"train": [sample], "val": []})
    expected = crop_line(picture, np.array(crop, dtype=np.float32))
    np.testing.assert_array_equal(made.pictures("train").read(sample), expected)


def test_a_picture_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"hello")
    sample = RecSample("bad.png", "A", 30, 100)
    made = write(tmp_path / "data", splits={"train": [sample], "val": []})
    with pytest.raises(ImageError, match=r"bad\.png: not a picture"):
        made.pictures("train").read(sample)


def test_missing_and_changed_shards_are_listed(tmp_path: Path) -> None:
    with PackWriter(tmp_path / "packs", "train") as writer:
        place = writer.add("1.png", b"content")
    shards = writer.close()
    sample = RecSample("1.png", "A", 30, 100, packed=place)
    splits = {"train": [sample], "val": []}
    root = str(tmp_path / "packs")
    made = write(tmp_path / "data", splits=splits, packs={"train": shards}, pack_root=root)
    assert Dataset.load(made.folder).pictures("train").content(sample) == b"content"
    shard = tmp_path / "packs" / shards[0].name
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(ArtifactError, match=r"1 of its shards are missing or changed: train-00000"):
        Dataset.load(made.folder)
    shard.unlink()
    with pytest.raises(ArtifactError, match=r"1 of its shards.*train-00000"):
        Dataset.load(made.folder)
