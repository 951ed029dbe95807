"""An LMDB database, whose keys are names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ocr_pipeline.errors import DataError
from ocr_pipeline.storage.optional import need
from ocr_pipeline.storage.root import MissingFileError
from ocr_pipeline.storage.urls import check_range, fits, too_short


class _Databases:
    """Open databases of this process: LMDB opens a file once in a process."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, Any]] = {}

    def get(self, path: str) -> Any:
        """The database; one that came over a fork is closed here and opened anew."""
        pid, database = self._open.get(path, (0, None))
        if pid == os.getpid():
            return database
        if database is not None:
            database.close()
        self._open[path] = (os.getpid(), _opened(path))
        return self._open[path][1]


_DATABASES = _Databases()


def _opened(path: str) -> Any:
    lmdb = need("lmdb", "train")
    if not Path(path).exists():
        raise MissingFileError(f"lmdb://{path}: not there; check the path")
    is_folder = Path(path).is_dir()
    try:
        database = lmdb.open(path, subdir=is_folder, readonly=True, lock=False, readahead=False)
        size = (Path(path) / "data.mdb" if is_folder else Path(path)).stat().st_size
    except (lmdb.Error, OSError) as error:
        raise DataError(
            f"lmdb://{path}: cannot be opened as an LMDB database ({error}); name the folder that "
            "holds data.mdb"
        ) from None
    # The file is mapped: to touch a page behind its end would kill this process (SIGBUS).
    needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    if size < needed:
        database.close()
        raise DataError(
            f"lmdb://{path}: has {size:,} bytes, its pages need {needed:,}; it was cut off, copy "
            "it again"
        )
    return database


class LmdbRoot:
    """The values of one LMDB database by their keys (UTF-8), sorted by bytes; read-only."""

    def __init__(self, path: str) -> None:
        if not path:
            raise DataError("lmdb://: expected lmdb:///PATH, the folder that holds data.mdb")
        folder = Path(path).absolute()
        self.url = f"lmdb://{folder.parent if folder.name == 'data.mdb' else folder}"
        self._path = str(Path(self.url.removeprefix("lmdb://")).resolve())

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        place = f"{self.url}/{name}"
        check_range(place, start, size)
        with self._value(name) as value:
            wanted = len(value) - start if size is None else size
            if wanted < 0 or start + wanted > len(value):
                raise too_short(place, start, size, len(value))
            return bytes(value[start : start + wanted])

    def size(self, name: str) -> int:
        with self._value(name) as value:
            return len(value)

    def names(self, pattern: str = "**") -> Iterator[str]:
        parts = pattern.split("/")
        with self._transaction(self.url) as transaction, transaction.cursor() as cursor:
            for key in cursor.iternext(values=False):
                name = bytes(key).decode("utf-8", "surrogateescape")
                if fits(name.split("/"), parts):
                    yield name

    def write(self, name: str, content: bytes) -> None:
        raise DataError(
            f"{self.url}/{name}: LMDB databases are only read, {len(content)} bytes not written; "
            "write to a folder or S3"
        )

    @contextmanager
    def _value(self, name: str) -> Iterator[memoryview]:
        key = name.encode("utf-8", "surrogateescape")
        with self._transaction(f"{self.url}/{name}") as transaction:
            value = transaction.get(key) if key else None
            if value is None:
                raise MissingFileError(f"{self.url}/{name}: no such key in the database")
            yield memoryview(value)

    @contextmanager
    def _transaction(self, place: str) -> Iterator[Any]:
        lmdb = need("lmdb", "train")
        try:
            # Buffers: a value's size is had without copying it.
            with _DATABASES.get(self._path).begin(buffers=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise DataError(f"{place}: {error}; the database may be damaged") from None
