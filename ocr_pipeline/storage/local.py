"""A folder on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.root import MissingFileError
from ocr_pipeline.storage.urls import check_range, checked_name, too_short, walk


class LocalRoot:
    """A folder by its path; linked files and folders are followed."""

    def __init__(self, path: str) -> None:
        self.url = path.rstrip("/") or ("/" if path else ".")

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        path = self._path(name)
        check_range(str(path), start, size)
        with _disk_errors(path), path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            wanted = total - start if size is None else size
            if wanted < 0 or start + wanted > total:
                raise too_short(str(path), start, size, total)
            file.seek(start)
            content = file.read(wanted)
        if len(content) != wanted:
            raise DataError(
                f"{path}: got {len(content)} of {wanted} bytes; the file shrank or its disk fails"
            )
        return content

    def size(self, name: str) -> int:
        path = self._path(name)
        with _disk_errors(path):
            if path.is_dir():
                raise IsADirectoryError
            return path.stat().st_size

    def names(self, pattern: str = "**") -> Iterator[str]:
        return walk(self._entries, pattern.split("/"))

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        # Readers see the old file or the whole new one.
        part = path.with_name(f".{os.getpid()}.part")
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(content)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return Path(self.url) / checked_name(self.url, name)

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        here = Path(self.url) / folder
        with _disk_errors(here), os.scandir(here) as found:
            above = _way_to(here)
            return [
                (entry.name, entry.is_dir())
                for entry in found
                if entry.is_file() or (entry.is_dir() and _identity(entry.path) not in above)
            ]


def _way_to(folder: Path) -> set[tuple[int, int]]:
    """A folder and those above it on the way that was taken: a link (or mount) to one of them
    leads round for ever."""
    here = folder.absolute()
    return {_identity(path) for path in (here, *here.parents)}


def _identity(path: str | Path) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_dev, found.st_ino


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise MissingFileError(f"{path}: not there; check the path") from None
    except NotADirectoryError:
        raise MissingFileError(f"{path}: not there, a part of it is a file; check it") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name a file") from None
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; check the disk and its permissions"
        ) from None
