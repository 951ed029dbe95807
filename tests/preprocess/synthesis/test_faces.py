import re
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.assets import fetch
from ocr_pipeline.errors import AssetError, DataError
from ocr_pipeline.fonts import NOTO_SANS, NOTO_SERIF, characters_of
from ocr_pipeline.preprocess.synthesis.faces import FontSet, Hand


@pytest.fixture(scope="module")
def sans() -> Path:
    return fetch(NOTO_SANS)


@pytest.fixture(scope="module")
def both(sans: Path) -> FontSet:
    return FontSet([fetch(NOTO_SERIF), sans])


def only_in_sans(sans: Path) -> str:
    found = characters_of(sans) - characters_of(fetch(NOTO_SERIF))
    return next(chr(code) for code in sorted(found) if 0x4E00 <= code < 0x9FFF or code > 0x20000)


def test_a_character_that_the_first_font_lacks_is_drawn_with_another(
    both: FontSet, sans: Path
) -> None:
    rare = only_in_sans(sans)
    drawn = both.line(rare, 40, first=0)
    assert np.array_equal(drawn, FontSet([sans]).line(rare, 40))
    assert not np.array_equal(both.line("国", 40, first=0), both.line("国", 40, first=1))


def test_no_sign_for_a_missing_character_is_ever_drawn(both: FontSet) -> None:
    assert both.missing("国Ą国ਅ") == ["Ą", "ਅ"]
    message = "'Ą' (U+0104): none of the 2 fonts draws it; add a font that has it (fonts)"
    with pytest.raises(DataError, match=re.escape(message)):
        both.line("国Ą", 32)
    with pytest.raises(DataError, match=re.escape("(U+0104)")):
        both.column("国Ą国", 32)


def test_a_font_that_claims_a_character_but_draws_its_missing_sign_is_not_believed(
    both: FontSet, monkeypatch: pytest.MonkeyPatch, sans: Path
) -> None:
    monkeypatch.setattr(
        "ocr_pipeline.preprocess.synthesis.faces.characters_of",
        lambda path: characters_of(path) | {0x104},
    )
    assert FontSet([sans]).can_draw("国")
    assert not FontSet([sans]).can_draw("Ą")


@pytest.mark.parametrize("entry", ["\u0301", "\u3000", "\t", "ع", "א", "🇨🇳", "ab", "\uffff", ""])
def test_what_would_not_be_read_as_drawn_is_refused(both: FontSet, entry: str) -> None:
    assert not both.can_draw(entry)


def test_space_is_drawn_as_a_gap(both: FontSet) -> None:
    assert both.can_draw(" ")
    assert both.line("国 国", 40).shape[1] > both.line("国国", 40).shape[1] + 8


def test_lines_hold_their_ink_and_no_more(both: FontSet) -> None:
    for text in ("付款人：张", "gjpqy", "¥1,234.50"):
        ink = both.line(text, 40)
        assert ink[:, 0].any()
        assert ink[:, -1].any()
        assert ink.shape[0] <= 60
    dash = both.line("-", 40)
    assert dash.shape[0] >= 28, "a dash is a line of text of its size"


def test_a_column_has_its_characters_upright_one_below_the_other(both: FontSet) -> None:
    column = both.column("国田", 40)
    assert column.shape[0] > 1.9 * column.shape[1]
    upper, alone = column[:38], both.line("国", 40)
    rows = np.flatnonzero(alone.any(axis=1))
    glyph = alone[rows[0] : rows[-1] + 1]
    found = upper[: glyph.shape[0], : glyph.shape[1]]
    assert np.array_equal(found, glyph)


def test_brackets_of_a_column_are_turned(both: FontSet) -> None:
    rows, columns = np.nonzero(both.column("（", 40) > 100)
    assert np.ptp(columns) > 2 * np.ptp(rows)
    rows, columns = np.nonzero(both.line("（", 40) > 100)
    assert np.ptp(rows) > 2 * np.ptp(columns)


def test_handwriting_follows_from_its_chance(both: FontSet) -> None:
    hand = Hand(turn=3, shift=0.04, scale=0.05, slant=0.1)
    one, two, other = (
        both.line("情况属实", 40, hand=hand, random=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, two)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_without_a_font_nothing_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="no font to draw with; give at least one"):
        FontSet([])
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    with pytest.raises(AssetError, match=r"broken\.ttf: not a TrueType or OpenType font"):
        FontSet([broken])
