import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ocr_pipeline.artifacts.dataset import DetSample, RecSample, cut_out
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.config.faults import FAULTS, Action
from ocr_pipeline.config.image import DetImageSpec, ImageLimits, RecImageSpec
from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.preprocess.check import (
    Checked,
    CheckResult,
    Finding,
    Rules,
    check_as_a_whole,
    check_between,
    check_samples,
    check_unlabelled,
    near_pairs,
)
from ocr_pipeline.preprocess.sources.raw import RawRegion, RawSample
from ocr_pipeline.storage import MissingFileError, Root, open_root
from tests.conftest import SHARED
from tests.preprocess.dirty import (
    CHARSET,
    CLEAN_LINES,
    CLEAN_PAGES,
    DirtySet,
    box,
    jpeg,
    make_dirty_lines,
    make_dirty_pages,
    png,
    region,
)
from tests.processes import lives

LINES = Rules("rec", RecImageSpec(), charset=CHARSET, nrtr=True)
PAGES = Rules("det", DetImageSpec(), target=DBTargetConfig())
DEFAULTS = CheckConfig()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> DirtySet:
    return make_dirty_lines(tmp_path_factory.mktemp("lines"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> DirtySet:
    return make_dirty_pages(tmp_path_factory.mktemp("pages"))


def check(
    dirty: DirtySet, rules: Rules, config: CheckConfig = DEFAULTS, workers: int = 0
) -> tuple[CheckResult, CheckResult, list[Finding]]:
    """Training part after leaks, validation part, and all findings."""
    roots = [open_root(str(dirty.folder))]
    train = check_samples(
        dirty.numbered("train"), roots, rules, config, split="train", workers=workers
    )
    val = check_samples(dirty.numbered("val"), roots, rules, config, split="val", workers=workers)
    between = check_between(train, val, config)
    return between, val, [*train.findings, *val.findings, *between.findings]


def one(
    folder: Path, raw: RawSample, rules: Rules, **policies: Action
) -> tuple[Checked | None, list[Finding]]:
    config = CheckConfig(policies=policies)
    result = check_samples([(0, raw)], [open_root(str(folder))], rules, config)
    return (result.kept or [None])[0], result.findings


def drawn(folder: Path, name: str, height: int = 40, width: int = 120) -> str:
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3)).astype(np.uint8)
    (folder / name).write_bytes(png(cv2.blur(picture, (3, 3))))
    return name


@pytest.mark.parametrize("seed", [0, 1])
def test_of_dirty_lines_exactly_what_was_planted_is_found(tmp_path: Path, seed: int) -> None:
    dirty = make_dirty_lines(tmp_path, seed)
    _, _, findings = check(dirty, LINES)
    assert {(f.place, f.fault) for f in findings} == dirty.planted
    assert len(findings) == len(dirty.planted)


@pytest.mark.parametrize("seed", [0, 1])
def test_of_dirty_pages_exactly_what_was_planted_is_found(tmp_path: Path, seed: int) -> None:
    dirty = make_dirty_pages(tmp_path, seed)
    _, _, findings = check(dirty, PAGES)
    assert {(f.place, f.fault) for f in findings} == dirty.planted
    assert len(findings) == len(dirty.planted)


def test_every_fault_of_the_catalogue_is_planted_somewhere(
    lines: DirtySet, pages: DirtySet
) -> None:
    planted = {fault for _, fault in lines.planted | pages.planted}
    as_a_whole = {
        "rare_character",
        "val_only_character",
        "character_imbalance",
        "dominant_text",
        "unused_characters",
        "mixed_forms",
        "unlabelled_picture",
    }
    assert {fault.name for fault in FAULTS} - planted == as_a_whole


def test_clean_samples_go_through_untouched(lines: DirtySet, pages: DirtySet) -> None:
    train, _, _ = check(lines, LINES)
    clean = lines.samples["train"][:CLEAN_LINES]
    assert [c.sample.text for c in train.kept[:CLEAN_LINES] if isinstance(c.sample, RecSample)] == [
        raw.text for raw in clean
    ]
    train, _, _ = check(pages, PAGES)
    for raw, checked in zip(pages.samples["train"][:CLEAN_PAGES], train.kept, strict=False):
        assert isinstance(checked.sample, DetSample)
        assert raw.regions is not None
        assert [r.points for r in checked.sample.regions] == [r.points for r in raw.regions]
        assert not any(r.ignore for r in checked.sample.regions)


def test_a_finding_names_thing_value_and_next_step(lines: DirtySet, pages: DirtySet) -> None:
    found = [*check(lines, LINES)[2], *check(pages, PAGES)[2]]
    for finding in found:
        assert finding.place, finding
        assert len(finding.detail) > 15, finding
        assert finding.image in finding.detail or not finding.image, finding
        assert finding.detail.count(finding.image) < 3 or not finding.image, finding
    by_fault = {finding.fault: finding.detail for finding in found}
    assert "needs 50 time steps, the network emits 40 for 240 x 40 px" in by_fault["label_too_long"]
    assert "labelled at labels.txt:1 already" in by_fault["conflict"]
    assert "the region is masked out" in by_fault["shrinks_away"]
    assert "the region is left out" in by_fault["degenerate_region"]


@pytest.mark.parametrize(("rules", "name"), [(LINES, "lines"), (PAGES, "pages")])
def test_the_result_does_not_depend_on_the_number_of_processes(
    rules: Rules, name: str, request: pytest.FixtureRequest
) -> None:
    dirty: DirtySet = request.getfixturevalue(name)
    alone, beside = check(dirty, rules), check(dirty, rules, workers=2)
    assert repr(alone) == repr(beside)  # NaN points are not equal to themselves


def test_fixes_are_applied(tmp_path: Path) -> None:
    drawn(tmp_path, "a.png")
    for label, text in {
        " A ": "A",
        "A\u3000B": "A B",
        "A \t B": "A B",
        "A\u200b\ufeff": "A",
        "e\u0301": "é",
    }.items():
        checked, findings = one(tmp_path, RawSample("l:1", "a.png", text=label), LINES)
        assert checked is not None
        assert checked.sample == RecSample("a.png", text, 40, 120)
        assert {f.action for f in findings} == {"fix"}


def test_policies_decide(tmp_path: Path) -> None:
    drawn(tmp_path, "a.png")
    raw = RawSample("l:1", "a.png", text="國圖")
    checked, (finding,) = one(tmp_path, raw, LINES)
    assert checked is None
    assert (finding.action, finding.suggestion) == ("refuse", "国图")
    assert finding.unknown == ("國", "圖")
    checked, (finding,) = one(tmp_path, raw, LINES, unknown_character="fix")
    assert checked is not None
    assert isinstance(checked.sample, RecSample)
    assert checked.sample.text == "国图"
    hopeless = RawSample("l:1", "a.png", text="龘")
    assert one(tmp_path, hopeless, LINES, unknown_character="fix")[0] is None
    broken = RawSample("l:1", "a.png", text="国图".encode().decode("cp1252"))
    checked, _ = one(tmp_path, broken, LINES, mojibake="fix")
    assert checked is not None
    assert isinstance(checked.sample, RecSample)
    assert checked.sample.text == "国图"
    spaced = RawSample("l:1", "a.png", text="A  B")
    assert one(tmp_path, spaced, LINES, double_space="refuse")[0] is None
    checked, (finding,) = one(tmp_path, spaced, LINES, double_space="keep")
    assert checked is not None
    assert isinstance(checked.sample, RecSample)
    assert (checked.sample.text, finding.action) == ("A  B", "keep")


def test_a_vertical_line_is_turned_as_the_reader_turns_it(tmp_path: Path) -> None:
    drawn(tmp_path, "tall.png", height=90, width=30)
    raw = RawSample("l:1", "tall.png", text="ABC")
    checked, (finding,) = one(tmp_path, raw, LINES)
    assert finding.action == "keep"
    assert checked is not None
    assert (checked.sample.height, checked.sample.width) == (90, 30)
    checked, _ = one(tmp_path, raw, LINES, vertical_line="fix")
    assert checked is not None
    assert isinstance(checked.sample, RecSample)
    assert (checked.sample.height, checked.sample.width) == (30, 90)
    assert checked.sample.crop is not None
    picture = read_image(tmp_path / "tall.png")
    turned = cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE)
    assert (cut_out(picture, checked.sample.crop) == turned).all()


def kept_regions(folder: Path, regions: Sequence[RawRegion], **policies: Action) -> DetSample:
    drawn(folder, "page.png", 240, 320)
    raw = RawSample("l:1", "page.png", regions=tuple(regions))
    checked, _ = one(folder, raw, PAGES, **policies)
    assert checked is not None
    assert isinstance(checked.sample, DetSample)
    return checked.sample


def test_regions_are_mended(tmp_path: Path) -> None:
    a, b, c, d = good = box(20, 20)
    for wrong in ((a, d, c, b), (a, b, d, c), (b, c, d, a), (c, d, a, b), good):
        (found,) = kept_regions(tmp_path, [region(wrong)]).regions
        assert found.points == good
        assert not found.ignore
    (found,) = kept_regions(tmp_path, [region(box(-20, 20))]).regions
    assert found.points == box(0, 20, 100)
    (found,) = kept_regions(tmp_path, [region((b, c, d, a))], wrong_start="keep").regions
    assert found.points == (b, c, d, a)


def test_a_refused_region_is_masked_out_and_the_picture_stays(tmp_path: Path) -> None:
    good = region(box(20, 20))
    thin = region(box(20, 100, 60, 4))
    sample = kept_regions(tmp_path, [good, thin])
    assert [r.ignore for r in sample.regions] == [False, True]
    sample = kept_regions(tmp_path, [good, thin], shrinks_away="keep")
    assert [r.ignore for r in sample.regions] == [False, False]
    sample = kept_regions(tmp_path, [good, region(((1, 1), (2, 2)))])
    assert len(sample.regions) == 1
    assert not kept_regions(tmp_path, [good, good]).regions[0].ignore
    assert len(kept_regions(tmp_path, [good, good]).regions) == 1
    assert len(kept_regions(tmp_path, [good, good], duplicate_region="keep").regions) == 2
    marked = kept_regions(tmp_path, [good, region(box(20, 100), "###")])
    assert [r.ignore for r in marked.regions] == [False, True]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_points_drawn_on_the_stored_picture_are_turned_with_it(
    tmp_path: Path, orientation: int
) -> None:
    stored = np.full((120, 200, 3), 230, np.uint8)
    stored[30:50, 20:90] = (20, 20, 160)
    (tmp_path / "p.jpg").write_bytes(jpeg(stored, 95, orientation))
    points = ((20.0, 30.0), (90.0, 30.0), (90.0, 50.0), (20.0, 50.0))
    raw = RawSample("l:1", "p.jpg", regions=(region(points),), size=(120, 200))
    checked, findings = one(tmp_path, raw, PAGES)
    turned = orientation >= 5
    assert ("exif_disagreement" in {f.fault for f in findings}) == turned
    if turned:
        assert checked is not None
        assert isinstance(checked.sample, DetSample)
        (found,) = checked.sample.regions
        mask = np.zeros((checked.sample.height, checked.sample.width), np.uint8)
        cv2.fillPoly(mask, [np.array(found.points, np.int32)], (1,))
        picture = read_image(tmp_path / "p.jpg")
        inside = cv2.erode(mask, np.ones((5, 5))) > 0
        assert picture[inside][:, 2].mean() > 130  # red
        assert picture[inside][:, 0].mean() < 60
        assert picture[mask == 0].mean() > 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_is_read_from_every_format(tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned", kind, exif=exif)
    picture.save(tmp_path / "plain", kind)
    for name, faults in (("turned", {"exif_turned"}), ("plain", {"vertical_line"})):
        found = one(tmp_path, RawSample("l:1", name, text="ABC"), LINES)[1]
        assert {f.fault for f in found} == faults


def test_points_of_a_picture_of_another_size_are_scaled_by_the_fix(tmp_path: Path) -> None:
    drawn(tmp_path, "page.png", 240, 320)
    raw = RawSample("l:1", "page.png", regions=(region(box(40, 40, 240, 60)),), size=(480, 640))
    assert one(tmp_path, raw, PAGES)[0] is None
    checked, _ = one(tmp_path, raw, PAGES, wrong_size="fix")
    assert checked is not None
    assert isinstance(checked.sample, DetSample)
    assert checked.sample.regions[0].points == box(20, 20)


def test_limits_and_rules_are_those_of_the_training(tmp_path: Path) -> None:
    drawn(tmp_path, "a.png")
    raw = RawSample("l:1", "a.png", text="A" * 15)
    assert one(tmp_path, raw, LINES)[0] is not None
    coarse = replace(LINES, image=RecImageSpec(time_stride=16))
    assert {f.fault for f in one(tmp_path, raw, coarse)[1]} == {"label_too_long"}
    small = replace(LINES, limits=ImageLimits(max_pixels=100))
    assert {f.fault for f in one(tmp_path, raw, small)[1]} == {"too_large_picture"}
    with pytest.raises(DataError, match="rec needs a character set and a RecImageSpec"):
        one(tmp_path, raw, Rules("rec", DetImageSpec(), charset=CHARSET))


def test_one_decoding_serves_all_lines_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path, "page.png", 240, 320)
    raws = [
        (0, RawSample(f"l:{n}", "page.png", text=f"A{n}", crop=box(10, 40 * n))) for n in (1, 2, 3)
    ]
    read: list[str] = []
    root = open_root(str(tmp_path))
    plain = root.read

    def counted(name: str, *, start: int = 0, size: int | None = None) -> bytes:
        read.append(name)
        return plain(name, start=start, size=size)

    monkeypatch.setattr(root, "read", counted)
    result = check_samples(raws, [root], LINES, DEFAULTS)
    assert len(result.kept) == 3
    assert read == ["page.png"]


class _Deadly:
    """A server whose one picture kills the process that reads it."""

    url = "http://deadly"

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        if name == "deadly.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return b""

    def size(self, name: str) -> int:
        return len(self.read(name))

    def names(self, pattern: str = "**") -> Iterator[str]:
        raise NotImplementedError

    def write(self, name: str, content: bytes) -> None:
        raise NotImplementedError


def test_a_process_that_dies_is_an_error_that_names_its_picture() -> None:
    names = [*(f"{n}.png" for n in range(40)), "deadly.png"]
    raws = [(0, RawSample(f"l:{n}", name, text="A")) for n, name in enumerate(names)]
    root: Root = _Deadly()
    with pytest.raises(DataError, match=r"a process of the check died at one of: .*deadly\.png"):
        check_samples(raws, [root], LINES, DEFAULTS, workers=2)


_UNGUARDED = """
from tests.preprocess.test_check import DEFAULTS, LINES, check_samples, RawSample, open_root
raws = [(0, RawSample("l:1", "a.png", text="A"))]
check_samples(raws, [open_root(".")], LINES, DEFAULTS, workers=2)
"""
_ENDLESS = """
import os, time
from pathlib import Path
from tests.preprocess.test_check import DEFAULTS, LINES, _Deadly, check_samples, RawSample

class Endless(_Deadly):
    def read(self, name, *, start=0, size=None):
        Path(f"{os.getpid()}.pid").touch()
        time.sleep(600)

if __name__ == "__main__":
    raws = [(0, RawSample(f"l:{n}", f"{n}.png", text="A")) for n in range(64)]
    check_samples(raws, [Endless()], LINES, DEFAULTS, workers=2)
"""


def script(folder: Path, content: str) -> "subprocess.Popen[str]":
    path = folder / "script.py"
    path.write_text(content)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    with script(tmp_path, _UNGUARDED) as run:
        said = run.communicate(timeout=100)[1]
    assert "DataError: no process of the check could start; in a script of your own" in said
    assert "out of memory" not in said


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc to see processes")
def test_a_killed_check_leaves_no_processes(tmp_path: Path) -> None:
    with script(tmp_path, _ENDLESS) as run:
        end = time.monotonic() + 100
        while len(list(tmp_path.glob("*.pid"))) < 2:
            assert time.monotonic() < end
            assert run.poll() is None
            time.sleep(0.05)
        run.kill()
        workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
        end = time.monotonic() + 20
        while any(map(lives, workers)) and time.monotonic() < end:
            time.sleep(0.05)
        left = [pid for pid in workers if lives(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left


class _Large(_Deadly):
    url = "http://large"

    def size(self, name: str) -> int:
        return 10**12


def test_a_large_picture_is_not_fetched_from_a_server() -> None:
    result = check_samples(
        [(0, RawSample("l:1", "deadly.png", text="A"))], [_Large()], LINES, DEFAULTS
    )
    (finding,) = result.findings
    assert finding.fault == "too_large_picture"
    assert "1,000,000,000,000 bytes; allowed: 20,971,520" in finding.detail


class _Silent(_Deadly):
    """A server that has one picture, misses one, and does not answer for others."""

    url = "http://silent"

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        if name == "there.png":
            return self._content
        if name == "gone.png":
            raise MissingFileError(f"{self.url}/{name}: no such file")
        raise DataError(f"{self.url}/{name}: no answer after 4 tries")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_does_not_answer_stops_the_check(tmp_path: Path, workers: int) -> None:
    root: Root = _Silent((tmp_path / drawn(tmp_path, "a.png")).read_bytes())
    raws = [(0, RawSample(f"l:{n}", n, text="AB")) for n in ("there.png", "gone.png")]
    result = check_samples(raws, [root], LINES, DEFAULTS, workers=workers)
    assert [f.fault for f in result.findings] == ["missing_picture"]
    assert len(result.kept) == 1
    raws.append((0, RawSample("l:3", "other.png", text="AB")))
    with pytest.raises(DataError, match=r"other\.png: no answer after 4 tries"):
        check_samples(raws, [root], LINES, DEFAULTS, workers=workers)


def test_progress_counts_every_label(lines: DirtySet) -> None:
    told: list[tuple[int, int]] = []
    samples = list(lines.numbered("train"))
    check_samples(
        samples,
        [open_root(str(lines.folder))],
        LINES,
        DEFAULTS,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(n, len(samples)) for n in range(1, len(samples) + 1)]


def part(texts: Sequence[str]) -> list[Checked]:
    return [
        Checked(RecSample(f"{n}.png", text, 40, 120), f"l:{n}", str(n).encode(), n, None)
        for n, text in enumerate(texts)
    ]


def whole(train: Sequence[str], val: Sequence[str], entries: str) -> dict[str, str]:
    rules = Rules("rec", RecImageSpec(), charset=Charset(list(entries)))
    findings = check_as_a_whole(part(train), part(val), rules, DEFAULTS)
    assert {f.action for f in findings} <= {"keep"}
    assert len({f.fault for f in findings}) == len(findings)
    return {f.fault: f.detail for f in findings}


def test_a_whole_part_is_judged() -> None:
    even = [f"{n:04d}{'ABC'[n % 3]}" for n in range(1234, 9999, 61)]
    assert whole(even, even, "0123456789ABC") == {}
    assert whole(even[:20], even, "0123456789ABCD") == {}  # too few to say anything
    found = whole([*even, "AD", "ＡD"], ["ABE"], "0123456789ABCDEFＡ")
    assert set(found) == {
        "rare_character", "val_only_character", "unused_characters", "mixed_forms",
    }  # fmt: skip
    assert "'D' 2" in found["rare_character"]
    assert "'E'" in found["val_only_character"]
    assert "2 of 17 characters" in found["unused_characters"]
    assert "'Ａ' 1 and 'A'" in found["mixed_forms"]
    found = whole([*even, *["77"] * 30], [], "0123456789ABC")
    assert "text '77' makes up 17%" in found["dominant_text"]
    without = [text.replace("8", "3") for text in even]
    assert "'8' 0" in whole(without, [], "01234567 9ABC".replace(" ", ""))["character_imbalance"]
    assert (
        "'Z' stands in 100%"
        in whole([f"Z{text}" for text in even], [], "0123456789ABCZ")["character_imbalance"]
    )


def test_pictures_without_a_label_are_one_finding() -> None:
    names = [f"{n}.png" for n in range(60)]
    (finding,) = check_unlabelled(3, "root", names, names[:5])
    assert (finding.fault, finding.source, finding.place) == ("unlabelled_picture", 3, "root")
    assert "55 pictures without a label: 10.png" in finding.detail
    assert "and 15 more" in finding.detail
    assert check_unlabelled(3, "root", names[:5], names) == []


def test_near_pairs_are_those_of_two_encodings(lines: DirtySet) -> None:
    train, val, _ = check(
        lines, LINES, CheckConfig(policies={"leak_near_picture": "keep", "leak_picture": "keep"})
    )
    both = [*train.kept, *val.kept]
    pairs = [(both[a].place, both[b].place) for a, b in near_pairs(both, DEFAULTS)]
    leaks = {place for place, fault in lines.planted if fault == "leak_near_picture"}
    near = {place for place, fault in lines.planted if fault == "near_conflict"}
    assert {a for a, _ in pairs if a in leaks} == leaks
    assert {b for _, b in pairs if b in near} == near
    assert len(pairs) == 2


SETS = [
    ("cn_plates", "rec_train.txt", {}),
    (
        "game_quest_ui",
        "rec_train.txt",
        {"duplicate_picture": 44, "picture_conflict": 8, "near_conflict": 5},
    ),
    (
        "wire_tags",
        "rec_train.txt",
        {"picture_conflict": 38, "duplicate_picture": 5, "tiny_picture": 1},
    ),
    ("wire_tags", "rec_val.txt", {}),
    (
        "game_quest_ui",
        "det_train.txt",
        {"duplicate_picture": 10, "all_ignored": 4, "shrinks_away": 1},
    ),
    ("wire_tags", "det_train.txt", {}),
    ("wire_tags", "det_val.txt", {}),
]


@pytest.mark.parametrize(("name", "file", "expected"), SETS)
def test_in_real_sets_what_is_found_stays_what_was_looked_into(
    name: str, file: str, expected: dict[str, int]
) -> None:
    """Equal pixels are a fact; the near conflicts, the tiny line and the region were looked at."""
    folder = SHARED / "data" / name
    if not (folder / file).is_file():
        pytest.skip(f"{folder / file} is absent")
    samples = []
    characters: set[str] = set()
    for number, line in enumerate((folder / file).read_text(encoding="utf-8").splitlines(), 1):
        image, _, label = line.partition("\t")
        raw = RawSample(f"{file}:{number}", image, text=label)
        if file.startswith("det"):
            raw = replace(raw, text=None, regions=tuple(map(_region, json.loads(label))))
        characters |= set(label) - {" "}
        samples.append((0, raw))
    rules = PAGES
    if file.startswith("rec"):
        rules = Rules("rec", RecImageSpec(), charset=Charset(sorted(characters)))
    result = check_samples(samples, [open_root(str(folder))], rules, DEFAULTS)
    assert dict(Counter(f.fault for f in result.findings)) == expected


def _region(label: dict[str, object]) -> RawRegion:
    points = tuple((float(x), float(y)) for x, y in label["points"])
    return RawRegion(points, str(label["transcription"]), bool(label["difficult"]))
