"""Files wherever they are: a folder, S3, WebHDFS, HTTP or an LMDB database.

What a server sends is never taken on trust: a read gives exactly the bytes asked for, tries again
where the network failed, and else says how far it came.
"""

from collections.abc import Iterator

from ocr_pipeline.config.sources import StorageConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.http import HttpRoot
from ocr_pipeline.storage.lmdb import LmdbRoot
from ocr_pipeline.storage.local import LocalRoot
from ocr_pipeline.storage.root import MissingFileError, Root
from ocr_pipeline.storage.s3 import S3Root
from ocr_pipeline.storage.urls import is_remote, local_path, protocol_of, split_url
from ocr_pipeline.storage.webhdfs import WebHdfsRoot

__all__ = [
    "MissingFileError",
    "Root",
    "is_remote",
    "open_lines",
    "open_root",
    "protocol_of",
    "read_file",
    "split_url",
]

_BLOCK = 4 * 2**20
"""Bytes of a list that are read at a time."""
_LONGEST_LINE = 16 * 2**20
"""Bytes; what is longer is no list of labels."""


def open_root(url: str, config: StorageConfig | None = None) -> Root:
    """A folder by its path or URL; nothing is opened or asked yet.

    Raises:
        DataError: protocol not allowed, a password in the URL, or a URL that names no folder.
    """
    config = config or StorageConfig()
    match protocol_of(url):
        case "" | "file":
            return LocalRoot(local_path(url))
        case "lmdb":
            return LmdbRoot(url.partition("://")[2])
        case "s3":
            return S3Root(url, config)
        case "webhdfs":
            return WebHdfsRoot(url, config)
        case _:
            return HttpRoot(url, config)


def read_file(url: str, config: StorageConfig | None = None) -> bytes:
    """Content of one file by its path or URL; see :meth:`Root.read` for errors."""
    folder, name = split_url(url)
    return open_root(folder, config).read(name)


def open_lines(url: str, config: StorageConfig | None = None) -> Iterator[bytes]:
    r"""Yield the lines of a file without their ends (``\n`` or ``\r\n``), holding 4 MB at a time.

    Read by ranges: where a connection breaks, it goes on from there.

    Raises:
        DataError: as :meth:`Root.read`, or a line is longer than 16 MB; never fewer lines than the
            file has, nor half of one.
    """
    folder, name = split_url(url)
    return _lines(open_root(folder, config), name)


def _lines(root: Root, name: str) -> Iterator[bytes]:
    total = root.size(name)
    pieces: list[bytes] = []  # of the line that has not ended yet
    number = 1
    for start in range(0, total, _BLOCK):
        block = root.read(name, start=start, size=min(_BLOCK, total - start))
        first, *others = block.split(b"\n")
        pieces.append(first)
        if sum(map(len, pieces)) > _LONGEST_LINE:
            raise DataError(
                f"{root.url}/{name}: line {number} is longer than {_LONGEST_LINE // 2**20} MB; "
                "this is no list of labels, or a damaged one: look at that line"
            )
        if others:
            number += len(others)
            yield b"".join(pieces).removesuffix(b"\r")
            yield from (line.removesuffix(b"\r") for line in others[:-1])
            pieces = [others[-1]]
    if last := b"".join(pieces):
        yield last.removesuffix(b"\r")
