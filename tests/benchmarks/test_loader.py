import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.benchmarks import loader as module
from ocr_pipeline.benchmarks import pausing
from ocr_pipeline.benchmarks.interleave import Side, Step, Worker
from ocr_pipeline.benchmarks.loader import (
    LoaderPlan,
    results,
    run_loader,
    summary,
    write_material,
)
from ocr_pipeline.benchmarks.loader_worker import build
from ocr_pipeline.benchmarks.pausing import DrawnBatches, paused
from ocr_pipeline.benchmarks.ppocr_loader_worker import det_config, rec_config
from ocr_pipeline.errors import AssetError, ConfigError, DataError, TrainingError
from ocr_pipeline.paddle_environment import paddle_environment

# Counts for ever in a thread and in a child process, as a pipeline's workers do.
BUSY = """
import multiprocessing, sys, threading, time
from pathlib import Path
from ocr_pipeline.benchmarks.interleave import protocol, serve_steps
def count(path):
    number = 0
    while True:
        number += 1
        Path(path).write_text(f"{number:08d}")
        time.sleep(0.01)
if sys.argv[2:] == ["dies"]:
    raise SystemExit("no such file, it says")
threading.Thread(target=count, args=(sys.argv[1] + "/thread",), daemon=True).start()
multiprocessing.get_context("fork").Process(
    target=count, args=(sys.argv[1] + "/child",), daemon=True
).start()
with protocol() as answers:
    serve_steps(lambda: time.sleep(0.2) or 1.0, {"shapes": []}, answers)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty lines and twenty pages with their lists, and what cannot be used."""
    folder = tmp_path / "data"
    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(0)
    lines, pages = [], []
    for number in range(20):
        name = f"pictures/{number}.jpg"
        picture = random.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), picture)
        lines.append(f"{name}\tAB{number}\n")
        points = [[20, 20], [120, 20], [120, 60], [20, 60]]
        regions = [
            {"transcription": "A", "points": points},
            {"transcription": "###", "points": [[x, y + 45] for x, y in points]},
        ]
        pages.append(f"{name}\t{json.dumps(regions)}\n")
    lines += [
        "pictures/none.jpg\tA\n",
        "pictures/0.jpg\tX\n",
        f"pictures/0.jpg\t{'A' * 26}\n",
    ]
    (folder / "rec_train.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "det_train.txt").write_text("".join(pages), encoding="utf-8")
    return folder


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "dictionary.txt"
    path.write_text("".join(f"{c}\n" for c in "0123456789AB"), encoding="utf-8")
    return path


def test_all_faults_of_a_plan_are_one_message(tmp_path: Path) -> None:
    message = r"^.*none\.txt: no such label list; .*; steps 0; allowed: from 1; workers -1; allowed"
    with pytest.raises(ConfigError, match=message):
        LoaderPlan("rec", tmp_path, labels="none.txt", steps=0, workers=-1)


def test_both_sides_get_the_same_lines(data: Path, dictionary: Path, tmp_path: Path) -> None:
    material = write_material(LoaderPlan("rec", data), dictionary, tmp_path)
    listed = [line.split("\t") for line in material.label_list.read_text().splitlines()]
    samples = Dataset.load(material.dataset).lines("train")
    assert [[s.image, s.text] for s in samples] == listed
    assert len(listed) == material.samples == 20
    assert (samples[0].height, samples[0].width) == (120, 160)


def test_both_sides_get_the_same_pages(data: Path, dictionary: Path, tmp_path: Path) -> None:
    material = write_material(LoaderPlan("det", data), dictionary, tmp_path)
    first = json.loads(material.label_list.read_text().splitlines()[0].split("\t")[1])
    regions = Dataset.load(material.dataset).pages("train")[0].regions
    assert [r["transcription"] for r in first] == ["A", "###"]
    assert [r.ignore for r in regions] == [False, True]
    assert [[list(p) for p in r.points] for r in regions] == [r["points"] for r in first]


def test_too_few_samples_are_named(data: Path, dictionary: Path, tmp_path: Path) -> None:
    (data / "few.txt").write_text("pictures/0.jpg\tA\npictures/1.jpg\tX\n", encoding="utf-8")
    plan = LoaderPlan("rec", data, labels="few.txt")
    with pytest.raises(DataError, match=r"few\.txt: 1 samples that both sides can use; needed: 8"):
        write_material(plan, dictionary, tmp_path)


def steps(*values: tuple[float, float]) -> list[Step]:
    return [Step(seconds, seconds / 2, samples) for seconds, samples in values]


def test_ratio_is_of_samples_a_second_with_ours_above(data: Path) -> None:
    plan = LoaderPlan("rec", data)
    measured = {
        "ours, 48x320": steps((1.0, 100.0), (2.0, 200.0), (1.1, 100.0)),
        "ppocr, 48x320": steps((4.0, 100.0), (4.0, 100.0), (4.4, 110.0)),
        "ours, 32, 48, 64 x320": steps((1.0, 50.0), (1.0, 50.0), (1.0, 50.0)),
        "ppocr, 32, 48, 64 x320": steps((1.0, 25.0), (1.0, 25.0), (1.0, 20.0)),
    }
    said = {name: {"shapes": [[64, 3, 48, 320]]} for name in measured}
    found = results(plan, measured, said)
    assert [(r.name, round(r.samples_per_s)) for r in found] == [
        ("ours", 100),
        ("ppocr", 25),
        ("ours", 50),
        ("ppocr", 25),
    ]
    assert found[1].speedup is None
    assert found[0].cpu_ms_per_sample == pytest.approx(5.0)
    figures = json.loads(json.dumps(summary(plan, found)))
    assert (figures["task"], figures["workers"]) == ("rec", 2)
    assert figures["ratio"] == pytest.approx(4.0)
    assert figures["low"] <= figures["ratio"] <= figures["high"]
    assert (figures["ours"], figures["ppocr"]) == pytest.approx((100, 25))
    assert figures["settings"][1]["ratio"] == pytest.approx(2.0)
    assert figures["cpu_ratio"] == pytest.approx(4.0)


def test_no_ratio_of_cpu_times_below_a_tick_of_the_clock(data: Path) -> None:
    plan = LoaderPlan("det", data)
    measured = {
        "ours, 640x640": [Step(0.1, 0.0, 8.0), Step(0.1, 0.02, 8.0)],
        "ppocr, 640x640": steps((1.0, 8.0), (1.0, 8.0)),
    }
    found = results(plan, measured, {name: {"shapes": []} for name in measured})
    assert found[0].speedup is not None
    assert found[0].cpu_ratio is None
    assert summary(plan, found)["cpu_ratio"] is None


def test_det_and_one_scale_have_one_setting(data: Path) -> None:
    for plan, name in (
        (LoaderPlan("det", data), "640x640"),
        (LoaderPlan("rec", data, multi_scale=False), "48x320"),
    ):
        measured = {f"{who}, {name}": steps((1.0, 8.0)) for who in ("ours", "ppocr")}
        said = {side: {"shapes": []} for side in measured}
        assert [r.setting for r in results(plan, measured, said)] == [name, name]


def numbers(folder: Path) -> list[int]:
    """What was counted to; 0 where it was stopped before or in the middle of writing."""
    paths = [folder / name for name in ("thread", "child")]
    return [int(path.read_text() or 0) if path.exists() else 0 for path in paths]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stops processes by signals")
def test_side_stands_still_between_its_steps_and_leaves_no_process(tmp_path: Path) -> None:
    side = Side("busy", paused([sys.executable, "-c", BUSY, str(tmp_path)]))
    with Worker(side) as worker:
        assert worker.ready() == {"shapes": []}
        seen = [[0, 0]]
        while min(seen[-1]) < 5 and len(seen) < 100:  # until both have run; the machine may be busy
            step = worker.step()
            assert step.seconds >= 0.2
            assert step.loss == 1.0
            assert step.cpu_seconds >= 0
            time.sleep(0.1)  # the signal has arrived
            stopped = numbers(tmp_path)
            time.sleep(0.2)
            assert numbers(tmp_path) == stopped
            seen.append(stopped)
        assert min(seen[-1]) >= 5
    time.sleep(0.5)  # killed while it stood still, and with it its group
    ended = numbers(tmp_path)
    time.sleep(0.2)
    assert numbers(tmp_path) == ended
    assert not [p for p in Path("/proc").glob("[0-9]*") if _runs(p, str(tmp_path))]


def _runs(process: Path, word: str) -> bool:
    try:
        return word.encode() in (process / "cmdline").read_bytes() and process.name != str(
            os.getpid()
        )
    except OSError:  # it ended
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stops processes by signals")
def test_side_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    side = Side("busy", paused([sys.executable, "-c", BUSY, str(tmp_path), "dies"]))
    message = r"side 'busy': its process ended with exit code 1 \(no such file, it says\)"
    with Worker(side) as worker, pytest.raises(TrainingError, match=message):
        worker.ready()


def test_step_counts_samples_and_the_last_one_ends_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pausing, "_SHARED_MEMORY", tmp_path)
    ended = []

    def batches() -> Iterator[list[np.ndarray]]:
        try:
            for size in range(1, 100):
                yield [np.zeros((size, 3)), np.zeros(size)]
        finally:
            ended.append(True)

    drawn = DrawnBatches(batches(), count=2, steps=2)
    assert drawn.shapes() == [[1, 3], [1]]
    assert [drawn.step(), drawn.step()] == [2 + 3, 4 + 5]
    assert not ended
    assert drawn.step() == 0
    assert ended == [True]


@pytest.mark.parametrize(
    ("task", "heights", "shapes"),
    [
        ("rec", [48], {(8, 3, 48, 320)}),
        ("rec", [32, 48, 64], {(12, 3, 32, 320), (8, 3, 48, 320), (6, 3, 64, 320)}),
        ("det", [], {(8, 3, 640, 640)}),
    ],
)
def test_our_side_draws_batches(
    task: module.LoaderTask,
    heights: list[int],
    shapes: set[tuple[int, ...]],
    data: Path,
    dictionary: Path,
    tmp_path: Path,
) -> None:
    material = write_material(LoaderPlan(task, data), dictionary, tmp_path)
    values = {"task": task, "heights": heights, "batch": 8, "workers": 0}
    batches = build({**values, "dataset": str(material.dataset)})
    first = [next(batches) for _ in range(6)]
    whole = {tuple(b[0].shape) for b in first if tuple(b[0].shape) in shapes}
    assert whole
    for batch in first:
        images = batch[0].numpy()
        assert images.dtype == np.float32
        assert tuple(images.shape)[1:] in {shape[1:] for shape in shapes}
        assert np.isfinite(images).all()
        assert all(len(array) == len(images) for array in batch)
    batches.close()


def config_values(**values: object) -> dict[str, object]:
    base = {"data": "d", "list": "l", "repeats": 2, "dictionary": "c", "batch": 64, "workers": 2}
    return {**base, **values}


def test_ppocr_is_configured_as_its_own_files_have_it() -> None:
    rec = rec_config(config_values(heights=[32, 48, 64]))
    names = [next(iter(step)) for step in rec["Train"]["dataset"]["transforms"]]
    assert names == ["DecodeImage", "RecConAug", "RecAug", "MultiLabelEncode", "KeepKeys"]
    assert rec["Train"]["sampler"]["scales"] == [[320, 32], [320, 48], [320, 64]]
    assert rec["Train"]["sampler"]["first_bs"] == 96
    assert rec["Train"]["dataset"]["label_file_list"] == ["l", "l"]
    assert rec_config(config_values(heights=[48]))["Train"]["sampler"]["first_bs"] == 64
    det = det_config(config_values(heights=[]))
    names = [next(iter(step)) for step in det["Train"]["dataset"]["transforms"]]
    assert names == [
        "DecodeImage",
        "DetLabelEncode",
        "CopyPaste",
        "IaaAugment",
        "EastRandomCropData",
        "MakeBorderMap",
        "MakeShrinkMap",
        "NormalizeImage",
        "ToCHWImage",
        "KeepKeys",
    ]
    assert det["Train"]["loader"]["batch_size_per_card"] == 64


@pytest.mark.slow
@pytest.mark.parametrize("task", ["rec", "det"])
def test_one_real_step_of_each_side(task: module.LoaderTask, data: Path) -> None:
    plan = LoaderPlan(task, data, steps=1, warmup=1, batches=1, workers=1, batch=4)
    try:
        found = run_loader(plan, paddle_environment())
    except AssetError as error:
        pytest.skip(str(error))
    figures = summary(plan, found)
    assert figures["ours"] > 0
    assert figures["ppocr"] > 0
    for ours, theirs in zip(found[::2], found[1::2], strict=True):
        assert ours.shapes[0][1] == theirs.shapes[0][1] == 3
        assert ours.shapes[0][3] == theirs.shapes[0][3] == (320 if task == "rec" else 640)
    if task == "det":  # four maps of the size of the picture on both sides
        assert found[0].shapes[1][1:] == [4, 640, 640]
        assert [shape[1:] for shape in found[1].shapes[1:]] == [[640, 640]] * 4
