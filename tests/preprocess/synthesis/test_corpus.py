import re
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.errors import AssetError, DataError
from ocr_pipeline.preprocess.synthesis.corpus import (
    FileTexts,
    Maker,
    any_text,
    bank_text,
    capital_date,
    display_text,
    form_text,
    in_capitals,
    part_of,
)
from ocr_pipeline.weights.catalog import released_charset

DOMAINS: tuple[Maker, ...] = (bank_text, form_text, display_text, any_text)


@pytest.mark.parametrize(
    ("fen", "words"),
    [
        (12_345_067, "壹拾贰万叁仟肆佰伍拾元陆角柒分"),
        (100_000, "壹仟元整"),
        (100_005, "壹仟元零伍分"),
        (100_050, "壹仟元伍角整"),
        (2_000_500_00, "贰佰万零伍佰元整"),
    ],
)
def test_amounts_in_capital_numerals(fen: int, words: str) -> None:
    assert in_capitals(fen) == words
    assert in_capitals(fen, prefix=True) == "人民币" + words


def test_dates_in_capital_numerals_have_no_tens_without_a_one() -> None:
    dates = {capital_date(np.random.default_rng(seed)) for seed in range(300)}
    shape = re.compile("[零壹贰叁肆伍陆柒捌玖]{4}年(零.|壹拾[壹贰]?)月(零.|[壹贰叁]拾.?)日")
    assert all(shape.fullmatch(text) for text in dates)


@pytest.mark.parametrize("maker", DOMAINS)
def test_texts_are_many_short_and_without_outer_blanks(maker: Maker) -> None:
    texts = [maker(np.random.default_rng([1, seed])) for seed in range(600)]
    assert len(set(texts)) > 400
    assert all(text and text == text.strip() and len(text) <= 40 for text in texts)
    assert not any(char in text for text in texts for char in "\t\n\r")


def test_all_characters_of_invented_texts_are_in_the_released_character_set() -> None:
    try:
        charset = released_charset("ppocrv6_small_rec")
    except AssetError as error:
        pytest.skip(str(error))
    unknown = {
        char
        for maker in DOMAINS
        for seed in range(800)
        for char in charset.unknown(maker(np.random.default_rng([2, seed])))
    }
    assert unknown == set()


def test_a_text_belongs_to_one_part_by_itself() -> None:
    parts = [part_of(f"文字{number}", 7) for number in range(2000)]
    assert parts == [part_of(f"文字{number}", 7) for number in range(2000)]
    assert 0.12 < parts.count("val") / 2000 < 0.18
    assert parts != [part_of(f"文字{number}", 8) for number in range(2000)]


def test_lines_are_cut_out_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "文.txt"
    long = "".join(chr(0x4E00 + number) for number in range(60))
    path.write_text(
        f"\ufeff短句子\n\n{long}\nhello world again and again my dear\n", encoding="utf-8"
    )
    texts = FileTexts(path, lambda char: char != "句")
    drawn = {texts(np.random.default_rng(seed)) for seed in range(400)}
    assert texts.left_out == ["句"]
    assert "短句子" not in drawn
    assert all(2 <= len(text) <= 28 for text in drawn)
    assert all(text in long or text.isascii() for text in drawn)
    words = {"hello", "world", "again", "and", "my", "dear"}
    latin = [text for text in drawn if text.isascii() and len(text.split()) > 2]
    assert latin
    assert all(set(text.split()[1:-1]) <= words for text in latin)


def test_a_file_without_usable_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    with pytest.raises(DataError, match=r"corpus\.txt: cannot read this text"):
        FileTexts(path, lambda char: True)
    path.write_bytes("国".encode("gb18030"))
    with pytest.raises(DataError, match=r"corpus\.txt: not UTF-8 .*save the text as UTF-8"):
        FileTexts(path, lambda char: True)
    path.write_text("中国\n人民\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no text that can be drawn .*'中人国民'"):
        FileTexts(path, lambda char: False)


def test_cuts_of_one_line_never_stand_in_both_parts(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    letters = [chr(0x4E00 + number) for number in range(6000)]
    lines = ["".join(letters[start : start + 60]) for start in range(0, 6000, 60)]
    path.write_text("\n".join(lines), encoding="utf-8")
    texts = FileTexts(path, lambda char: True)
    random = np.random.default_rng(0)
    seen = {
        part: {char for _ in range(400) for char in texts.of_part(part, 1)(random)}
        for part in ("train", "val")
    }
    assert len(seen["val"]) > 300
    assert not seen["train"] & seen["val"]  # no two lines of this corpus share a character
    path.write_text("只有一行字", encoding="utf-8")
    with pytest.raises(DataError, match=r"none of its 1 lines is for the (val|train) part"):
        _ = [FileTexts(path, lambda char: True).of_part(part, 1) for part in ("train", "val")]
