"""What all protocols share: checking, trying again, connections of each process's own."""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from ocr_pipeline.config.sources import StorageConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.optional import need
from ocr_pipeline.storage.root import MissingFileError
from ocr_pipeline.storage.urls import check_range, checked_name, host_and_folder, too_short, walk

T = TypeVar("T")

CHUNK = 2**18
"""Bytes taken from a connection at a time."""


class TryAgainError(Exception):
    """One try failed in a way that may pass.

    Attributes:
        reason: what happened.
        got, expected: bytes; None where nothing is known of them.
    """

    def __init__(self, reason: str, got: int | None = None, expected: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.got, self.expected = reason, got, expected


@dataclass(frozen=True, slots=True)
class Piece:
    """What one answer held.

    Attributes:
        content: the bytes asked for, or fewer.
        total: bytes of the whole file; where the piece is complete and the server did not say,
            of the file up to its end.
    """

    content: bytes
    total: int


class RemoteRoot(ABC):
    """A folder of another machine; one object may be used by several threads."""

    def __init__(self, url: str, config: StorageConfig) -> None:
        self.url = url.rstrip("/")
        self._config = config
        self._host, self._folder = host_and_folder(self.url)
        self._made: tuple[int, Any] = (0, None)
        self._inherited: list[Any] = []

    def __reduce__(self) -> tuple[type["RemoteRoot"], tuple[str, StorageConfig]]:
        """Connections do not travel: the copy makes its own."""
        return type(self), (self.url, self._config)

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        name = checked_name(self.url, name)
        place = f"{self.url}/{name}"
        check_range(place, start, size)
        if start or size == 0:
            size = self._checked_size(place, name, start, size)
        if size == 0:
            return b""
        return self._patiently(place, lambda: self._exactly(place, name, start, size))

    def size(self, name: str) -> int:
        name = checked_name(self.url, name)
        place = f"{self.url}/{name}"
        return self._patiently(place, lambda: self._size(place, name))

    @abstractmethod
    def names(self, pattern: str = "**") -> Iterator[str]:
        """See :class:`~ocr_pipeline.storage.root.Root`."""

    def write(self, name: str, content: bytes) -> None:
        name = checked_name(self.url, name)
        place = f"{self.url}/{name}"
        self._patiently(place, lambda: self._store(place, name, content))
        if (arrived := self.size(name)) != len(content):
            raise DataError(
                f"{place}: sent {len(content)} bytes, the server has {arrived}; write it again"
            )

    @abstractmethod
    def _open(self) -> Any:
        """The file system of fsspec, for this process."""

    @abstractmethod
    def _fetch(self, place: str, name: str, start: int, size: int | None) -> Piece:
        """One try at a whole file (0, None), or at a piece of one byte or more."""

    @abstractmethod
    def _size(self, place: str, name: str) -> int:
        """One try."""

    @abstractmethod
    def _store(self, place: str, name: str, content: bytes) -> None:
        """One try."""

    def _checked_size(self, place: str, name: str, start: int, size: int | None) -> int:
        """Bytes to read where that hangs on the file's size, or no byte is asked for."""
        if size:
            return size
        total = self.size(name)
        if start > total:
            raise too_short(place, start, size, total)
        return total - start if size is None else 0

    def _exactly(self, place: str, name: str, start: int, size: int | None) -> bytes:
        piece = self._fetch(place, name, start, size)
        wanted = piece.total if size is None else size
        if start + wanted > piece.total:
            raise too_short(place, start, size, piece.total)
        if len(piece.content) != wanted:
            raise TryAgainError("the answer was cut off", len(piece.content), wanted)
        return piece.content

    def _patiently(self, place: str, once: Callable[[], T]) -> T:
        """Try, wait twice as long each time, and give up in the end.

        Raises:
            DataError: after the last try, or at once where another try cannot help.
        """
        tries = self._config.retries + 1
        for number in range(1, tries + 1):
            try:
                return once()
            except TryAgainError as error:
                if number == tries:
                    raise _given_up(place, error, tries) from error
                time.sleep(self._config.backoff_s * 2 ** (number - 1))
        raise AssertionError("there is always one try")

    def _files(self) -> Any:
        """The file system: made when it is first needed, and anew after a fork."""
        pid, files = self._made
        if pid == os.getpid():
            return files
        # What came over a fork is kept: to close it here would wait for its event loop, which
        # stayed behind in the parent.
        self._inherited.append(files)
        files = self._open()
        self._made = (os.getpid(), files)
        return files

    def _no_answer(self, error: BaseException) -> TryAgainError:
        text = str(error) or type(error).__name__
        # Each library has timeouts of its own; not all are a TimeoutError.
        if isinstance(error, TimeoutError) or re.search("timeout|timed out", text, re.IGNORECASE):
            return TryAgainError(f"no answer within {self._config.timeout_s:g} s")
        return TryAgainError(f"the connection failed ({text})")


class FolderRoot(RemoteRoot):
    """Protocols that list one folder at a time."""

    def names(self, pattern: str = "**") -> Iterator[str]:
        return walk(self._entries, pattern.split("/"))

    @abstractmethod
    def _list(self, place: str, folder: str) -> list[tuple[str, bool]]:
        """One try; (name, is a folder) of what stands in a folder."""

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        place = f"{self.url}/{folder}".rstrip("/")
        return self._patiently(place, lambda: self._list(place, folder))


class AsyncRoot(RemoteRoot):
    """Protocols whose file system runs in fsspec's event loop."""

    def _run(self, place: str, job: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Give the file system to a job that runs in its loop."""
        files = self._files()
        with self._native_errors(place):
            result: T = need("fsspec.asyn", "remote").sync(files.loop, job, files)
        return result

    @abstractmethod
    def _native_errors(self, place: str) -> AbstractContextManager[None]:
        """Turns the protocol's own errors into a DataError or a TryAgainError."""


async def collected(
    read: Callable[[int], Awaitable[bytes]], expected: int, failures: tuple[type[Exception], ...]
) -> bytes:
    """A body, chunk by chunk, so that it is known how far a broken one came.

    Args:
        read: gives up to so many bytes, none at the end.
        expected: bytes, as the server said; below 0: it did not.
        failures: of the connection.

    Raises:
        TryAgainError: the connection failed.
    """
    pieces: list[bytes] = []
    try:
        while piece := await read(CHUNK):
            pieces.append(piece)
    except failures as error:
        got = sum(len(piece) for piece in pieces)
        reason = f"the answer was cut off ({type(error).__name__})"
        raise TryAgainError(reason, got, expected if expected >= 0 else None) from error
    return b"".join(pieces)


def refusal(place: str, status: int, text: str) -> DataError | TryAgainError:
    """What an HTTP status of 400 or more means."""
    said = f"{status} {text}".strip()
    if status in (404, 410):
        return MissingFileError(f"{place}: not there ({said}); check the name")
    if status in (401, 403):
        return DataError(
            f"{place}: not allowed ({said}); check the name, and the key, user or permissions"
        )
    if status >= 500 or status in (408, 429):
        return TryAgainError(f"the server answered {said}")
    return DataError(f"{place}: the server answered {said}; check the URL")


def _given_up(place: str, error: TryAgainError, tries: int) -> DataError:
    of = "" if error.expected is None else f" of {error.expected}"
    got = "" if error.got is None else f"; got {error.got}{of} bytes"
    return DataError(
        f"{place}: {error.reason}{got}; gave up after {tries} tries. Check the server and the "
        "network, or raise storage.retries or storage.timeout_s"
    )
