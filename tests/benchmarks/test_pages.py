import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ocr_pipeline.benchmarks import peer_pages_worker
from ocr_pipeline.benchmarks.drawn_pages import draw_pages
from ocr_pipeline.benchmarks.interleave import Side
from ocr_pipeline.benchmarks.pages import (
    Page,
    PagesPlan,
    PagesReport,
    Profile,
    Readings,
    our_sides,
    profile_side,
    read_in_turn,
    results,
    run_pages,
)
from ocr_pipeline.benchmarks.pages_profile import NAMES, STEPS, profile_page
from ocr_pipeline.benchmarks.pages_report import as_markdown, summary
from ocr_pipeline.benchmarks.pages_worker import load
from ocr_pipeline.benchmarks.peers import PEERS, find_peers
from ocr_pipeline.benchmarks.reading import Found, answer_with
from ocr_pipeline.benchmarks.statistics import difference_of_rates, median_of_ratios
from ocr_pipeline.errors import ConfigError, DataError, TrainingError
from ocr_pipeline.evaluation.pages import TruthLine, load_truth
from ocr_pipeline.inference.reader import PageText, ReadLine
from tests.conftest import ExportedPair
from tests.processes import stops

# Reads what stands in the picture's file; the side "slow" says that it took twice as long.
FAKE = '''
import json, os, subprocess, sys, time
from pathlib import Path
from ocr_pipeline.benchmarks.interleave import protocol, serve
from ocr_pipeline.benchmarks.reading import answer_with
name, log, children = sys.argv[1], Path(sys.argv[2]), []
CHILD = """
import sys, time
held = b"x" * 10**8
while time.process_time() < 0.5:
    pass
print("done", flush=True)
sys.stdin.read()
"""
log.with_name(name).write_text(str(os.getpid()))
def read(path):
    if name == "dies":
        raise SystemExit("no memory, it says")
    with log.open("a") as stream:
        stream.write(f"{name}:{Path(path).name}\\n")
    if name == "child" and not children:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        children.append(subprocess.Popen([sys.executable, "-c", CHILD], **pipes))
        children[0].stdout.readline()
    return []
timed = answer_with(read)
def answer(request):
    values = timed(request)
    if "seconds" in values:
        slow = 2 if name == "slow" else 1
        values["seconds"] = slow * (0.1 if request.endswith("a.png") else 0.3)
        values["lines"] = json.loads(Path(request).with_suffix(".json").read_text())[:slow]
    return values
with protocol() as answers:
    serve(answer, {}, answers)
'''
SQUARE = [[0, 0], [100, 0], [100, 20], [0, 20]]
BELOW = [[0, 40], [100, 40], [100, 60], [0, 60]]


def fake(name: str, log: Path) -> Side:
    return Side(name, [sys.executable, "-c", FAKE, name, str(log)])


@pytest.fixture
def pages(tmp_path: Path) -> list[Page]:
    found = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.png"
        truth = [[SQUARE, "ABCD"], [BELOW, "E F"]]
        path.with_suffix(".json").write_text(json.dumps(truth))
        found.append(Page(path, load_truth(path.with_suffix(".json"))))
    return found


def test_all_faults_of_a_plan_are_one_message() -> None:
    message = (
        r"^size 'huge'; allowed: small, tiny; detector rule 'mine'; allowed: own, rapidocr, "
        r"faster-paddle; rounds 0; allowed: from 1$"
    )
    with pytest.raises(ConfigError, match=message):
        PagesPlan(size="huge", det_rules="own,mine", rounds=0)
    with pytest.raises(ConfigError, match="against easyocr: no such reader; allowed: rapidocr-op"):
        PagesPlan(against="rapidocr-openvino,easyocr")


def test_every_peer_has_a_worker_and_a_list() -> None:
    assert set(PEERS) == set(peer_pages_worker.PEERS)
    assert all(peer.list_path.is_file() for peer in PEERS.values())
    assert [peer.name for peer in find_peers("paddleocr, rapidocrlite,paddleocr,")] == [
        "paddleocr",
        "rapidocrlite",
    ]


def test_sides_read_each_picture_in_turn(pages: list[Page], tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    told: list[tuple[int, int]] = []
    readings = read_in_turn(
        [fake("first", log), fake("slow", log)],
        pages,
        rounds=2,
        warmup=1,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert log.read_text().split() == [
        *("first:a.png", "slow:a.png", "slow:b.png", "first:b.png"),
        *("slow:a.png", "first:a.png", "first:b.png", "slow:b.png"),
        *("first:a.png", "slow:a.png", "slow:b.png", "first:b.png"),
    ]
    assert told[-1] == (12, 12)
    assert readings["slow"].seconds == [[0.2, 0.2], [0.6, 0.6]]
    assert all(side.first_start_s > 0 < side.start_s for side in readings.values())
    first, slow = results(pages, readings)
    assert first.milliseconds == pytest.approx(200)
    assert first.ratio is None
    assert slow.ratio == pytest.approx((2.0, 2.0, 2.0))
    # The first one leaves out the second line: 2 of 6 characters a page.
    assert (first.cer, slow.cer) == pytest.approx((100 / 3, 0))
    assert (first.lines, first.characters) == (2, 8)
    assert (slow.lines, slow.characters) == (4, 12)
    if sys.platform.startswith("linux"):
        assert first.peak_mb > 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
def test_sides_stand_still_without_a_turn(pages: list[Page], tmp_path: Path) -> None:
    stopped: list[bool] = []

    def look(_done: int, _total: int) -> None:
        for name in ("first", "slow"):
            stopped.append(stops(int((tmp_path / name).read_text())))

    sides = [fake(name, tmp_path / "log.txt") for name in ("first", "slow")]
    read_in_turn(sides, pages, rounds=1, warmup=0, on_progress=look)
    assert stopped == [True] * 8


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
def test_what_the_child_of_a_side_uses_is_its_own(pages: list[Page], tmp_path: Path) -> None:
    side = fake("child", tmp_path / "log.txt")
    readings = read_in_turn([side], pages[:1], rounds=1, warmup=0)["child"]
    assert readings.cpu_seconds[0][0] > 0.4  # told in hundredths, rounded down
    assert readings.peak_mb > 100


def test_side_that_ends_is_named(pages: list[Page], tmp_path: Path) -> None:
    message = r"side 'dies': its process ended with exit code 1 \(no memory, it says\); run it"
    with pytest.raises(TrainingError, match=message):
        read_in_turn([fake("dies", tmp_path / "log.txt")], pages, rounds=1, warmup=0)


def test_ratio_is_the_median_over_pictures() -> None:
    ours = [[1.0, 1.0, 9.0], [2.0], [1.0]]
    theirs = [[2.0, 2.0, 2.0], [3.0], [4.0]]
    ratio = median_of_ratios(theirs, ours)
    assert ratio.value == 2.0
    assert (ratio.low, ratio.high) == (1.5, 4.0)
    with pytest.raises(ValueError, match="1 pictures of one side and 2 of the other"):
        median_of_ratios([[1.0], [1.0]], [[1.0]])
    with pytest.raises(ValueError, match="each with at least one round"):
        median_of_ratios([[1.0]], [[]])


def test_the_interval_of_a_difference_in_faults_is_that_of_other_pictures() -> None:
    same = difference_of_rates([3, 0, 2, 1], [3, 0, 2, 1], [100, 50, 100, 150])
    assert same == (0.0, 0.0, 0.0)
    # One picture of ten decides: whether it is among others is chance.
    chance = difference_of_rates([12, *[1] * 9], [1] * 10, [100] * 10)
    assert chance.value == pytest.approx(0.011)
    assert (chance.low, chance.high) == (0.0, pytest.approx(0.033))
    sure = difference_of_rates([4, 5, 6, 4, 5, 6], [1] * 6, [100] * 6)
    assert sure.value == pytest.approx(0.04)
    assert 0.03 <= sure.low < 0.04 < sure.high <= 0.05
    with pytest.raises(ValueError, match="faults in 2 and 1 pictures, 2 sizes of 3 in all"):
        difference_of_rates([1, 1], [1], [1, 2])
    with pytest.raises(ValueError, match="with something to read"):
        difference_of_rates([1], [1], [0])


def made_report(pages: list[Page]) -> PagesReport:
    readings = {name: Readings.of(2) for name in ("ours", "rapidocr-openvino")}
    for name, factor in (("ours", 1.0), ("rapidocr-openvino", 1.7)):
        readings[name].seconds = [[factor], [2 * factor]]
        readings[name].cpu_seconds = [[factor], [factor]]
        readings[name].peak_mb = 100 * factor
    steps = dict.fromkeys(NAMES, 10.0)
    profile = Profile("ours", milliseconds=110.0, steps=steps, networks=100.0, above=0.1)
    return PagesReport(PagesPlan(), 2, 12, results(pages, readings), [profile])


def test_summary_is_one_json_object(pages: list[Page]) -> None:
    figures = json.loads(json.dumps(summary(made_report(pages))))
    assert figures["ratio"] == {"rapidocr-openvino": 1.7}
    assert figures["cer"] == {"ours": 100.0, "rapidocr-openvino": 100.0}
    assert figures["cer_above"] == {"rapidocr-openvino": [0.0, 0.0, 0.0]}
    assert figures["peak_mb"] == {"ours": 100, "rapidocr-openvino": 170}
    assert figures["above_networks"] == {"ours": 0.1}
    assert figures["profile"]["ours"]["det network"] == 10.0


def test_table_says_what_a_peer_does_its_own_way(pages: list[Page]) -> None:
    text = as_markdown(made_report(pages))
    assert "| rapidocr-openvino | 2,550 | 1,700 | 1.70 (1.70 to 1.70) | 100.000 | +0.000 (" in text
    assert "- rapidocr-openvino: longer side at most 2000 px" in text
    assert "| above these | 10.0% |" in text
    assert all(f"| {name} | 10.0 |" in text for name in NAMES)


def test_answer_has_plain_values() -> None:
    points = np.array(SQUARE, dtype=np.float32)
    answer = answer_with(lambda path: [Found(points.tolist(), path)])
    values = json.loads(json.dumps(answer("x.png")))
    assert values["lines"] == [[[[float(v) for v in p] for p in SQUARE], "x.png"]]
    assert values["seconds"] >= 0


class Doubling:
    """An engine whose probabilities are twice its input."""

    lanes = 2

    def __init__(self) -> None:
        self.seen: list[float] = []

    def run(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(float(images.max()))
        return np.asarray(2 * images)


class FakeReader:
    """Runs the detector once and the recognizer twice, and uses one array for all of it."""

    def __init__(self) -> None:
        self.detector = SimpleNamespace(engine=Doubling())
        self.recognizer = SimpleNamespace(engine=Doubling())

    def read(self, path: str) -> PageText:
        array = np.zeros((1, 3, 4, 4), dtype=np.float32)
        for value, part in ((1, self.detector), (2, self.recognizer), (3, self.recognizer)):
            array[:] = value
            assert part.engine.lanes == 2
            assert part.engine.run(array).max() == 2 * value
        line = ReadLine("A", 1.0, np.zeros((4, 2), dtype=np.float32), 1.0, 0)
        return PageText([line], 4, 4, {}, {})


def test_profile_runs_the_networks_alone_on_the_same_inputs() -> None:
    reader = FakeReader()
    det, rec = reader.detector.engine, reader.recognizer.engine
    before = [getattr(importlib.import_module(s.module), s.function) for s in STEPS]
    values = profile_page(reader, "x.png")
    assert det.seen == [1.0] * 3
    assert sorted(rec.seen) == [2.0] * 3 + [3.0] * 3
    assert values["runs"] == {"det": 1, "rec": 2}
    assert list(values["steps"]) == list(NAMES)
    assert values["steps"]["det network"] > 0
    assert values["steps"]["crop"] == 0
    assert values["networks"] > 0
    # All is as it was.
    assert (reader.detector.engine, reader.recognizer.engine) == (det, rec)
    after = [getattr(importlib.import_module(s.module), s.function) for s in STEPS]
    assert after == before


def test_profile_names_a_function_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("ocr_pipeline.inference.reader.crop_line")
    with pytest.raises(ConfigError, match=r"inference\.reader\.crop_line, which is not there"):
        profile_page(FakeReader(), "x.png")


def test_profile_is_of_medians(pages: list[Page], tmp_path: Path) -> None:
    script = """
import json, sys
from ocr_pipeline.benchmarks.interleave import protocol, serve
from ocr_pipeline.benchmarks.pages_profile import NAMES
taken = 0
def answer(path):
    global taken
    taken += 1
    seconds = 100.0 if taken <= 2 else 0.12
    return {"seconds": seconds, "networks": 0.1, "steps": dict.fromkeys(NAMES, 0.01)}
with protocol() as answers:
    serve(answer, {}, answers)
"""
    profile = profile_side(Side("p", [sys.executable, "-c", script]), pages, rounds=2)
    assert profile.milliseconds == pytest.approx(120)  # the first round is left out
    assert profile.above == pytest.approx(0.2)
    assert profile.steps["ordering"] == pytest.approx(10)


def test_folder_without_truth_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="no picture with a truth file of the same name"):
        run_pages(PagesPlan(pages=tmp_path), {})


def test_drawn_pages_have_their_text(tmp_path: Path) -> None:
    folder = draw_pages(tmp_path, 2)
    pictures = sorted(folder.glob("*.jpg"))
    assert len(pictures) == 2
    for picture in pictures:
        truth = load_truth(picture.with_suffix(".json"))
        assert truth
        assert all(isinstance(line, TruthLine) and line.text for line in truth)


@pytest.mark.slow
def test_our_side_alone(exported_tiny: ExportedPair) -> None:
    plan = PagesPlan(size="tiny", drawn=2, rounds=1, det_rules="own,rapidocr")
    report = run_pages(plan, {})
    assert [side.name for side in report.sides] == ["ours", "ours, size as rapidocr"]
    figures: dict[str, Any] = summary(report)
    assert set(figures["ratio"]) == {"ours, size as rapidocr"}
    for name in figures["cer"]:
        assert figures["cer"][name] < 10
        assert figures["above_networks"][name] > -0.5
        assert all(figures["profile"][name][step] > 0 for step in NAMES)


@pytest.mark.slow
def test_detector_rule_changes_the_input(exported_tiny: ExportedPair, tmp_path: Path) -> None:
    values = {
        "det": str(exported_tiny.det),
        "rec": str(exported_tiny.rec),
        "engine": {"variant": "paddle-fp32", "threads": 1},
    }
    own, other = (load({**values, "det_rule": rule}) for rule in ("own", "rapidocr"))
    assert other.detector.spec.image.min_side == 736
    assert own.detector.spec.image.min_side == 64
    assert other.detector.spec.decode == own.detector.spec.decode


def test_sides_have_the_names_of_what_differs(tmp_path: Path) -> None:
    for folder in ("det", "rec"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "exported.json").touch()
    plan = PagesPlan(
        det=str(tmp_path / "det"),
        rec=str(tmp_path / "rec"),
        variants="openvino-bf16,paddle-fp32",
        det_rules="own,rapidocr",
    )
    sides = our_sides(plan, {"FLAG": "1"}, tmp_path / "first.png")
    assert [side.name for side in sides] == [
        "ours, openvino-bf16",
        "ours, openvino-bf16, size as rapidocr",
        "ours, paddle-fp32",
        "ours, paddle-fp32, size as rapidocr",
    ]
    values = json.loads(sides[1].command[-1])
    assert values["engine"] == {"variant": "openvino-bf16", "threads": 2}
    assert values["det_rule"] == "rapidocr"
    assert sides[0].environment["FLAG"] == "1"
