"""Faults of a label's text: what is wrong, and what it should be."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.faults import Action
from ocr_pipeline.errors import LabelError
from ocr_pipeline.ops.charset import SPACE, Charset

IGNORE_MARK = re.compile(r"\*+|#{2,}")
"""Texts that label tools write where nothing can be read."""

_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_REPLACEMENT = "\ufffd"
_WIDE_SHIFT = 0xFF01 - 0x21  # from ASCII to its full-width form
_LOOK_ALIKE = {
    **dict.fromkeys("\u2018\u2019\u02bc\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    **dict.fromkeys("\u2022\u2027\u30fb\u22c5\u00b7", "\u00b7"),
    "\u00d7": "x",
    "\u301c": "~",
    "\u00a5": "\uffe5",
    "\uffe5": "\u00a5",
}
_TABLES = ("TSCharacters.txt", "STCharacters.txt")


@dataclass(frozen=True)
class Note:
    """What was found in one text or region.

    Attributes:
        fault: name of its kind.
        action: what was done.
        detail: one sentence.
        suggestion: what the label probably should be.
        unknown: characters outside the character set, each once.
    """

    fault: str
    action: Action
    detail: str
    suggestion: str | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextCheck:
    """A label after its checks.

    Attributes:
        text: label to train on; None: refused.
        indices: its classes; empty where it is refused.
        notes: what was found, in order.
    """

    text: str | None
    indices: tuple[int, ...]
    notes: tuple[Note, ...]


def check_text(label: str, charset: Charset, config: CheckConfig) -> TextCheck:
    """Look for all faults of one label, and mend what the policies let be mended."""
    notes: list[Note] = []
    text = label
    if not _visible(label, charset):
        return _empty(charset)
    for fault, find in _STEPS:
        found = find(text, charset)
        if found is None:
            continue
        detail, mended = found
        action = config.action(fault)
        if action == "fix" and mended is None:
            action = "refuse"
        notes.append(Note(fault, action, detail, mended))
        if action == "refuse":
            return TextCheck(None, (), tuple(notes))
        if action == "fix" and mended is not None:
            text = mended
    return _encoded(text, charset, config, notes)


def suggest(text: str, charset: Charset) -> str | None:
    """The label in characters of the set, where each one outside has another form inside."""
    parts = [_other_form(part, charset) for part in charset.split(text)]
    known = [part for part in parts if part is not None]
    return "".join(known) if len(known) == len(parts) else None


def _encoded(text: str, charset: Charset, config: CheckConfig, notes: Sequence[Note]) -> TextCheck:
    unknown = tuple(charset.unknown(text))
    if not unknown:
        return TextCheck(text, tuple(charset.encode(text)), tuple(notes))
    better = suggest(text, charset)
    action: Action = "fix" if config.action("unknown_character") == "fix" and better else "refuse"
    note = Note("unknown_character", action, _refusal(text, charset), better, unknown)
    if action == "fix" and better is not None:
        return TextCheck(better, tuple(charset.encode(better)), (*notes, note))
    return TextCheck(None, (), (*notes, note))


def _empty(charset: Charset) -> TextCheck:
    return TextCheck(None, (), (Note("empty_label", "refuse", _refusal("", charset)),))


def _refusal(text: str, charset: Charset) -> str:
    """What the encoder says to a text that it cannot encode."""
    try:
        charset.encode(text)
    except LabelError as error:
        return str(error)
    raise ValueError(f"{text!r} can be encoded")


def _visible(text: str, charset: Charset) -> bool:
    return any(
        not part.isspace() and not _is_invisible(part, charset) for part in charset.split(text)
    )


# Each step: the text and the character set to (one sentence, mended text or None), or None.
_Found = tuple[str, str | None] | None


def _find_ignore_mark(text: str, _charset: Charset) -> _Found:
    if not IGNORE_MARK.fullmatch(text.strip()):
        return None
    return f"label {text!r} is a mark for what cannot be read; take the line out", None


def _find_replacement(text: str, _charset: Charset) -> _Found:
    if _REPLACEMENT not in text:
        return None
    count = text.count(_REPLACEMENT)
    return f"label {text!r} has lost characters ({count} of U+FFFD); write the label again", None


def _find_mojibake(text: str, charset: Charset) -> _Found:
    for wrong, right in (("cp1252", "utf-8"), ("gbk", "utf-8"), ("cp1252", "gbk")):
        meant = _decoded_again(text, wrong, right, charset)
        if meant is not None:
            says = f"{right.upper()} that was read as {wrong}; it says {meant!r}"
            return f"label {text!r} looks like {says}", meant
    return None


def _find_invisible(text: str, charset: Charset) -> _Found:
    parts = charset.split(text)
    hidden = [part for part in parts if _is_invisible(part, charset)]
    if not hidden:
        return None
    mended = "".join(part for part in parts if not _is_invisible(part, charset))
    named = ", ".join(dict.fromkeys(_name(part) for part in hidden))
    return f"label {mended!r} holds {named}, which no picture shows; take it out", mended


def _find_outer_space(text: str, _charset: Charset) -> _Found:
    mended = text.strip()
    if mended == text:
        return None
    return f"label {text!r} begins or ends with white space; allowed: none", mended


def _find_multi_line(text: str, _charset: Charset) -> _Found:
    if not any(end in text for end in _LINE_ENDS):
        return None
    return f"label {text!r} has a line break; cut the picture into lines", None


def _find_odd_space(text: str, _charset: Charset) -> _Found:
    odd = [char for char in text if char.isspace() and char != SPACE]
    if not odd:
        return None
    mended = "".join(SPACE if char.isspace() else char for char in text)
    named = ", ".join(dict.fromkeys(_name(char) for char in odd))
    return f"label {text!r} holds {named} as a space; allowed: U+0020", mended


def _find_double_space(text: str, _charset: Charset) -> _Found:
    mended = re.sub(" {2,}", SPACE, text)
    if mended == text:
        return None
    return f"label {text!r} has several spaces in a row; allowed: one", mended


def _find_not_nfc(text: str, charset: Charset) -> _Found:
    mended = unicodedata.normalize("NFC", text)
    if mended == text or (charset.unknown(mended) and not charset.unknown(text)):
        return None
    changed = [char for char in text if unicodedata.normalize("NFC", char) != char]
    pieces = changed or [char for char in text if unicodedata.combining(char)]
    named = ", ".join(dict.fromkeys(_name(char) for char in pieces))
    return f"label {text!r} holds {named} where {mended!r} is meant (NFC)", mended


_STEPS: tuple[tuple[str, Callable[[str, Charset], _Found]], ...] = (
    ("ignore_mark", _find_ignore_mark),
    ("replacement_character", _find_replacement),
    ("mojibake", _find_mojibake),
    ("invisible_character", _find_invisible),
    ("outer_space", _find_outer_space),
    ("multi_line", _find_multi_line),
    ("odd_space", _find_odd_space),
    ("double_space", _find_double_space),
    ("not_nfc", _find_not_nfc),
)


def _is_invisible(part: str, charset: Charset) -> bool:
    """It draws nothing, and the set has no class for it; white space is told apart."""
    return draws_nothing(part) and bool(charset.unknown(part))


def draws_nothing(part: str) -> bool:
    """Whether an entry is a single code point that no picture shows; white space is not meant.

    Characters newer than Python's tables and those of private use may well be drawn.
    """
    if len(part) != 1 or part.isspace():
        return False
    return unicodedata.category(part) in ("Cc", "Cf", "Cs") or part in (
        "\u115f\u1160\u3164\uffa0"  # Hangul fillers
        "\ufe0e\ufe0f"  # variation selectors
    )


def _name(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}"


def _decoded_again(text: str, wrong: str, right: str, charset: Charset) -> str | None:
    """What ``text`` was before it was decoded as ``wrong``; None where it makes no sense."""
    if text.isascii():
        return None
    content = _bytes_of(text, wrong)
    try:
        meant = content.decode(right) if content is not None else None
    except UnicodeDecodeError:
        return None
    if meant is None or meant == text or len(meant) >= len(text):
        return None
    return meant if _makes_sense(text, meant, (wrong, right), charset) else None


def _bytes_of(text: str, encoding: str) -> bytes | None:
    """``text`` encoded; the five bytes that cp1252 leaves undefined go through as they are."""
    parts = []
    for char in text:
        try:
            parts.append(char.encode(encoding))
        except UnicodeEncodeError:
            if encoding != "cp1252" or not 0x80 <= ord(char) <= 0x9F:
                return None
            parts.append(bytes([ord(char)]))
    return b"".join(parts)


def _makes_sense(text: str, meant: str, pair: tuple[str, str], charset: Charset) -> bool:
    """UTF-8 read as cp1252 is never chance; GBK bytes may be, so all must be Chinese then."""
    if any(unicodedata.category(char) in ("Cc", "Cn", "Co") for char in meant):
        return False
    if pair == ("cp1252", "utf-8"):
        return True
    if not all(char.isascii() or _is_chinese(char) for char in meant):
        return False
    return pair[0] == "gbk" or _is_gbk(text, meant, charset)


def _is_gbk(text: str, meant: str, charset: Charset) -> bool:
    """Whether a text of Latin letters and signs is rather Chinese that was read as cp1252."""
    damaged = [char for char in text if not char.isascii()]
    chinese = [char for char in meant if not char.isascii()]
    if len(damaged) * 2 <= len(text) or len(chinese) < 2 or charset.unknown("".join(chinese)):
        return False
    letters = [_is_letter(char) for char in damaged]
    if any(letters) != all(letters):
        return True  # what people write is mostly either: accented letters, or signs
    common = all(0xB0 <= char.encode("gbk")[0] <= 0xD7 for char in chinese)
    return all(letters) and common and bool(charset.unknown("".join(damaged)))


def _is_letter(char: str) -> bool:
    return unicodedata.category(char) in ("Lu", "Ll") and char != "\u00b5"  # the micro sign


def _is_chinese(char: str) -> bool:
    code = ord(char)
    return 0x4E00 <= code <= 0x9FFF or 0x3000 <= code <= 0x303F or 0xFF01 <= code <= 0xFF5E


def _other_form(part: str, charset: Charset) -> str | None:
    """``part`` itself where the set has it, else another form of it that the set has."""
    if not charset.unknown(part):
        return part
    candidates = [
        unicodedata.normalize("NFKC", part),
        _LOOK_ALIKE.get(part, ""),
        chr(ord(part) + _WIDE_SHIFT) if "!" <= part <= "~" else "",
        *_variants().get(part, ()),
    ]
    return next((c for c in candidates if c and not charset.unknown(c)), None)


@cache
def _variants() -> Mapping[str, tuple[str, ...]]:
    """Simplified and traditional forms of characters, from OpenCC's tables; empty without them."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        folder = resources.files("opencc") / "dictionary"
        for table in _TABLES:
            for line in (folder / table).read_text(encoding="utf-8").splitlines():
                char, _, forms = line.partition("\t")
                found[char] = found.get(char, ()) + tuple(forms.split())
    except (ModuleNotFoundError, FileNotFoundError, NotADirectoryError):
        return {}
    return found


def can_convert() -> bool:
    """Whether traditional and simplified forms are suggested (the tables are installed)."""
    return bool(_variants())
