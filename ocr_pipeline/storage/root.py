"""What a folder of files can do, wherever it is."""

from collections.abc import Iterator
from typing import Protocol

from ocr_pipeline.errors import DataError


class MissingFileError(DataError):
    """The server or the disk answered, and there is no file of this name."""


class Root(Protocol):
    """A folder of files, local or not.

    May be pickled, and used after a fork: each process opens connections of its own. Names are
    relative, with ``/``; one that leads out of the folder is a DataError.

    Attributes:
        url: path or URL of the folder, without a slash at its end; shows no secret.
    """

    url: str

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        """Content of one file.

        Args:
            name: of the file.
            start: first byte.
            size: number of bytes; None: up to the end.

        Returns:
            Exactly what was asked for.

        Raises:
            MissingFileError: no such file.
            DataError: the file is shorter than that, not allowed, or could not be read whole.
        """

    def size(self, name: str) -> int:
        """Bytes of one file.

        Raises:
            MissingFileError: no such file.
            DataError: it is a folder, not allowed, or the server does not answer.
        """

    def names(self, pattern: str = "**") -> Iterator[str]:
        """Yield the names of files below, in the order of their code points; no folders.

        Args:
            pattern: ``*``, ``?`` and ``[...]`` stand inside one part of a name, ``**`` for any
                number of parts: ``**/*.png``.

        Raises:
            DataError: there is no such folder, or it cannot be listed.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write one file with the folders it needs; an older one of this name is replaced.

        Raises:
            DataError: not allowed, read-only, or what arrived is not what was sent.
        """
