import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset, Split
from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.image import DetImageSpec, RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.preprocess.prepare import Inspection, inspect
from ocr_pipeline.training.det_loader import DetLoader
from ocr_pipeline.training.rec_loader import RecLoader
from tests.preprocess import labelled

CHARSET = Charset(list("0123456789ABCDEF"))


def picture(folder: Path, name: str, width: int = 96) -> None:
    random = np.random.default_rng(list(name.encode()))  # no two pictures alike
    _, content = cv2.imencode(".png", random.integers(0, 255, (24, width, 3), np.uint8))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.tobytes())


def config(root: Path, lines: list[str], **changes: object) -> PrepareConfig:
    labels = root / "labels.txt"
    labels.write_text("\n".join(lines), encoding="utf-8")
    return labelled.settings(root, labels, **({"val_count": 1} | changes))


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


def test_too_few_labels_for_a_validation_part_are_said_with_what_to_set(tmp_path: Path) -> None:
    settings = config(tmp_path, clean_lines(tmp_path), val_count=100)
    with pytest.raises(DataError, match="'train': 6 labels read, 0 refused; .*val_count below 100"):
        prepare(settings, CHARSET)


def test_an_existing_dataset_is_kept_unless_told(tmp_path: Path) -> None:
    settings = config(tmp_path, clean_lines(tmp_path))
    prepare(settings, CHARSET)
    with pytest.raises(ArtifactError, match="exists already; .* --overwrite"):
        prepare(settings, CHARSET)
    again = prepare(settings, CHARSET, replace=True)
    assert Dataset.load(again.folder).manifest == again.manifest
    assert again.charset == CHARSET


# --- Whole datasets, read back as the training reads them ---------------------------------------

PARTS: tuple[Split, Split] = ("train", "val")


def texts(dataset: Dataset, split: Split) -> set[str]:
    return {sample.text for sample in dataset.lines(split)}


def images(dataset: Dataset, split: Split) -> set[str]:
    return {sample.image for sample in dataset.samples(split)}


def rec_arrays(dataset: Dataset, steps: int = 4, workers: int = 0) -> list[np.ndarray]:
    loader = RecLoader(
        dataset,
        image=RecImageSpec(min_width=96, width_step=96),
        augment=None,
        batch=3,
        seed=1,
        config=LoaderConfig(workers=workers),
    )
    batches = list(islice(loader.from_step(0), steps))
    return [a.numpy() for b in batches for a in (b.images, b.labels, b.label_lengths)]


def det_arrays(dataset: Dataset, steps: int = 3) -> list[np.ndarray]:
    loader = DetLoader(
        dataset,
        image=DetImageSpec(),
        augment=DetAugmentConfig(size=128),
        target=DBTargetConfig(),
        batch=2,
        steps=10,
        seed=1,
        config=LoaderConfig(),
    )
    return [a.numpy() for b in islice(loader.from_step(0), steps) for a in (b.images, b.maps)]


def same(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    return len(first) == len(second) > 0 and all(map(np.array_equal, first, second))


def det_list(root: Path, count: int = 8) -> Path:
    return labelled.write_list(root / "det.txt", labelled.pages(root, count))


def test_pages_come_back_with_their_regions(tmp_path: Path) -> None:
    made = prepare(labelled.settings(tmp_path, det_list(tmp_path), task="det"), None)
    dataset = Dataset.load(made.folder)
    assert dataset.manifest.counts == {"train": 6, "val": 2}
    assert dataset.charset is None
    for split in PARTS:
        read = dataset.pictures(split).read
        for page in dataset.pages(split):
            np.testing.assert_array_equal(read(page), labelled.noise(page.image, 160, 240))
            number = page.image.removeprefix("page").removesuffix(".png")
            assert [r.text for r in page.regions] == [f"B{number}", f"C{number}"]
            assert page.regions[1].points == ((30, 90), (200, 100), (198, 134), (28, 124))
            assert (page.height, page.width) == (160, 240)
    arrays = det_arrays(dataset)
    assert arrays[0].shape == (2, 3, 128, 128)
    assert max(maps[:, 0].max() for maps in arrays[1::2]) == 1  # text is aimed at


def test_lines_are_cut_out_of_labelled_pages(tmp_path: Path) -> None:
    dataset = prepare(labelled.settings(tmp_path, det_list(tmp_path, 5)), CHARSET)
    assert sum(dataset.manifest.counts.values()) == 10
    assert texts(dataset, "train") | texts(dataset, "val") == {
        f"{letter}{number}" for letter in "BC" for number in range(5)
    }
    read = dataset.pictures("train").read
    for line in dataset.lines("train"):
        assert line.crop is not None
        page = labelled.noise(line.image, 160, 240)
        if line.text[0] == "B":
            np.testing.assert_array_equal(read(line), page[20:52, 20:140])
        assert (line.height, line.width) == read(line).shape[:2]
    assert rec_arrays(dataset)[0].shape[1:3] == (3, 48)


def test_sources_keep_their_roots_and_weights(tmp_path: Path) -> None:
    first, second = tmp_path / "数据 一", tmp_path / "b"
    val = labelled.write_list(tmp_path / "val.txt", labelled.lines(tmp_path, 2, prefix="v"))
    sources = [
        {"labels": labelled.write_list(first / "a.txt", labelled.lines(first, 3, text="B"))},
        {
            "labels": labelled.write_list(tmp_path / "b.txt", labelled.lines(second, 3, text="C")),
            "images": second,
            "weight": 2.0,
            "name": "second",
        },
    ]
    for number in range(3):
        labelled.save(second, f"ok{number}.png", labelled.noise(f"other {number}"))
    changes = {"train_labels": sources, "val_labels": [val], "images": None}
    dataset = prepare(labelled.settings(tmp_path, val, **changes), CHARSET)
    cards = dataset.manifest.sources
    assert [(s.name, s.images, s.weight) for s in cards] == [
        ("a.txt", str(first), 1.0),
        ("second", str(second), 2.0),
        ("val.txt", str(tmp_path), 1.0),
    ]
    # Both have an ok0.png; each is read from its own folder.
    assert [(s.text, s.source) for s in dataset.lines("train")] == [
        *((f"B{n}", 0) for n in range(3)),
        *((f"C{n}", 1) for n in range(3)),
    ]
    assert {s.source for s in dataset.lines("val")} == {2}
    picture = dataset.pictures("train").read(dataset.lines("train")[4])
    np.testing.assert_array_equal(picture, labelled.noise("other 1"))
    shown = np.concatenate(rec_arrays(dataset, steps=3)[1::3])
    counts = Counter(CHARSET.decode(row.tolist())[0] for row in shown)
    assert counts == {"B": 3, "C": 6}


def test_groups_texts_and_looks_stay_in_one_part(tmp_path: Path) -> None:
    rows = []
    for number in range(24):  # six documents of four lines; two documents share a text
        name = f"文档{number // 4}/{number}.png"
        labelled.save(tmp_path, name)
        text = "FF" if number in (3, 4) else f"A{number}"
        rows.append(f"{name}\t{text}")
    dimmed = (labelled.noise("文档5/20.png") * 0.9).astype(np.uint8)
    labelled.save(tmp_path, "文档4/again.png", dimmed)  # of document 5, a little darker
    rows.append("文档4/again.png\tA99")
    labels = labelled.write_list(tmp_path / "labels.txt", rows)
    source = {"labels": labels, "group": "^([^/]+)/"}
    chosen = set()
    for seed in range(8):
        settings = labelled.settings(
            tmp_path,
            labels,
            train_labels=[source],
            val_count=9,
            seed=seed,
            out=tmp_path / f"{seed}",
        )
        dataset = prepare(settings, CHARSET)
        train, val = ({name.split("/")[0] for name in images(dataset, p)} for p in PARTS)
        assert not train & val
        assert train | val == {f"文档{number}" for number in range(6)}
        assert not texts(dataset, "train") & texts(dataset, "val")
        assert ("文档0" in val) == ("文档1" in val)
        assert ("文档4" in val) == ("文档5" in val)
        chosen.add(frozenset(val))
    assert len(chosen) > 2


def test_the_split_does_not_depend_on_the_order_of_the_labels(tmp_path: Path) -> None:
    rows = labelled.lines(tmp_path, 20)
    parts = []
    for out, order in (("a", rows), ("b", rows[::-1])):
        labels = labelled.write_list(tmp_path / "labels.txt", order)
        dataset = prepare(labelled.settings(tmp_path, labels, out=tmp_path / out), CHARSET)
        parts.append(texts(dataset, "val"))
    assert parts[0] == parts[1]
    assert len(parts[0]) == 2


def test_leaks_into_a_validation_list_are_found(tmp_path: Path) -> None:
    rows = labelled.lines(tmp_path, 6)
    labelled.save(tmp_path, "copy.png", labelled.noise("ok1.png"))
    bright = np.clip(labelled.noise("ok2.png") * 0.8 + 30, 0, 255).astype(np.uint8)
    labelled.save(tmp_path, "bright.png", bright)
    labelled.save(tmp_path, "text.png")
    val = ["copy.png\tB1", "bright.png\tB2", "text.png\tA3"]
    changes = {"val_labels": [labelled.write_list(tmp_path / "val.txt", val)]}
    labels = labelled.write_list(tmp_path / "labels.txt", rows)
    dataset = prepare(labelled.settings(tmp_path, labels, **changes), CHARSET)
    assert dataset.manifest.refused == {"leak": 1, "leak_picture": 1, "leak_near_picture": 1}
    assert texts(dataset, "train") == {"A0", "A4", "A5"}
    assert len(dataset.lines("val")) == 3


def big_lines(root: Path, count: int = 8) -> Path:
    """Lines of about 0.35 MB, so that a shard of 1 MB holds two."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(count):
        picture = random.integers(0, 255, (160, 760, 3), np.uint8)
        labelled.save(root, f"图 {number}.png", picture)
        rows.append(f"图 {number}.png\tA{number}")
    return labelled.write_list(root / "lines.txt", rows)


@pytest.mark.parametrize("place", [None, "大 packs"])
def test_packed_lines_are_the_same_pictures(tmp_path: Path, place: str | None) -> None:
    labels = big_lines(tmp_path)
    plain = prepare(labelled.settings(tmp_path, labels), CHARSET)
    out = None if place is None else tmp_path / place
    pack = {"enabled": True, "shard_mb": 1, "out": out}
    settings = labelled.settings(tmp_path, labels, out=tmp_path / "packed", pack=pack)
    packed = prepare(settings, CHARSET)
    shards = packed.manifest.packs
    assert [len(shards[split]) for split in PARTS] == [3, 1]
    assert (packed.folder / "packs").exists() == (place is None)
    if out is not None:
        assert packed.manifest.pack_root is not None
        assert Path(packed.manifest.pack_root).parent == out
    expected = rec_arrays(plain)
    for picture in tmp_path.glob("图*.png"):
        picture.unlink()  # the shards are all that is needed
    moved = tmp_path / "moved"
    packed.folder.replace(moved)
    assert same(rec_arrays(Dataset.load(moved)), expected)
    for split in PARTS:
        kept = [s.packed is not None for s in Dataset.load(moved).lines(split)]
        assert kept == [True] * plain.manifest.counts[split]


def test_lines_cut_out_of_pages_are_packed_as_they_are_seen(tmp_path: Path) -> None:
    labels = det_list(tmp_path, 5)
    plain = prepare(labelled.settings(tmp_path, labels), CHARSET)
    settings = labelled.settings(tmp_path, labels, out=tmp_path / "p", pack={"enabled": True})
    assert same(rec_arrays(prepare(settings, CHARSET)), rec_arrays(plain))


def test_packed_pages_are_the_same_pictures(tmp_path: Path) -> None:
    labels = det_list(tmp_path)
    plain = prepare(labelled.settings(tmp_path, labels, task="det"), None)
    pack = {"enabled": True}
    settings = labelled.settings(tmp_path, labels, task="det", out=tmp_path / "p", pack=pack)
    assert same(det_arrays(prepare(settings, None)), det_arrays(plain))


def test_a_dataset_keeps_its_shards_when_another_is_packed_there(tmp_path: Path) -> None:
    pack = {"enabled": True, "out": tmp_path / "packs"}
    labels = labelled.write_list(tmp_path / "labels.txt", labelled.lines(tmp_path, 6))
    settings = labelled.settings(tmp_path, labels, pack=pack)
    old = prepare(settings, CHARSET)
    before = rec_arrays(old)
    copy = tmp_path / "copy of the old"
    old.folder.rename(copy)
    labelled.write_list(labels, labelled.lines(tmp_path, 9, prefix="new"))
    prepare(settings, CHARSET)
    assert same(rec_arrays(Dataset.load(copy)), before)


@pytest.mark.parametrize("task", ["rec", "det"])
def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path, task: str) -> None:
    labels = det_list(tmp_path, 40)
    (tmp_path / "page7.png").write_bytes(b"no picture")
    labelled.save(tmp_path, "page8.png", labelled.noise("page9.png", 160, 240))
    written = []
    for workers in (0, 1, 2):
        out = tmp_path / str(workers)
        changes = {"task": task, "out": out, "workers": workers, "val_count": 5}
        prepare(labelled.settings(tmp_path, labels, **changes), CHARSET)
        names = ("train.jsonl", "val.jsonl", "refused.jsonl", "report.json")
        written.append({name: (out / name).read_bytes() for name in names})
    assert written[0] == written[1] == written[2]
    assert b"page7.png" in written[0]["refused.jsonl"]
    assert b"picture" in written[0]["report.json"]


# --- Every kind of source, to the pictures ------------------------------------------------------


def a_list(folder: Path) -> dict[str, object]:
    return {"labels": labelled.write_list(folder / "det.txt", labelled.pages(folder, 5))}


def a_project(folder: Path) -> dict[str, object]:
    rows = [f"{folder.name}/{row}" for row in labelled.pages(folder, 5)]
    labelled.write_list(folder / "Label.txt", rows)
    return {"labels": folder, "kind": "ppocrlabel"}


def some_cards(folder: Path) -> dict[str, object]:
    for number, row in enumerate(labelled.pages(folder, 5)):
        shapes = [
            {"label": r["transcription"], "points": r["points"], "shape_type": "polygon"}
            for r in json.loads(row.split("\t")[1])
        ]
        card = {"imagePath": f"page{number}.png", "shapes": shapes}
        labelled.write_list(folder / f"page{number}.json", [json.dumps(card)])
    return {"labels": folder, "kind": "labelme"}


def a_database(folder: Path) -> dict[str, object]:
    lmdb = pytest.importorskip("lmdb", reason="lmdb is absent: extra [train]")
    folder.mkdir()
    with (
        lmdb.open(str(folder), map_size=2**24) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"num-samples", b"10")
        for number in range(10):
            content = labelled.encoded(labelled.noise(f"line{number}"))
            transaction.put(f"image-{number + 1:09d}".encode(), content)
            transaction.put(f"label-{number + 1:09d}".encode(), f"A{number}".encode())
    return {"labels": folder, "kind": "lmdb"}


@pytest.mark.parametrize("source", [a_list, a_project, some_cards, a_database])
def test_pictures_of_every_kind_of_source_are_read_back(
    tmp_path: Path, source: Callable[[Path], dict[str, object]]
) -> None:
    changes = {"train_labels": [source(tmp_path / "set")], "images": None}
    made = prepare(labelled.settings(tmp_path, tmp_path, **changes), CHARSET)
    dataset = Dataset.load(made.folder)
    assert sum(dataset.manifest.counts.values()) == 10
    for split in PARTS:
        read = dataset.pictures(split).read
        for line in dataset.lines(split):
            assert read(line).shape == (line.height, line.width, 3)


# --- What labels name, and what they do not -------------------------------------------------------


def details(found: Inspection, fault: str) -> list[str]:
    return [finding.detail for finding in found.findings if finding.fault == fault]


def inspected(root: Path, sources: Sequence[object], **changes: object) -> Inspection:
    values = {"train_labels": sources} | changes
    return inspect(labelled.settings(root, root, **values), CHARSET)


def test_a_list_that_is_given_twice_is_found(tmp_path: Path) -> None:
    labels = labelled.write_list(tmp_path / "l.txt", labelled.lines(tmp_path, 6))
    found = inspected(tmp_path, [labels, {"labels": labels, "weight": 2}])
    assert found.counts("refuse") == {"duplicate": 6}


def test_paths_and_folders_may_be_spelled_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = labelled.lines(tmp_path / "图", 6)
    first = labelled.write_list(tmp_path / "a.txt", [f"./图//{row}" for row in rows])
    second = labelled.write_list(tmp_path / "b.txt", rows[:4])
    found = inspected(tmp_path, [first, {"labels": second, "images": "./图/../图"}])
    assert found.counts("refuse") == {}
    assert found.counts("keep") == {"duplicate_picture": 4}  # roots differ, pictures do not
    third = labelled.write_list(tmp_path / "c.txt", [f"图/{row}" for row in rows])
    found = inspected(tmp_path, [first, {"labels": third, "images": "."}])
    assert found.counts("refuse") == {"duplicate": 6}
    assert "unlabelled_picture" not in found.counts("keep")
    assert {checked.sample.image for checked in found.splits["train"]} <= {
        f"图/ok{number}.png" for number in range(6)
    }


def test_only_folders_with_labelled_pictures_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = labelled.lines(tmp_path / "a [1]", 6)
    labelled.save(tmp_path, "a [1]/more.png")
    labelled.save(tmp_path, "a [1]/below/not.png")
    labelled.save(tmp_path, "b/not.png")
    listed = []
    scandir = os.scandir

    def noted(path: Path) -> Iterator[os.DirEntry[str]]:
        listed.append(Path(path))
        return scandir(path)

    monkeypatch.setattr("ocr_pipeline.storage.local.os.scandir", noted)
    bad = ["gone/1.png\tA", "../up.png\tA", "/no/root.png\tA"]
    labels = labelled.write_list(tmp_path / "l.txt", [f"a [1]/{row}" for row in rows] + bad)
    found = inspected(tmp_path, [labels])
    (detail,) = details(found, "unlabelled_picture")
    assert "1 picture without a label" in detail
    assert "a [1]/more.png" in detail
    assert set(listed) == {tmp_path / "a [1]", tmp_path / "gone"}


def test_a_root_that_is_not_there_is_a_fault_of_each_label(tmp_path: Path) -> None:
    labels = labelled.write_list(tmp_path / "l.txt", labelled.lines(tmp_path, 3))
    found = inspected(tmp_path, [labels], images=tmp_path / "nowhere")
    assert found.counts("refuse") == {"missing_picture": 3}


@pytest.mark.parametrize("written", ["图\\ok0.png", "图/ok0.png ", " 图\\ok0.png"])
def test_a_path_that_was_written_otherwise_is_suggested(tmp_path: Path, written: str) -> None:
    labelled.lines(tmp_path / "图", 1)
    labels = labelled.write_list(tmp_path / "l.txt", [f"{written}\tA"])
    (finding,) = inspected(tmp_path, [labels]).findings[:1]
    assert (finding.fault, finding.suggestion) == ("missing_picture", "图/ok0.png")
    assert "'图/ok0.png' is there: write it so" in finding.detail


# --- Characters of the labels ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["new", "union"])
def test_labels_that_are_refused_give_no_characters(tmp_path: Path, mode: str) -> None:
    rows = labelled.lines(tmp_path, 9)
    texts = [
        "\ufeffA",
        "e\u0301",
        "B\ufffdX",
        "中文".encode().decode("latin-1"),
        "###",
        "a\nY",
        "\ue000Z",
        "  b ",
    ]
    rows[: len(texts)] = [f"ok{n}.png\t{text}" for n, text in enumerate(texts)]
    rows += ["gone.png\tQ", "no tab W", f"[\t{'R'}"]
    labels = labelled.write_list(tmp_path / "l.txt", rows)
    charset = inspected(tmp_path, [labels], dictionary={"mode": mode}).charset
    assert charset is not None
    new = set(charset.dictionary) - (set(CHARSET.dictionary) if mode == "union" else set())
    extra = {"A", "8"} if mode == "new" else set()
    assert new - {"a"} == {"\u00e9", "Z", "b"} | extra
    assert not {"\ufeff", "\ufffd", "\ue000", "\u0301", "#"} & new


# --- Shards elsewhere -----------------------------------------------------------------------------


def test_shards_of_a_run_that_fails_are_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = labelled.write_list(tmp_path / "l.txt", labelled.lines(tmp_path, 6))
    pack = {"enabled": True, "out": tmp_path / "packs"}
    settings = labelled.settings(tmp_path, labels, pack=pack)
    made = prepare(settings, CHARSET)
    whole = [path.name for path in (tmp_path / "packs").iterdir()]
    module = sys.modules["ocr_pipeline.preprocess.prepare"]
    written = []

    def broken(*_: object, **__: object) -> None:
        written.extend(path.name for path in (tmp_path / "packs").glob("*/*.tar"))
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Dataset, "fill", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings, CHARSET, replace=True)
    assert len(written) == 4
    assert [path.name for path in (tmp_path / "packs").iterdir()] == whole
    assert Dataset.load(made.folder).manifest == made.manifest


def test_shards_that_no_dataset_uses_any_more_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = labelled.write_list(tmp_path / "l.txt", labelled.lines(tmp_path, 6))
    pack = {"enabled": True, "out": tmp_path / "packs"}
    settings = labelled.settings(tmp_path, labels, pack=pack)
    old = prepare(settings, CHARSET).manifest.pack_root
    assert not caplog.messages
    prepare(settings, CHARSET, replace=True)
    assert [m.split(": ")[0] for m in caplog.messages] == [old]


def test_a_validation_part_that_became_small_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row.split("\t")[0] + "\tAA" for row in labelled.lines(tmp_path, 6)]
    rows += labelled.lines(tmp_path, 1, prefix="b")
    labels = labelled.write_list(tmp_path / "l.txt", rows)
    inspected(tmp_path, [labels], val_count=3)
    assert "1 samples to validate on, not val_count=3" in caplog.text


# --- Killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [None, "packs"])
def test_a_kill_at_any_file_operation_leaves_a_whole_dataset(
    tmp_path: Path, place: str | None
) -> None:
    top = tmp_path / "数据 集"
    top.mkdir()
    labels = det_list(tmp_path, 3)
    pack = {"enabled": True, "out": None if place is None else tmp_path / place}
    changes = {"task": "det", "out": top / "kept-set", "pack": pack, "val_count": 1}
    settings = labelled.settings(tmp_path, labels, **changes)
    (tmp_path / "config.json").write_text(settings.model_dump_json(), encoding="utf-8")
    script = Path(__file__).with_name("killed.py")
    words = [sys.executable, script, tmp_path / "config.json", tmp_path / "log"]
    subprocess.run([str(word) for word in words], check=True, timeout=120)
    rows = [json.loads(row) for row in (tmp_path / "log").read_text().splitlines()]
    assert len(rows) > 25  # deaths
    assert {row["samples"] for row in rows} == {3}
    assert {row["bytes"] for row in rows} == {rows[0]["bytes"]}
    assert {tuple(row["left"]) for row in rows} == {("kept-set",)}
    assert False in {row["there"] for row in rows}  # between the two renames too


def test_the_real_script_may_be_killed(tmp_path: Path, root: Path) -> None:
    top = tmp_path / "out"
    rows = labelled.pages(tmp_path, 4)
    values = {
        "task": "det",
        "out": str(top / "数据"),
        "images": str(tmp_path),
        "train_labels": [str(labelled.write_list(tmp_path / "det.txt", rows))],
        "val_count": 1,
        "workers": 0,
        "pack": {"enabled": True, "shard_mb": 1},
    }
    source = tmp_path / "config.yaml"
    source.write_text(json.dumps(values), encoding="utf-8")
    words = [sys.executable, str(root / "scripts/prepare.py"), "--config", str(source)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not (top.is_dir() and any(top.iterdir())):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
    assert [path.name.split("-")[0] for path in top.iterdir()] in (["数据"], [".数据"])
    prepare(PrepareConfig.model_validate(values), None, replace=True)
    assert [path.name for path in top.iterdir()] == ["数据"]
    assert Dataset.load(top / "数据").manifest.counts == {"train": 3, "val": 1}
