import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess.check import Checked, CheckResult, Finding, Rules, check_samples
from ocr_pipeline.preprocess.report import terminal_table, write_report
from ocr_pipeline.storage import Root, open_root
from tests.preprocess.dirty import CHARSET, DirtySet, make_dirty_lines, png

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' \u202eevil"


@dataclass
class Found:
    """What a check hands to the report."""

    roots: list[Root]
    findings: list[Finding]
    charset: Charset | None = CHARSET
    splits: dict[Split, list[Checked]] = field(default_factory=lambda: {"train": [], "val": []})
    labels: int = 0


class Elements(HTMLParser):
    """Names, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> DirtySet:
    return make_dirty_lines(tmp_path_factory.mktemp("lines"))


@pytest.fixture(scope="module")
def result(dirty: DirtySet) -> CheckResult:
    rules = Rules("rec", RecImageSpec(), charset=CHARSET, nrtr=True)
    return check_samples(
        dirty.numbered("train"), [open_root(str(dirty.folder))], rules, CheckConfig()
    )


def found(dirty: DirtySet, result: CheckResult) -> Found:
    return Found(
        [open_root(str(dirty.folder))],
        result.findings,
        splits={"train": result.kept, "val": []},
        labels=result.total,
    )


def finding(**changes: object) -> Finding:
    values = {
        "fault": "conflict",
        "action": "refuse",
        "place": "l:1",
        "image": "a.png",
        "detail": "a.png: two labels",
    }
    return Finding(**(values | changes))


def test_the_json_holds_every_finding(tmp_path: Path, dirty: DirtySet, result: CheckResult) -> None:
    data, _ = write_report(tmp_path, found(dirty, result))
    report = json.loads(data.read_text(encoding="utf-8"))
    assert set(report) == {
        "format", "task", "labels", "refused", "fixed", "taken", "counts", "unknown_characters",
        "faults", "findings",
    }  # fmt: skip
    assert (report["format"], report["task"]) == (1, "rec")
    assert report["labels"] == result.total
    assert report["taken"] == {"train": len(result.kept), "val": 0}
    assert report["refused"] == result.refused
    assert report["fixed"] == result.fixed
    assert [f["fault"] for f in report["findings"]] == [f.fault for f in result.findings]
    for name, counts in report["counts"].items():
        of_kind = Counter(f.action for f in result.findings if f.fault == name)
        assert {action: count for action, count in counts.items() if count} == of_kind
    assert report["unknown_characters"] == {
        "國": 1, "圖": 1, "Ａ": 1, "Ｂ": 1, "龘": 1,
    }  # fmt: skip


def test_the_page_stands_alone_and_shows_the_cases(
    tmp_path: Path, dirty: DirtySet, result: CheckResult
) -> None:
    _, shown = write_report(tmp_path, found(dirty, result), title="practice")
    page = shown.read_text(encoding="utf-8")
    assert shown.stat().st_size < 2_000_000
    assert "Dataset check: practice" in page
    assert "数据集检查报告" in page
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg)", page)
    assert not re.search(r"https?://|url\(|@import", page)
    elements = Elements(page)
    assert elements.tags["script"] == elements.tags["style"] == 1
    assert 20 < elements.tags["img"] <= 48
    assert elements.tags["article"] == len(result.findings)
    for uri in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page):
        with Image.open(io.BytesIO(base64.b64decode(uri))) as picture:
            assert picture.width <= 320
            assert picture.height <= 200


def test_hostile_labels_and_paths_stay_text(tmp_path: Path) -> None:
    findings = [
        finding(detail=HOSTILE, suggestion=HOSTILE, place=HOSTILE, image=HOSTILE, unknown=("<",)),
        finding(fault="unknown_character", unknown=("<", "\u202e", "\ud800")),
    ]
    _, shown = write_report(tmp_path, Found([open_root(str(tmp_path))], findings), title=HOSTILE)
    page = shown.read_text(encoding="utf-8")
    elements = Elements(page)
    assert elements.tags["script"] == 1
    assert elements.tags["img"] == 0
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    assert "\u202e" not in page
    assert "\\u202eevil" in elements.text
    assert "<script>alert(1)</script>" in elements.text
    json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def test_the_policy_of_the_page_allows_its_own_script_and_nothing_else(tmp_path: Path) -> None:
    import hashlib

    _, shown = write_report(tmp_path, Found([], [finding(image="")]))
    page = shown.read_text(encoding="utf-8")
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_an_outline_is_drawn_on_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.full((900, 1200, 3), 240, np.uint8)))
    points = ((600.0, 500.0), (800.0, 500.0), (800.0, 560.0), (600.0, 560.0))
    nan = ((float("nan"), 1.0), (2.0, 2.0), (3.0, 3.0))
    findings = [
        finding(region=0, points=points),
        finding(region=1, points=nan),
        finding(region=2, points=tuple((x + 9000, y) for x, y in points)),
    ]
    data, shown = write_report(tmp_path, Found([open_root(str(tmp_path))], findings))
    uris = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', shown.read_text(encoding="utf-8"))
    assert len(uris) == 3
    raw = np.frombuffer(base64.b64decode(uris[0]), np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR).astype(int)
    red = (picture[:, :, 2] - picture[:, :, 0]) > 80
    assert 200 < red.sum() < 0.1 * red.size
    listed = json.loads(data.read_text(encoding="utf-8"))["findings"]
    assert [f["points"] is None for f in listed] == [False, True, False]


def test_of_many_findings_some_of_each_kind_are_on_the_page(tmp_path: Path) -> None:
    many = [finding(image="", place=f"l:{n}") for n in range(2000)]
    few = [finding(image="", fault="leak", place=f"m:{n}") for n in range(3)]
    data, shown = write_report(tmp_path, Found([], [*many, *few]))
    page = shown.read_text(encoding="utf-8")
    assert "600 of 2,003 are on this page, all are in report.json" in page
    assert page.count('<article class="case" data-fault="leak"') == 3
    assert len(json.loads(data.read_text(encoding="utf-8"))["findings"]) == 2003


def test_a_clean_set_has_a_page_too(tmp_path: Path) -> None:
    _, shown = write_report(tmp_path, Found([], [], labels=7))
    assert "every label can be trained on" in shown.read_text(encoding="utf-8")


@dataclass
class Noted:
    """A server that notes what is read."""

    content: bytes
    url: str = "http://noted"
    reads: list[str] = field(default_factory=list)

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        self.reads.append(name)
        return self.content

    def size(self, name: str) -> int:
        return len(self.content) if name == "small.png" else 10**12

    def names(self, pattern: str = "**") -> Iterator[str]:
        raise NotImplementedError

    def write(self, name: str, content: bytes) -> None:
        raise NotImplementedError


def test_too_large_pictures_are_not_read_for_the_page(tmp_path: Path) -> None:
    root = Noted(png(np.zeros((20, 40, 3), np.uint8)))
    names = {"refused.png": "too_large_picture", "large.png": "conflict", "small.png": "conflict"}
    findings = [finding(fault=fault, image=name) for name, fault in names.items()]
    page = write_report(tmp_path, Found([root], findings, labels=3))[1].read_text("utf-8")
    assert root.reads == ["small.png"]
    assert page.count("data:image/jpeg;base64,") == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: cannot write the report there"):
        write_report(tmp_path / "nowhere", Found([], []))


def test_the_table_counts_by_fault_and_action() -> None:
    findings = [
        finding(detail="[red]x[/red] \x1b[31m\u202e"),
        finding(action="refuse"),
        finding(fault="near_conflict", action="keep"),
        finding(fault="odd_space", action="fix"),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal_table(findings))
    text = console.export_text()
    rows = [line for line in text.splitlines() if "│" in line]
    cells = {row.split("│")[1].strip(): [c.strip() for c in row.split("│")[2:5]] for row in rows}
    assert cells["conflict"] == ["2", "", ""]
    assert cells["odd_space"] == ["", "1", ""]
    assert cells["near_conflict"] == ["", "", "1"]
    assert "[red]x[/red]" in text
    assert "\x1b[31m" not in text
    assert "\u202e" not in text


def test_the_table_has_room_for_what_is_said_of_long_paths() -> None:
    folder = f"/数据 集/{'a long folder/' * 20}lists"
    other = f"/srv/{'deep/' * 40}old/b.txt"
    kept = "https://host:8080/a/b/c/d"
    detail = f"img/1.png: labelled at {other}:2 already ('{kept}' there, 'AC' here); keep one"
    unused = "9 of 12 characters of the set are in no training label: 'a', 'b'; what"
    findings = [
        finding(place=f"{folder}/a.txt:7", detail=detail),
        finding(fault="unused_characters", action="keep", place="", detail=unused),
    ]
    cells = list(terminal_table(findings).columns[4].cells)
    conflict, characters = (str(cell).split("\n")[1] for cell in cells)
    assert conflict == (
        f"…/lists/a.txt:7: img/1.png: labelled at …/old/b.txt:2 already ('{kept}' there, 'AC' "
        "here); keep one"
    )
    assert characters == "9 of 12 characters of the set are in no training label"
