from collections.abc import Mapping
from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from tests.preprocess.sources.writers import PICTURE, faults, read, source

lmdb = pytest.importorskip("lmdb", reason="lmdb is an optional package")

TEXTS = ["合计（大写），叁佰元整", 'said "no", twice,', "全角　空格", "😀\u2028\n\t", ""]


def write(folder: Path, entries: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**22) as base, base.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.encode(), value)
    return folder


def entries(texts: list[str]) -> dict[str, bytes]:
    found = {"num-samples": str(len(texts)).encode()}
    for number, text in enumerate(texts, start=1):
        found[f"image-{number:09d}"] = PICTURE
        if text:  # lmdb keeps no empty value
            found[f"label-{number:09d}"] = text.encode()
    return found


def test_lines_come_back_unchanged(tmp_path: Path) -> None:
    folder = write(tmp_path / "库 1", entries(TEXTS[:4]))
    found = source(folder, "rec", "lmdb")
    assert found.images == f"lmdb://{folder}"
    samples = list(found.samples())
    assert [(s.image, s.text) for s in samples] == [
        (f"image-{number:09d}", text) for number, text in enumerate(TEXTS[:4], start=1)
    ]
    assert faults(samples) == []
    assert samples[1].place == f"{folder}#label-000000002"
    for name in (f"lmdb://{folder}", f"{folder}/data.mdb"):
        assert source(name, "rec", "lmdb", default_images="elsewhere").images == found.images


def test_missing_and_broken_entries_are_named(tmp_path: Path) -> None:
    content = entries(["A", "B", "C", "D"])
    del content["label-000000002"], content["image-000000003"]
    content["label-000000004"] = "合计".encode("gb18030")
    samples = read(write(tmp_path / "base", content), "rec", "lmdb")
    said = [s.fault[1] if s.fault else None for s in samples]
    assert said[0] is None
    assert said[1] == "the database has no label-000000002; write it again"
    assert said[2] == "the database has no image-000000003; write it again"
    assert "it can be read as GB18030" in str(said[3])
    assert faults(samples) == ["format", "format", "not_utf8"]


def test_a_count_that_is_far_too_high_is_not_believed(tmp_path: Path) -> None:
    content = entries(["A"]) | {"num-samples": b"999999999"}
    samples = read(write(tmp_path / "base", content), "rec", "lmdb")
    assert len(samples) == 1 + 1000 + 1
    assert samples[-1].fault == (
        "format",
        "1000 samples in a row are missing; num-samples says 999999999",
    )


@pytest.mark.parametrize("count", [b"many", b"-1", b"1" * 20])
def test_a_count_that_is_no_number_is_an_error(tmp_path: Path, count: bytes) -> None:
    folder = write(tmp_path / "base", {"num-samples": count})
    with pytest.raises(DataError, match=r"num-samples is b'.*; expected a number like b'1000'"):
        read(folder, "rec", "lmdb")


def test_another_database_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "base", {"a": b"b"})
    with pytest.raises(DataError, match=r"num-samples: no such key in the database; expected a"):
        read(folder, "rec", "lmdb")
    with pytest.raises(DataError, match=r"gone: not there; check the path"):
        read(tmp_path / "gone", "rec", "lmdb")


def test_what_a_database_cannot_be_is_said_at_once() -> None:
    with pytest.raises(DataError, match=r"holds lines, no regions; to train a detector give"):
        source("base", "det", "lmdb")
    with pytest.raises(DataError, match=r"one LMDB database a source"):
        source("bases/*", "rec", "lmdb")
    with pytest.raises(DataError, match=r"holds its own pictures; take out images=here"):
        source("base", "rec", "lmdb", images="here")
    with pytest.raises(DataError, match=r"LMDB is read from a disk only; copy it"):
        source("s3://bucket/base", "rec", "lmdb")
