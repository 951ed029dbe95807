import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import DetSample, RecSample, Region
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.preprocess import check_regions, check_sets
from ocr_pipeline.preprocess.check_sets import check_between, check_twins, near_pairs
from ocr_pipeline.preprocess.check_types import Checked, CheckResult

DEFAULTS = CheckConfig()
FACE = np.random.default_rng(5).integers(0, 255, 12 * 60).astype(np.uint8)


def line(number: int, text: str, pixels: int | None = None) -> Checked:
    noise = np.random.default_rng(number).integers(-2, 3, FACE.shape)
    thumb = np.clip(FACE.astype(int) + noise, 0, 255).astype(np.uint8).tobytes()
    sample = RecSample(f"{number}.png", text, 48, 240)
    same = (number if pixels is None else pixels).to_bytes(16, "big")
    return Checked(sample, f"l:{number}", same, 0x1234, None, thumb, 60)


def page(number: int, pixels: int, shift: float = 0, count: int = 30) -> Checked:
    regions = tuple(
        Region(((10 + shift, y), (300, y), (300, y + 15), (10 + shift, y + 15)), "t", False)
        for y in (20.0 * n for n in range(count))
    )
    sample = DetSample(f"{number}.jpg", 1400, 1000, regions)
    return Checked(sample, f"l:{number}", pixels.to_bytes(16, "big"), 7, None, FACE.tobytes(), 60)


def test_no_leak_is_missed_where_all_pictures_look_alike() -> None:
    train = [line(n, f"a{n}") for n in range(900)]
    val = [line(n, f"b{n}") for n in range(5000, 5300)]
    left = check_between(CheckResult(kept=train), CheckResult(kept=val), DEFAULTS)
    assert left.kept == []
    assert {f.fault for f in left.findings} == {"leak_near_picture"}
    assert len(near_pairs(train, DEFAULTS)) == 899


def test_copies_that_contradict_each_other_are_all_named_with_one_that_does() -> None:
    items = [line(n, text, pixels=1) for n, text in enumerate("AABA")]
    found = check_twins(CheckResult(kept=items), "train", DEFAULTS)
    assert [f.fault for f in found.findings] == ["picture_conflict"] * 4
    said = [f.detail.partition(" (")[2].partition(";")[0] for f in found.findings]
    assert said == ["'B' there, 'A' here)"] * 2 + ["'A' there, 'B' here)", "'B' there, 'A' here)"]
    assert found.kept == []


def test_thousands_of_equal_pictures_are_compared_by_what_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0
    agree = check_sets._Labels.agree

    def counted(labels: check_sets._Labels, first: int, second: int) -> bool:
        nonlocal compared
        compared += 1
        return agree(labels, first, second)

    monkeypatch.setattr(check_sets._Labels, "agree", counted)
    items = [line(0, "A" if n % 2 else "B", pixels=1) for n in range(500)]
    assert len(check_twins(CheckResult(kept=items), "train", DEFAULTS).findings) == 500
    pages = [page(n, pixels=1, shift=n % 2) for n in range(500)]
    found = check_twins(CheckResult(kept=pages), "train", DEFAULTS).findings
    assert [f.fault for f in found] == ["duplicate_picture"] * 499
    assert compared < 600


def test_regions_of_like_pages_are_first_compared_one_to_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0
    overlap = check_regions._overlap

    def counted(first: np.ndarray, second: np.ndarray) -> float:
        nonlocal calls
        calls += 1
        return overlap(first, second)

    monkeypatch.setattr(check_regions, "_overlap", counted)
    like = [page(n, pixels=n, shift=n) for n in range(5)]
    assert check_twins(CheckResult(kept=like), "train", DEFAULTS).findings == []
    assert 0 < calls <= 10 * 30
