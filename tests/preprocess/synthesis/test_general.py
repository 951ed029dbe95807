import numpy as np
import pytest

from ocr_pipeline.errors import AssetError
from ocr_pipeline.preprocess.synthesis.general import (
    clipped,
    first_level,
    general_text,
    width_of,
)
from ocr_pipeline.weights.catalog import released_charset


def texts(count: int, longest: int = 24) -> list[str]:
    make = general_text(longest)
    return [make(np.random.default_rng([7, number])) for number in range(count)]


def test_the_first_level_is_that_of_the_standard() -> None:
    level = first_level()
    assert len(set(level)) == len(level) == 3755
    assert (level[0], level[-1]) == ("啊", "座")


@pytest.mark.parametrize("longest", [4, 24])
def test_lines_are_many_and_no_wider_than_asked(longest: int) -> None:
    made = texts(800, longest)
    assert len(set(made)) > 700
    assert all(0 < width_of(text) <= longest for text in made)
    assert not any("  " in text or text != text.strip() or "\n" in text for text in made)
    assert made == texts(800, longest)


def test_lines_are_of_all_kinds_and_show_most_frequent_characters() -> None:
    made = texts(3000)
    seen = set("".join(made))
    assert sum(char in seen for char in first_level()) > 3000
    assert set("0123456789ABCXYZabcxyz，。、：；？！“”（）.,:;?!-/%()") <= seen
    chinese = sum(any(char >= "\u4e00" for char in text) for text in made)
    mixed = sum(
        any(char >= "\u4e00" for char in text) and any("a" <= char <= "z" for char in text)
        for text in made
    )
    assert 0.6 < chinese / 3000 < 0.9
    assert mixed > 200
    assert "￥" not in seen


def test_nearly_all_characters_are_in_the_released_character_set() -> None:
    try:
        charset = released_charset("ppocrv6_small_rec")
    except AssetError as error:
        pytest.skip(str(error))
    made = texts(2000)
    assert sum(bool(charset.unknown(text)) for text in made) < 10


@pytest.mark.parametrize(
    ("text", "widest", "expected"),
    [
        ("今天天气", 4, "今天天气"),
        ("今天天气", 3, "今天天"),
        ("of the people", 5, "of the"),
        ("people", 2, "peo"),
        ("使用windows系统", 4, "使用"),
        ("使用of，系统", 4.1, "使用of，"),
    ],
)
def test_words_are_not_cut_where_that_can_be(text: str, widest: float, expected: str) -> None:
    assert clipped(text, widest) == expected
