import re
from pathlib import Path

import pytest

from ocr_pipeline.errors import ArtifactError, LabelError
from ocr_pipeline.ops.charset import BLANK, Charset

ENTRIES = ["一", "A", "\u3000", "¥"]


def test_classes_are_blank_then_dictionary_then_space() -> None:
    charset = Charset(ENTRIES)
    assert charset.classes == 6
    assert charset.encode("一A\u3000¥ ") == [1, 2, 3, 4, 5]
    assert BLANK == 0


def test_decode_gives_back_what_encode_took() -> None:
    charset = Charset(ENTRIES)
    text = "A ¥\u3000一一 A"
    assert charset.decode(charset.encode(text)) == text


def test_decode_of_nothing_is_an_empty_text() -> None:
    assert Charset(ENTRIES).decode([]) == ""


def test_full_width_space_is_a_character_of_its_own() -> None:
    with_it, without = Charset(ENTRIES), Charset(["A"])
    assert with_it.encode("\u3000") != with_it.encode(" ")
    assert without.unknown("A \u3000") == ["\u3000"]


def test_all_unknown_characters_are_named_once_with_code_points() -> None:
    message = (
        "label 'A二B二': '二' (U+4E8C), 'B' (U+0042) not in the character set of 5 characters; "
        "correct the label, or train with a character set that has them"
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        Charset(ENTRIES).encode("A二B二")


def test_unknown_lists_each_character_once_in_order() -> None:
    assert Charset(ENTRIES).unknown("z一yz A") == ["z", "y"]


def test_empty_label_is_refused() -> None:
    with pytest.raises(LabelError, match="label is empty; give its text, or leave the picture out"):
        Charset(ENTRIES).encode("")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["a", "b", "a"], "dictionary line 3 ('a') repeats; allowed: each character once"),
        (["a", ""], "dictionary line 2 ('') is empty; allowed: each character once"),
        ([" ", "a"], "dictionary line 1 (' ') is the space; allowed: each character once, the "),
        ([], "the dictionary is empty; it needs one character a line"),
    ],
)
def test_dictionary_with_a_fault_is_refused(entries: list[str], message: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(message)):
        Charset(entries)


def test_saved_dictionary_loads_to_an_equal_one(tmp_path: Path) -> None:
    charset = Charset(ENTRIES)
    charset.save(tmp_path / "charset.txt")
    loaded = Charset.load(tmp_path / "charset.txt")
    assert loaded == charset
    assert hash(loaded) == hash(charset)
    assert loaded.dictionary == tuple(ENTRIES)


def test_order_is_part_of_equality() -> None:
    assert Charset(["a", "b"]) != Charset(["b", "a"])


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb\r\n", b"a\nb"])
def test_line_ends_of_a_dictionary_do_not_matter(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "charset.txt"
    path.write_bytes(content)
    assert Charset.load(path).dictionary == ("a", "b")


def test_full_width_space_survives_the_file(tmp_path: Path) -> None:
    path = tmp_path / "charset.txt"
    path.write_text("\u3000\na\n", encoding="utf-8")
    assert Charset.load(path).dictionary == ("\u3000", "a")


def test_empty_line_in_a_dictionary_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "charset.txt"
    path.write_text("a\n\nb\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"dictionary line 2 \(''\) is empty"):
        Charset.load(path)


def test_missing_dictionary_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.txt"
    with pytest.raises(ArtifactError, match=f"^{re.escape(str(path))}: cannot read this dict"):
        Charset.load(path)


def test_dictionary_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gbk.txt"
    path.write_bytes("数\n".encode("gbk"))
    with pytest.raises(ArtifactError, match=r"gbk\.txt: cannot read this dictionary \(.*utf-8"):
        Charset.load(path)
