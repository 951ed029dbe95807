"""PaddleOCR's recognition lists: one ``image<TAB>text`` a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.errors import DataError


@dataclass(frozen=True)
class LabelLine:
    """One line of a list.

    Attributes:
        source: ``path:line``.
        image: image path as written; empty where the line has no tab.
        text: label as written, line end taken off.
    """

    source: str
    image: str
    text: str


def read_rec_list(path: Path) -> Iterator[LabelLine]:
    """Yield the lines of a list; blank lines are passed over.

    Raises:
        DataError: the file cannot be read or is not UTF-8 (line given).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot read this label list ({error.strerror}); check the path"
        ) from None
    # A byte-order mark, as Windows editors write it, belongs to no path.
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: not UTF-8 ({error.reason}); save the list as UTF-8"
            ) from None
        if not line.strip():
            continue
        image, tab, text = line.partition("\t")
        yield LabelLine(f"{path}:{number}", image if tab else "", text if tab else line)
