import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from ocr_pipeline.config.base import load_config
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.faults import FAULTS
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess.check_text import can_convert, check_text, suggest

CHARSET = Charset([*"0123456789ABCabc*#-'\"·", *"联通中文国图产电缆é（）：￥", "🇨🇳"])
DEFAULTS = CheckConfig()


@pytest.mark.parametrize(
    "text",
    ["联通", "中文", "A-1", "A 1", "é", "（国）：￥1", "🇨🇳", "'A\"", "*A", "#1#"],
)
def test_good_labels_are_left_alone(text: str) -> None:
    found = check_text(text, CHARSET, DEFAULTS)
    assert (found.text, found.notes) == (text, ())
    assert CHARSET.decode(found.indices) == text


def test_labels_of_two_to_nine_common_characters_are_no_mojibake() -> None:
    """GB2312's first level, 3,755 characters: each with each next one, and in longer runs."""
    common = bytes(
        byte for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF) for byte in (high, low)
    ).decode("gb2312", "ignore")
    charset = Charset(common)
    for step in range(1, 60):
        for length in (2, 3, 4, 6, 9):
            start = (step * 61 * length) % (len(common) - step * length)
            text = common[start : start + step * length : step]
            assert not check_text(text, charset, DEFAULTS).notes, text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("国图".encode().decode("cp1252"), "国图"),
        ("产图".encode().decode("latin-1"), "产图"),
        ("é".encode().decode("cp1252"), "é"),
        ("电缆".encode().decode("gbk"), "电缆"),
        ("国图".encode("gbk").decode("latin-1"), "国图"),
    ],
)
def test_mojibake_is_read_back(text: str, meant: str) -> None:
    (note,) = check_text(text, CHARSET, DEFAULTS).notes
    assert (note.fault, note.action, note.suggestion) == ("mojibake", "refuse", meant)


SIGNS = ["×÷°±", "ÄÖÜß", "µ²³¹", "£££", "«É»", "ÅÄÖ", "ÍÓÚÑ", "ÐÑÒÓ", "ÁÉÍÓÚ", "áéíóú", "ÑÑÑÑ"]


@pytest.mark.parametrize("text", SIGNS)
def test_signs_and_accented_letters_are_no_mojibake(text: str) -> None:
    """Also where the set has the Chinese characters that their bytes would be in GBK."""
    chinese = text.encode("cp1252").decode("gbk", "ignore")
    for entries in (text, text + chinese):
        charset = Charset(sorted(set(entries)))
        assert not check_text(text, charset, DEFAULTS).notes
    notes = check_text(text, CHARSET, DEFAULTS).notes
    assert [note.fault for note in notes] == ["unknown_character"]


def test_gbk_is_read_back_though_the_set_has_its_accented_letters() -> None:
    wrong = "中国".encode("gbk").decode("cp1252")
    charset = Charset(sorted({*wrong, *"中国"}))
    (note,) = check_text(wrong, charset, DEFAULTS).notes
    assert (note.fault, note.suggestion) == ("mojibake", "中国")


@pytest.mark.parametrize("char", ["\U00031350", "\ue863", "\u200d", "\u200c", "\u00ad"])
def test_what_the_set_has_is_never_taken_out(char: str) -> None:
    text = f"中{char}文"
    found = check_text(text, Charset(["中", "文", char]), DEFAULTS)
    assert (found.text, found.notes) == (text, ())


@pytest.mark.parametrize("char", ["\U00031350", "\ue863"])
def test_characters_that_python_does_not_know_are_unknown_not_invisible(char: str) -> None:
    found = check_text(f"中{char}文", CHARSET, DEFAULTS)
    assert found.text is None
    assert [(note.fault, note.unknown) for note in found.notes] == [("unknown_character", (char,))]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("國圖", "国图"),
        ("產", "产"),
        ("Ａ１", "A1"),
        ("(国)", "（国）"),
        ("中:", "中："),
        ("¥1", "￥1"),
        ("A–1", "A-1"),
        ("•", "·"),
        ("‘A”", "'A\""),
        ("龘", None),
        ("龘國", None),
    ],
)
def test_other_forms_of_a_character_are_suggested(text: str, meant: str | None) -> None:
    assert can_convert()
    assert suggest(text, CHARSET) == meant


def test_several_faults_of_one_label_are_all_named_and_mended() -> None:
    found = check_text(" A\u200b\u3000 B1\u2060".replace("B", "b"), CHARSET, DEFAULTS)
    assert found.text == "A b1"
    assert [note.fault for note in found.notes] == [
        "invisible_character", "outer_space", "odd_space", "double_space",
    ]  # fmt: skip
    assert "U+200B ZERO WIDTH SPACE, U+2060 WORD JOINER" in found.notes[0].detail


def test_unknown_characters_are_each_named_once() -> None:
    found = check_text("龘A龘Z", CHARSET, DEFAULTS)
    assert found.text is None
    (note,) = found.notes
    assert note.unknown == ("龘", "Z")
    assert "'龘' (U+9F98), 'Z' (U+005A)" in note.detail


def test_a_policy_must_name_a_fault_and_a_possible_action() -> None:
    schema = TypeAdapter(CheckConfig)
    with pytest.raises(ConfigError, match=r"leek: no such fault \(did you mean leak\?\)"):
        load_config(schema, None, ["policies.leek=keep"])
    with pytest.raises(ConfigError, match="leak: fix is not possible; allowed: refuse, keep"):
        load_config(schema, None, ["policies.leak=fix"])
    with pytest.raises(ConfigError, match="zzz: no such fault .*leak: fix is not"):
        load_config(schema, None, ["policies.zzz=keep", "policies.leak=fix"])
    config = load_config(schema, None, ["policies.leak=keep"])
    assert (config.action("leak"), config.action("conflict")) == ("keep", "refuse")


def test_the_documentation_lists_every_fault_with_its_actions(root: Path) -> None:
    page = (root / "docs" / "linter.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([a-z]+(?:, [a-z]+)*) \|", page, re.MULTILINE)
    listed = {name: tuple(actions.split(", ")) for name, actions in rows}
    assert listed == {fault.name: fault.actions for fault in FAULTS}


def test_the_catalogue_is_sound() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 50
    for fault in FAULTS:
        assert fault.actions[0] == fault.default == DEFAULTS.action(fault.name)
        assert len(set(fault.actions)) == len(fault.actions)
        assert fault.title[-1] != "."
        assert fault.explanation[-1] == "."
