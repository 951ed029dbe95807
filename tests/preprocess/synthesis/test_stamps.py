from collections.abc import Callable

import numpy as np
import pytest

from ocr_pipeline.fonts import find_font
from ocr_pipeline.preprocess.synthesis.faces import FontSet
from ocr_pipeline.preprocess.synthesis.sheet import IGNORED, Sheet
from ocr_pipeline.preprocess.synthesis.stamps import (
    Seal,
    framed_word,
    oval_seal,
    press,
    press_across,
    round_seal,
)

Maker = Callable[[FontSet, np.random.Generator], Seal]
MAKERS: tuple[Maker, ...] = (
    lambda fonts, random: round_seal("工商银行北京分行", fonts, 80, random),
    lambda fonts, random: oval_seal("工商银行北京分行", fonts, 80, random),
    lambda fonts, random: framed_word(fonts, 28, random),
)


@pytest.fixture(scope="module")
def fonts() -> FontSet:
    return FontSet([find_font(may_fetch=True)])


def blank() -> Sheet:
    return Sheet(np.full((300, 400, 3), 235, np.float32))


@pytest.mark.parametrize("maker", MAKERS)
def test_a_stamp_is_red_whole_and_marked(fonts: FontSet, maker: Maker) -> None:
    for seed in range(5):
        sheet, random = blank(), np.random.default_rng(seed)
        press(sheet, maker(fonts, random), (390, 10), 0.0, random)
        ink = np.abs(sheet.picture - 235).max(axis=2) > 30
        blue, green, red = sheet.picture[ink].mean(axis=0)
        assert red > max(blue, green) + 40
        assert not ink[[0, -1]].any()
        assert not ink[:, [0, -1]].any()
        texts = [mark for mark in sheet.marks if mark.text != IGNORED]
        assert texts
        for mark in sheet.marks:
            assert mark.over
            assert mark.points.min() >= 0
            assert (mark.points <= (399, 299)).all()
        for mark in texts:
            low, high = mark.points.min(axis=0).astype(int), mark.points.max(axis=0).astype(int)
            assert ink[low[1] : high[1], low[0] : high[0]].mean() > 0.1


def test_the_name_along_a_ring_is_ignored_as_one_band(fonts: FontSet) -> None:
    seal = MAKERS[0](fonts, np.random.default_rng(0))
    ring = seal.marks[0]
    assert ring.ignored
    middle = np.array(seal.mask.shape[::-1]) / 2
    reach = np.hypot(*(ring.points - middle).T)
    assert reach.max() < 80
    assert reach.min() > 40


def test_a_worn_stamp_has_less_ink(fonts: FontSet) -> None:
    def left(worn: float) -> float:
        sheet, random = blank(), np.random.default_rng(2)
        press(sheet, MAKERS[0](fonts, random), (200, 150), worn, random)
        return float(np.abs(sheet.picture - 235).mean())

    assert left(1.0) < 0.8 * left(0.0)


def test_a_sheet_that_is_too_small_gets_no_stamp(fonts: FontSet) -> None:
    sheet, random = Sheet(np.full((60, 400, 3), 235, np.float32)), np.random.default_rng(0)
    press(sheet, MAKERS[0](fonts, random), (200, 30), 0.0, random)
    assert not sheet.marks
    assert (sheet.picture == 235).all()
    press_across(sheet, MAKERS[0](fonts, random), 0.0, random)
    assert not sheet.marks
    assert (sheet.picture != 235).any()
