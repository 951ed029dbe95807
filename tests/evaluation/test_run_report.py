import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import DetSample, RecSample, SourceCard
from ocr_pipeline.errors import DataError, ImageError
from ocr_pipeline.evaluation.report_parts import RunFacts, chance
from ocr_pipeline.evaluation.run_report import read_log, write_line_report, write_region_report
from ocr_pipeline.ops.decode import BGRImage
from tests.evaluation.reports import SOURCES, Elements, found_as, line, page, read_as

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' \u202eevil"
LINES = [line("甲乙丙丁"), line("1234"), line("56 78", source=1)]
BOX, OTHER = (10, 10, 60, 30), (100, 10, 190, 40)
PAGES = [page("one.png", [BOX]), page("two.png", [OTHER], ignore=[BOX], source=1)]
LOG: list[dict[str, object]] = [
    {"step": 0, "val_exact": 10.0, "val_exact_normalised": 12.0, "val_extra": 3.0},
    {"step": 10, "lr": 1e-3, "seconds": 1.0, "total": 90.0, "ctc": 60.0},
    {"step": 20, "lr": 0.0, "seconds": 1.0, "total": 0.02, "ctc": float("nan")},
    {"step": 20, "val_exact": 60.0, "val_exact_normalised": 61.0, "val_extra": 3.0},
]
RUN = RunFacts("a run", "step 0", "best, step 20", 20, {"start model": "ppocrv6_tiny_rec"})


def picture(sample: RecSample | DetSample) -> BGRImage:
    return np.full((sample.height, sample.width, 3), 255, np.uint8)


def report(
    folder: Path,
    read: Sequence[str | tuple[str, float]] = ("甲乙丙了", "", "56 78"),
    samples: Sequence[RecSample] = LINES,
    sources: Sequence[SourceCard] = SOURCES,
    run: RunFacts = RUN,
) -> tuple[Elements, str]:
    path = write_line_report(
        folder,
        run=run,
        log=LOG,
        before=read_as(samples, [("x", 0.5)] * len(samples)),
        after=read_as(samples, read),
        sources=sources,
        read=picture,
    )
    content = path.read_text("utf-8")
    return Elements(content), content


def test_a_report_holds_every_part(tmp_path: Path) -> None:
    found, content = report(tmp_path)
    for heading in (
        "a run",
        "Result",
        "Before and after",
        "Curves",
        "Surely wrong",
        "Better than before",
        "Characters taken for others",
        "By source",
        "Confidence",
        "The run",
    ):
        assert heading in found.text
    assert "Worse than before" not in found.text
    assert "Exact match rose from 0.0\xa0% to 33.3\xa0%" in found.text
    assert "that may well be luck: 3 lines are too few" in found.text
    assert "甲乙丙" in found.text
    assert found.tags["svg"] == 6  # loss, exact, extra, learning rate, two of confidence
    assert found.tags["img"] == 4  # two wrong, two better
    assert "NaN" not in content
    assert "nan" not in re.sub(r"base64,[^\"]*", "", content)


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path) -> None:
    found, content = report(tmp_path)
    assert found.tags["script"] == 0
    assert "default-src 'none'" in content
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg;base64,)", content)
    names = {name for name, _ in found.attributes}
    assert "style" not in names  # the policy would drop it
    assert not any(name.startswith("on") for name in names)


def test_hostile_names_and_labels_stay_text(tmp_path: Path) -> None:
    samples = [line(HOSTILE, image=HOSTILE), line("ok"), line("1", source=1)]
    sources = [SourceCard(name=HOSTILE, images="/a"), *SOURCES[1:]]
    run = RunFacts(HOSTILE, HOSTILE, HOSTILE, 1, {HOSTILE: HOSTILE})
    plain, _ = report(tmp_path, ["x", "ok", "1"], [line("q"), *samples[1:]])
    found, content = report(tmp_path, [HOSTILE[5:], "ok", HOSTILE], samples, sources, run)
    assert found.tags["script"] == plain.tags["script"] == 0
    assert not any(name == "onerror" for name, _ in found.attributes)
    assert "\u202e" not in content
    assert "\\u202e" in found.text
    assert "<script>alert(1)</script>" in found.text
    assert all(
        str(value).startswith("data:image/jpeg")
        for name, value in found.attributes
        if name == "src"
    )


def test_half_a_character_does_not_stop_a_report(tmp_path: Path) -> None:
    found, _ = report(tmp_path, ["甲", "\ud800", "1"], [*LINES[:2], line("1", image="a\udc80.png")])
    assert "\\ud800" in found.text
    json.loads((tmp_path / "report.json").read_text("utf-8"))


def test_json_holds_the_same_figures(tmp_path: Path) -> None:
    report(tmp_path)
    values = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (values["format"], values["task"], values["best_step"]) == (1, "rec", 20)
    assert (values["lines"], values["mended"], values["broken"]) == (3, 1, 0)
    exact = values["metrics"][0]
    assert exact["name"] == "exact"
    assert exact["before"]["value"] == 0
    assert exact["after"]["value"] == pytest.approx(100 / 3)
    assert exact["p"] == 1
    assert values["confusions"][0] == {
        "truth": "1", "read": "", "count": 1, "kind": "deletion", "count_before": 1
    }  # fmt: skip
    assert [case["read"] for case in values["surely_wrong"]] == ["甲乙丙了", ""]
    assert [one["wanted"] for one in values["confidence"]["thresholds"]] == [
        0.001, 0.005, 0.01, 0.02, 0.05
    ]  # fmt: skip
    assert values["confidence"]["after"]["accuracies"][0] is None  # an empty bin


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    def unreadable(sample: RecSample | DetSample) -> BGRImage:
        raise ImageError(f"{sample.image}: gone")

    path = write_line_report(
        tmp_path,
        run=RUN,
        log=[],
        before=None,
        after=read_as(LINES, ["", "", ""]),
        sources=SOURCES,
        read=unreadable,
    )
    found = Elements(path.read_text("utf-8"))
    assert found.tags["img"] == 0
    assert found.tags["article"] == 3
    assert "There is nothing to compare with" in found.text
    assert "Curves" not in found.text


def test_pages_with_their_faults_drawn(tmp_path: Path) -> None:
    path = write_region_report(
        tmp_path,
        run=RUN,
        log=[{"step": 0, "val_precision": 1.0, "val_recall": 2.0, "val_hmean": 3.0}],
        before=found_as(PAGES, [[], []]),
        after=found_as(PAGES, [[OTHER], [OTHER]]),
        sources=SOURCES,
        read=picture,
    )
    content = path.read_text("utf-8")
    found = Elements(content)
    assert "Hmean rose from 0.0\xa0% to 50.0\xa0% on 2 pages with 2 regions" in found.text
    assert "1 missed" in found.text
    assert "Found, by height of the region" in found.text
    # Worst, worse, better: the first page twice (missed, then also false), the second once.
    shots = re.findall(r"data:image/jpeg;base64,([^\"]+)", content)
    assert len(shots) == 3
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(shots[0]), np.uint8), cv2.IMREAD_COLOR)
    scale = drawn.shape[1] / 300
    red = drawn[round(20 * scale), round(10 * scale)].astype(int)  # left side of the missed box
    amber = drawn[round(25 * scale), round(100 * scale)].astype(int)
    assert red[2] > red[0] + 80
    assert red[2] > red[1] + 80
    assert amber[2] > amber[0] + 80
    assert amber[1] > amber[0] + 60
    values = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert values["task"] == "det"
    assert values["worst"][0]["after"]["missed"] == [[[10, 10], [60, 10], [60, 30], [10, 30]]]


def test_figures_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing: cannot write the report there"):
        report(tmp_path / "missing")


def test_a_log_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_log(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n')
    assert read_log(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n[2]\n')
    with pytest.raises(DataError, match=r"metrics.jsonl:2: not a JSON object"):
        read_log(path)
    path.write_text("{\n")
    with pytest.raises(DataError, match=r"metrics.jsonl:1: not a JSON object"):
        read_log(path)


@pytest.mark.parametrize(
    ("p", "says"),
    [
        (1.0, "100 of 100"),
        (0.03, "3 of 100"),
        (0.012, "12 of 1,000"),
        (0.0004, "4 of 10,000"),
        (1 / 10_001, "at most 1 of 10,000"),
        (0.0, "at most 1 of 10,000"),
    ],
)
def test_chances_in_words(p: float, says: str) -> None:
    assert chance(p) == says
