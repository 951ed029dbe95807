"""Replay lines in a dataset: which texts, which share, and what they leave as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, Split
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.replay import ReplayConfig
from ocr_pipeline.errors import AssetError, DataError, TrainingError
from ocr_pipeline.evaluation.lines import evaluate_lines
from ocr_pipeline.evaluation.sources import load_any_recognizer
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import steps_needed
from ocr_pipeline.ops.resize import rec_width
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.preprocess.replay import open_replay
from ocr_pipeline.preprocess.synthesis.general import first_level
from ocr_pipeline.training.rec_loader import RecLoader
from tests.preprocess import labelled
from tests.processes import children, lives

PRINT = "".join(chr(code) for code in range(0x21, 0x7F))
CHARSET = Charset([*PRINT, *first_level(), *"，。、：；？！“”（）《》【】「」¥℃·—×…"])
IMAGE = RecImageSpec(min_width=192, width_step=64)
PARTS: tuple[Split, Split] = ("train", "val")


def settings(root: Path, count: int = 12, **changes: object) -> PrepareConfig:
    """For some lines of noise, labelled A0, A1, ...; few and short replay lines."""
    labels = labelled.write_list(root / "labels.txt", labelled.lines(root, count))
    replay = {"lines": 10, "val_lines": 4, "longest": 6}
    values: dict[str, object] = {"replay": replay, "image": IMAGE}
    return labelled.settings(root, labels, **(values | changes))


def replayed(dataset: Dataset, split: Split) -> list[RecSample]:
    sources = dataset.manifest.sources
    return [sample for sample in dataset.lines(split) if sources[sample.source].replay]


def contents(dataset: Dataset, split: Split) -> list[bytes]:
    read = dataset.pictures(split).content
    return [read(sample) for sample in replayed(dataset, split)]


def files(folder: Path, *, but: str = "") -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != but)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# --- What comes into the dataset ------------------------------------------------------------------


def test_lines_join_both_parts_and_are_marked_by_their_source(tmp_path: Path) -> None:
    dataset = Dataset.load(prepare(settings(tmp_path), CHARSET).folder)
    assert dataset.manifest.counts == {"train": 20, "val": 6}
    assert [(card.name, card.replay) for card in dataset.manifest.sources] == [
        ("labels.txt", False),
        ("replay", True),
    ]
    texts = []
    for split, count in (("train", 10), ("val", 4)):
        lines = replayed(dataset, split)
        assert len(lines) == count
        assert [line.source for line in dataset.lines(split)][-count:] == [1] * count
        for line in lines:
            picture = dataset.pictures(split).read(line)
            assert picture.shape == (line.height, line.width, 3)
            assert 10 <= line.height <= 90
            gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            assert np.percentile(gray, 99) - np.percentile(gray, 1) > 60  # something is written
            steps = rec_width(line.height, line.width, IMAGE)[1] // IMAGE.time_stride
            assert steps_needed(CHARSET.encode(line.text)) <= steps
        texts.append({line.text for line in lines})
    assert not texts[0] & texts[1]
    assert "replay/replay-val-000000.jpg" in dataset.pictures("val").where(
        replayed(dataset, "val")[0]
    )


def test_the_bytes_follow_from_the_seed_whatever_the_number_of_workers(tmp_path: Path) -> None:
    replay = {"lines": 70, "val_lines": 3, "longest": 5}
    made = []
    for workers in (0, 2):
        out = tmp_path / f"{workers}" / "set"
        prepare(settings(tmp_path, replay=replay, workers=workers, out=out), CHARSET)
        made.append(files(out, but="manifest.json"))
    assert made[0] == made[1]
    other = settings(tmp_path, replay=replay | {"seed": 1}, out=tmp_path / "other")
    assert files(prepare(other, CHARSET).folder)["val.jsonl"] != made[0]["val.jsonl"]
    less = settings(tmp_path, replay=replay | {"lines": 5}, out=tmp_path / "less")
    few = prepare(less, CHARSET)
    many = Dataset.load(tmp_path / "0" / "set")
    for split in PARTS:
        assert contents(many, split)[: len(contents(few, split))] == contents(few, split)


def test_own_lines_and_what_the_linter_says_stay_as_they_are_without(tmp_path: Path) -> None:
    changes = {"check": {"min_samples": 5}, "count": 14}
    without = prepare(
        settings(tmp_path, replay=None, out=tmp_path / "a" / "set", **changes), CHARSET
    )
    beside = prepare(settings(tmp_path, out=tmp_path / "b" / "set", **changes), CHARSET)
    plain, more = files(without.folder), files(beside.folder)
    for name in ("report.json", "report.html", "refused.jsonl", "charset.txt"):
        assert more[name] == plain[name]
    assert b"rare_character" in plain["report.json"]
    for split in PARTS:
        assert more[f"{split}.jsonl"].startswith(plain[f"{split}.jsonl"])
        assert list(beside.lines(split))[: len(without.lines(split))] == list(without.lines(split))
    assert "packs" not in {name.split("/")[0] for name in plain}
    for field in ("refused", "fixed", "kept"):
        assert getattr(without.manifest, field) == getattr(beside.manifest, field)


def test_a_share_of_0_trains_as_without_and_still_measures(tmp_path: Path) -> None:
    off = {"share": 0, "val_lines": 4, "longest": 6}
    guard = prepare(settings(tmp_path, replay=off, out=tmp_path / "off"), CHARSET)
    none = prepare(settings(tmp_path, replay=None, out=tmp_path / "none"), CHARSET)
    assert guard.manifest.counts == {"train": 10, "val": 6}
    assert len(replayed(guard, "val")) == 4
    drawn = [
        [a.numpy() for b in islice(loader(d).from_step(0), 5) for a in (b.images, b.labels)]
        for d in (guard, none)
    ]
    for with_guard, without in zip(*drawn, strict=True):
        np.testing.assert_array_equal(with_guard, without)


def test_manifests_from_before_are_read(tmp_path: Path) -> None:
    dataset = prepare(settings(tmp_path, replay=None), CHARSET)
    path = dataset.folder / "manifest.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    for source in card["sources"]:
        assert source.pop("replay") is False
    del card["config"]["replay"]
    path.write_text(json.dumps(card), encoding="utf-8")
    assert Dataset.load(dataset.folder).manifest.sources == dataset.manifest.sources


# --- Share ----------------------------------------------------------------------------------------


def loader(
    dataset: Dataset, *, config: LoaderConfig | None = None, rank: int = 0, world: int = 1
) -> RecLoader:
    return RecLoader(
        dataset,
        image=IMAGE,
        augment=None,
        batch=4,
        seed=3,
        config=config or LoaderConfig(),
        rank=rank,
        world=world,
    )


@pytest.mark.parametrize(("share", "lines"), [(0.25, 40), (0.6, 10), (0.05, 30)])
def test_the_share_holds_in_what_the_loader_draws(tmp_path: Path, share: float, lines: int) -> None:
    first = labelled.write_list(tmp_path / "a.txt", labelled.lines(tmp_path / "a", 20, text="zz"))
    second = labelled.write_list(tmp_path / "b.txt", labelled.lines(tmp_path / "b", 10, text="yy"))
    sources = [
        {"labels": first, "images": tmp_path / "a"},
        {"labels": second, "images": tmp_path / "b", "weight": 2.5},
    ]
    replay = {"share": share, "lines": lines, "val_lines": 2, "longest": 5}
    for number in range(10):  # two pictures of one look would be held out together
        labelled.save(tmp_path / "b", f"ok{number}.png", labelled.noise(f"other {number}"))
    dataset = prepare(settings(tmp_path, train_labels=sources, replay=replay), CHARSET)
    drawn = loader(dataset)
    own = {s.text for s in dataset.lines("train") if s.source < 2}
    steps = 12 * drawn.steps_per_epoch()
    shown = [
        CHARSET.decode(row[:length].tolist()) not in own
        for batch in islice(drawn.from_step(0), steps)
        for row, length in zip(
            batch.labels.numpy(), batch.label_lengths.numpy().tolist(), strict=True
        )
    ]
    assert len(shown) > 400
    assert np.mean(shown) == pytest.approx(share, abs=0.02)


# --- Packs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [None, "elsewhere"])
def test_packed_datasets_hold_them_too(tmp_path: Path, place: str | None) -> None:
    plain = prepare(settings(tmp_path, out=tmp_path / "plain"), CHARSET)
    pack = {"enabled": True, "out": None if place is None else tmp_path / place}
    packed = prepare(settings(tmp_path, out=tmp_path / "packed", pack=pack), CHARSET)
    expected = [contents(plain, split) for split in PARTS]
    own = plain.pictures("train").content(plain.lines("train")[0])
    for picture in tmp_path.glob("ok*.png"):
        picture.unlink()
    moved = packed.folder.replace(tmp_path / "moved")
    dataset = Dataset.load(moved)
    assert [contents(dataset, split) for split in PARTS] == expected
    assert dataset.pictures("train").content(dataset.lines("train")[0]) == own
    assert sum(shard.samples for shard in dataset.manifest.packs["train"]) == 20
    plain_moved = Dataset.load(plain.folder.replace(tmp_path / "plain moved"))
    assert [contents(plain_moved, split) for split in PARTS] == expected


def test_shards_of_replay_alone_are_none_to_share_out(tmp_path: Path) -> None:
    dataset = prepare(settings(tmp_path), CHARSET)
    with pytest.raises(TrainingError, match="1 shards of train for 2 processes; .*pack.enabled"):
        loader(dataset, config=LoaderConfig(own_shards=True), rank=0, world=2)


# --- Texts ----------------------------------------------------------------------------------------


def some_texts(
    charset: Charset,
    *,
    image: RecImageSpec = IMAGE,
    taken: frozenset[str] = frozenset(),
    **changes: object,
) -> list[str]:
    values = {"lines": 60, "longest": 8}
    replay = open_replay(ReplayConfig.model_validate(values | changes))
    return replay.texts("train", charset, image, taken=taken)


@pytest.mark.parametrize(
    "dictionary", ["0123456789", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", "的一是在不了有和人这"]
)
def test_texts_hold_characters_of_the_set_alone(dictionary: str) -> None:
    charset = Charset(list(dictionary))
    made = some_texts(charset)
    assert not any(charset.unknown(text) for text in made)
    assert len(made) == 60
    assert len(set(made)) > 10


def test_no_text_stands_in_both_parts_where_there_are_few() -> None:
    replay = open_replay(ReplayConfig(lines=300, val_lines=100, longest=4))
    numbers = Charset(list("0123456789"))
    train, val = (set(replay.texts(split, numbers, IMAGE, taken=())) for split in PARTS)
    assert min(len(train), len(val)) > 20
    assert not train & val


@pytest.mark.parametrize("mode", ["new", "union"])
def test_dictionaries_of_other_modes(tmp_path: Path, mode: str) -> None:
    dictionary = {"mode": mode}
    model = Charset(list("0123456789"))
    dataset = prepare(settings(tmp_path, dictionary=dictionary), model)
    # 12 labels, A0 to A11; none of the replay lines has added a character.
    assert set(dataset.characters().dictionary) <= set("A0123456789")
    for split in PARTS:
        for line in dataset.lines(split):
            assert not dataset.characters().unknown(line.text)


def test_a_set_that_general_text_has_nothing_of_is_named() -> None:
    with pytest.raises(DataError, match=r"replay: no text for the train part.*replay\.corpus"):
        some_texts(Charset(["龘"]))


def test_lines_fit_into_the_widest_bucket() -> None:
    narrow = RecImageSpec(min_width=192, max_width=320)
    assert max(map(len, some_texts(CHARSET))) > 8  # Latin letters are narrower
    assert all(len(text) <= 9 for text in some_texts(CHARSET, image=narrow))


def test_texts_of_a_corpus(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    rows = [f"第{number}行 row{number}" for number in range(30)]
    corpus.write_text("\n".join([*rows, "龘龘"]), encoding="utf-8")
    made = some_texts(CHARSET, corpus=corpus, longest=12)
    assert len(set(made)) > 15
    assert all(any(text in row for row in rows) for text in made)
    taken = frozenset(made[:5])
    assert not taken & set(some_texts(CHARSET, corpus=corpus, longest=12, taken=taken))
    replay = open_replay(ReplayConfig(lines=60, val_lines=60, corpus=corpus))
    parts = [set(replay.texts(split, CHARSET, IMAGE, taken=())) for split in PARTS]
    assert not parts[0] & parts[1]
    assert parts[1]


def test_own_texts_are_left_out(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    rows = [f"A{number}" for number in range(40)]
    corpus.write_text("\n".join(rows), encoding="utf-8")
    replay = {"lines": 30, "val_lines": 5, "corpus": corpus}
    dataset = prepare(settings(tmp_path, replay=replay), CHARSET)
    for split in PARTS:
        assert {line.text for line in replayed(dataset, split)} <= set(rows[12:])


# --- Faults ---------------------------------------------------------------------------------------


def test_detection_is_refused() -> None:
    with pytest.raises(ValidationError, match="replay is for recognition.*set task to rec"):
        PrepareConfig(out=Path("x"), task="det", train_labels=["a.txt"], replay=ReplayConfig())


def test_replay_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing to draw.*leave replay out"):
        ReplayConfig(share=0, val_lines=0)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"corpus": "gone.txt"}, DataError, "gone.txt: cannot read this text"),
        ({"fonts": ["gone.ttf"]}, AssetError, "gone.ttf: no such font file or folder"),
    ],
)
def test_what_is_absent_is_said_before_the_check(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], says: str
) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(error, match=says):
        prepare(settings(tmp_path, replay=changes), CHARSET, on_progress=lambda *p: seen.append(p))
    assert not seen
    assert not (tmp_path / "out").exists()


def test_progress_goes_on_to_the_last_line(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare(settings(tmp_path), CHARSET, on_progress=lambda *pair: seen.append(pair))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (26, 26)


# --- Killed ---------------------------------------------------------------------------------------

_ENDLESS = """
import sys
from pathlib import Path
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess import prepare

def report(done, total):
    if done > 12:
        print(done, flush=True)

if __name__ == "__main__":
    settings = PrepareConfig.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    charset = Charset.load(Path(sys.argv[2]))
    prepare(settings, charset, replace=True, on_progress=report)
"""


def waited(until: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.05)
    return until()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to see processes")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_the_old_dataset_and_no_processes(tmp_path: Path, sign: int) -> None:
    place = tmp_path / "place"
    before = settings(tmp_path, out=place / "set")
    old = prepare(before, CHARSET).manifest
    endless = settings(
        tmp_path, out=place / "set", replay={"lines": 20_000, "longest": 6}, workers=2
    )
    (tmp_path / "config.json").write_text(endless.model_dump_json(), encoding="utf-8")
    CHARSET.save(tmp_path / "charset.txt")
    script = tmp_path / "endless.py"
    script.write_text(_ENDLESS, encoding="utf-8")
    run = subprocess.Popen(
        [sys.executable, script, tmp_path / "config.json", tmp_path / "charset.txt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout is not None
    try:
        assert int(run.stdout.readline()) > 12  # it draws
        workers = children(run.pid)
        assert len(workers) >= 2
    finally:
        run.send_signal(sign)
        run.stdout.close()
        assert run.wait(timeout=60) != 0
    assert waited(lambda: not any(lives(pid) for pid in workers), 30)
    assert Dataset.load(place / "set").manifest == old
    prepare(before, CHARSET, replace=True)
    assert [path.name for path in place.iterdir()] == ["set"]


# --- Against the released model -------------------------------------------------------------------


@pytest.mark.slow
def test_the_released_recognizer_reads_them(released_weights: None, tmp_path: Path) -> None:
    recognizer = load_any_recognizer("ppocrv6_small_rec")
    replay = {"lines": 1, "val_lines": 60, "longest": 12}
    dataset = prepare(settings(tmp_path, replay=replay), recognizer.charset)
    report = evaluate_lines(recognizer, replayed(dataset, "val"), dataset.pictures("val").read)
    assert report.normalised.cer < 1.0
    assert report.raw.cer < 2.0


def test_own_lines_are_those_that_are_not_replayed(tmp_path: Path) -> None:
    dataset = prepare(settings(tmp_path), CHARSET)
    for split in PARTS:
        own, drawn = dataset.own_lines(split), replayed(dataset, split)
        assert own
        assert [*own, *drawn] == list(dataset.lines(split))  # and they come first
        assert not set(own) & set(drawn)
    plain = prepare(settings(tmp_path, replay=None, out=tmp_path / "plain"), CHARSET)
    assert list(plain.own_lines("val")) == list(plain.lines("val"))
