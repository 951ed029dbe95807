"""Where a source's label files stand, and how its pictures are spelled."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ocr_pipeline.config.sources import StorageConfig, Task
from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.ops.parse import BYTE_ORDER_MARK, decode, refuse_utf16
from ocr_pipeline.storage import (
    MissingFileError,
    Root,
    is_remote,
    open_lines,
    open_root,
    split_url,
)

MAX_JSON_BYTES = 512 * 2**20
"""A JSON file is read whole; a larger one would take several GB of memory."""
_PROBES = 20
"""So many pictures are looked for before a spelling is settled on unseen."""


@dataclass(frozen=True)
class Reading:
    """What a reader of one format is given.

    Attributes:
        labels: file, folder or pattern, as the config has it.
        task: what samples are for.
        images: root URL that pictures are relative to.
        images_given: the user named that root; else it is the folder of ``labels``.
        storage: how remote files are read.
    """

    labels: str
    task: Task
    images: str
    images_given: bool
    storage: StorageConfig


@dataclass(frozen=True)
class LabelFile:
    """One label file.

    Attributes:
        url: path or URL to read it by.
        folder: its folder below that of ``labels`` (of the part without ``*``); "" for the same.
    """

    url: str
    folder: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a text file that is not blank.

    Attributes:
        place: ``path:line``.
        text: its text, line end taken off; "" where there is an error.
        error: why it cannot be read as text; else None.
    """

    place: str
    text: str
    error: LabelError | None = None


def labels_folder(labels: str, suffixes: Sequence[str]) -> str:
    """The folder that label files are below: of a file, of a pattern's part without ``*``.

    Args:
        labels: as the config has it.
        suffixes: what the name of a single label file ends with; anything else is a folder. None
            given: it is always a file.
    """
    if "*" in labels:
        return split_pattern(labels)[0]
    if _is_file(labels, suffixes):
        return split_url(labels)[0]
    return labels.rstrip("/") or "/"


def label_files(
    labels: str, storage: StorageConfig, *, inside: str = "", suffixes: Sequence[str] = ()
) -> Iterator[LabelFile]:
    """Yield the label files that ``labels`` names, by name.

    Args:
        labels: a file, a folder, or a pattern: ``*`` stands for any characters but ``/``, ``**``
            for any.
        storage: how remote files are read.
        inside: pattern of label files in a folder.
        suffixes: see :func:`labels_folder`.

    Raises:
        DataError: the folder cannot be listed, or nothing matches.
    """
    if "*" not in labels and _is_file(labels, suffixes):
        yield LabelFile(labels, "")
        return
    folder = labels_folder(labels, suffixes)
    pattern = split_pattern(labels)[1] if "*" in labels else inside
    none = True
    for name in matching(folder, pattern, storage):
        none = False
        yield LabelFile(child_url(folder, name), name.rpartition("/")[0])
    if none:
        raise DataError(f"{folder}: no file matches {pattern!r}; check labels and kind")


def matching(folder: str, pattern: str, storage: StorageConfig) -> Iterator[str]:
    """Yield the files below a folder that match, by name; see :func:`label_files`."""
    matches = _pattern_expression(pattern).fullmatch
    return (name for name in open_root(folder, storage).names() if matches(name))


def child_url(folder: str, name: str) -> str:
    """Path or URL of a file below a folder; the name is as a listing gives it."""
    if folder.startswith(("http://", "https://", "file://")):
        name = quote(name)
    return join(folder, name)


def join(folder: str, name: str) -> str:
    """``name`` below ``folder``; unchanged where it starts from a root of its own."""
    if folder in ("", ".") or name.startswith("/") or "://" in name:
        return name
    return f"{folder.rstrip('/')}/{name}"


def read_lines(url: str, storage: StorageConfig) -> Iterator[Line]:
    """Yield the lines of a UTF-8 text file, one at a time; blank ones are passed over.

    Raises:
        DataError: the file cannot be read.
    """
    for number, raw in enumerate(open_lines(url, storage), start=1):
        place = f"{url}:{number}"
        content = raw
        if number == 1:
            try:
                refuse_utf16(raw)
            except LabelError as error:
                yield Line(place, "", error)
                return
            content = raw.removeprefix(BYTE_ORDER_MARK)
        line = _read_line(place, content)
        if line.error is not None or line.text.strip():
            yield line


def read_whole(url: str, storage: StorageConfig) -> bytes:
    """Content of a JSON file.

    Raises:
        DataError: it cannot be read, or is larger than ``MAX_JSON_BYTES``.
    """
    folder, name = split_url(url)
    root = open_root(folder, storage)
    size = root.size(name)
    if size > MAX_JSON_BYTES:
        raise DataError(
            f"{url}: {size / 2**20:.0f} MB of JSON, allowed are {MAX_JSON_BYTES / 2**20:.0f}; "
            "split it into several files and name them with a pattern (*)"
        )
    return root.read(name)


class Pictures:
    """Looks whether pictures are there, where a label leaves open how they are spelled."""

    def __init__(self, url: str, storage: StorageConfig) -> None:
        self._url = url
        self._storage = storage
        self._root: Root | None = None
        self._found_last = 0

    def exists(self, name: str) -> bool:
        """Whether the root has a picture of this name."""
        if self._root is None:
            self._root = open_root(self._url, self._storage)
        return exists(self._root, name)

    def find(self, spellings: Sequence[str]) -> str:
        """The first spelling that is there, else the first of all."""
        order = sorted(range(len(spellings)), key=lambda at: at != self._found_last)
        for at in order:
            if self.exists(spellings[at]):
                self._found_last = at
                return spellings[at]
        return spellings[0]


class Spelling:
    """Settles once, by the first picture that is found, which of some spellings a source uses."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._settled: int | None = None
        self._misses = 0

    def choose(self, spellings: Sequence[str]) -> str:
        """The spelling of the settled kind; ``spellings`` has the same order in every call."""
        if self._settled is not None:
            return spellings[self._settled]
        for at, name in enumerate(spellings):
            if self._pictures.exists(name):
                self._settled = at
                return name
        self._misses += 1
        if self._misses >= _PROBES:
            self._settled = 0
        return spellings[0]


def exists(root: Root, name: str) -> bool:
    """Whether a root has a file of this name.

    Raises:
        DataError: a server or a database does not answer.
    """
    parts = set(name.split("/"))
    if name.startswith("/") or "\0" in name or ".." in parts or parts <= {"", "."}:
        return False  # no file can be called that
    try:
        root.size(name)
    except (MissingFileError, UnicodeEncodeError):  # half a character, as JSON may hold it
        return False
    except DataError:
        if is_remote(root.url) or root.url.startswith("lmdb://"):
            raise
        return False  # a folder, or a name too long for the disk
    return True


def _read_line(place: str, raw: bytes) -> Line:
    try:
        text = decode(raw).rstrip("\r")
        if "\r" in text:
            raise LabelError("a carriage return inside the line; end lines with \\n or \\r\\n")
    except LabelError as error:
        return Line(place, "", error)
    return Line(place, text)


def _is_file(labels: str, suffixes: Sequence[str]) -> bool:
    return not suffixes or labels.lower().endswith(tuple(suffixes))


def split_pattern(labels: str) -> tuple[str, str]:
    """The folder before the first part with ``*``, and the rest."""
    before, _, _ = labels.partition("*")
    folder, slash, _ = before.rpartition("/")
    return (folder or "/") if slash else ".", labels[len(folder) + len(slash) :]


def _pattern_expression(pattern: str) -> re.Pattern[str]:
    """Only ``*`` is special: names may hold brackets and question marks."""
    pieces = re.split(r"(\*\*/|\*\*|\*)", pattern)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(meanings.get(p) or re.escape(p) for p in pieces), re.DOTALL)
