"""The character set of a recognizer: which class of the network is which character."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from ocr_pipeline.errors import ArtifactError, LabelError

BLANK = 0
"""Class index of the CTC blank."""
SPACE = " "


class Charset:
    """Classes of a CTC recognizer in order: blank (index 0), the dictionary, one ASCII space.

    Args:
        dictionary: entries in order, without blank and without the ASCII space; each at least one
            code point, no duplicates.

    Raises:
        ArtifactError: empty dictionary, an empty or duplicate entry, or an ASCII space in it.
    """

    def __init__(self, dictionary: Sequence[str]) -> None:
        entries = tuple(dictionary)
        if not entries:
            raise ArtifactError("the dictionary is empty; it needs one character a line")
        seen: set[str] = set()
        for line, entry in enumerate(entries, start=1):
            if not entry or entry == SPACE or entry in seen:
                what = "is empty" if not entry else "is the space" if entry == SPACE else "repeats"
                raise ArtifactError(
                    f"dictionary line {line} ({entry!r}) {what}; allowed: each character once, the "
                    "ASCII space is added by itself"
                )
            seen.add(entry)
        self.dictionary = entries

    @classmethod
    def load(cls, path: Path) -> "Charset":
        """Read a dictionary file: UTF-8, one entry a line, only line ends are stripped."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: cannot read this dictionary ({error})") from None
        lines = text.split("\n")
        if lines and lines[-1] == "":
            lines.pop()
        return cls([line.rstrip("\r") for line in lines])

    def save(self, path: Path) -> None:
        """Write the dictionary so that :meth:`load` gives an equal one."""
        path.write_text("".join(f"{entry}\n" for entry in self.dictionary), encoding="utf-8")

    @property
    def classes(self) -> int:
        """Number of network outputs: blank + dictionary + space."""
        return len(self.dictionary) + 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Charset) and self.dictionary == other.dictionary

    def __hash__(self) -> int:
        return hash(self.dictionary)

    @cached_property
    def _index(self) -> dict[str, int]:
        index = {entry: number for number, entry in enumerate(self.dictionary, start=1)}
        index[SPACE] = len(self.dictionary) + 1
        return index

    def encode(self, text: str) -> list[int]:
        """Turn a label into class indices in [1, classes).

        Raises:
            LabelError: empty label, or characters outside the set (all named, with code points).
        """
        if not text:
            raise LabelError("the label is empty; give its text, or leave the picture out")
        indices = [self._index.get(part, BLANK) for part in self.split(text)]
        if BLANK in indices:
            unknown = self.unknown(text)
            named = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in unknown)
            raise LabelError(
                f"label {text!r}: {named} not in the character set of {self.classes - 1:,} "
                "characters; correct the label, or train with a character set that has them"
            )
        return indices

    def unknown(self, text: str) -> list[str]:
        """Return the characters of ``text`` that the set lacks, each once, in order."""
        return [part for part in dict.fromkeys(self.split(text)) if part not in self._index]

    def index(self, entry: str) -> int | None:
        """Return the class of one entry (or the space); None where the set lacks it."""
        return self._index.get(entry)

    def split(self, text: str) -> list[str]:
        """Cut ``text`` into entries; where one of several code points fits, the longest is taken.

        PP-OCRv5's dictionary has ten of two code points (flags).
        """
        if not self._long_entries:
            return list(text)
        parts = []
        start = 0
        while start < len(text):
            longer = (e for e in self._long_entries if text.startswith(e, start))
            part = max(longer, key=len, default=text[start])
            parts.append(part)
            start += len(part)
        return parts

    @cached_property
    def _long_entries(self) -> tuple[str, ...]:
        return tuple(entry for entry in self.dictionary if len(entry) > 1)

    def decode(self, indices: Iterable[int]) -> str:
        """Turn class indices (no blank among them) into text."""
        entries = self.dictionary
        return "".join(
            SPACE if index == len(entries) + 1 else entries[index - 1] for index in indices
        )
