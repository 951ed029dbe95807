"""Packs: many small pictures in a few plain tar files, each read by its place.

A sample's place is (shard, offset, size), kept beside its label; no index file is needed. The
shards are POSIX tar archives that any tool lists and unpacks; why tar: docs/packs.md.
"""

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Protocol, Self

from ocr_pipeline.config.base import Config
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.storage import MissingFileError, Root

Location = tuple[int, int, int]
"""Place of one sample: (number of its shard, offset of its content, its size), bytes."""

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
_BUFFER = 1 << 20
_CHUNK = 8 << 20
_OPEN_SHARDS = 128


class ShardInfo(Config):
    """What a dataset's card says of one shard."""

    name: str
    """File name below the folder or URL of the packs."""
    bytes: int
    """Size of the file."""
    samples: int
    """Pictures in it."""
    sha256: str
    """Hex digest of the file."""


# --- writing


class _Sink(Protocol):
    """Where one shard grows; it exists under its name after :meth:`finish` only."""

    def write(self, content: bytes) -> None: ...

    def finish(self) -> None: ...

    def discard(self) -> None: ...


class _LocalSink:
    def __init__(self, target: Path) -> None:
        self._target = target
        number, path = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        self._path = Path(path)
        self._stream = os.fdopen(number, "wb", buffering=_BUFFER)

    def write(self, content: bytes) -> None:
        self._stream.write(content)

    def finish(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())  # or a power cut could leave a short file with its name
        self._stream.close()
        self._path.chmod(0o644)
        self._path.replace(self._target)

    def discard(self) -> None:
        with suppress(OSError):  # a full disk: what is buffered cannot be written, and need not be
            self._stream.close()
        self._path.unlink(missing_ok=True)


class _RemoteSink:
    def __init__(self, root: Root, name: str) -> None:
        self._root, self._name = root, name
        self._content = io.BytesIO()

    def write(self, content: bytes) -> None:
        self._content.write(content)

    def finish(self) -> None:
        self._root.write(self._name, self._content.getvalue())
        self.discard()

    def discard(self) -> None:
        self._content.close()


class PackWriter:
    """Write pictures into ``<split>-00000.tar``, ``<split>-00001.tar``, ... as they come.

    The same pictures in the same order give the same bytes. A shard has its name only when it is
    complete: what a killed process leaves is complete shards and a hidden temporary file. A
    ``with`` block that ends with an error takes its shards in a folder away again.

    Args:
        target: a folder, made if needed; or storage that can be written, where a shard is held in
            memory until it is complete.
        split: first part of the file names.
        shard_mb: no shard is larger, MB (10^6 bytes), unless one picture alone is.
        replace: shards of this split that are there already may be overwritten.

    Raises:
        ArtifactError: shards of this split are there and ``replace`` is false.
        DataError: the storage cannot be listed.
    """

    def __init__(
        self, target: Path | Root, split: str, *, shard_mb: int = 256, replace: bool = False
    ) -> None:
        self._place = target if isinstance(target, Path) else str(target.url)
        self._folder = _folder_of(target)
        self._root = None if isinstance(target, Path) else target
        self._split = split
        self._limit = shard_mb * 1_000_000
        self._names: set[bytes] = set()
        self._done: list[ShardInfo] = []
        self._start()
        there = [] if replace else self._shards_there()
        if there:
            raise ArtifactError(
                f"{self._place}: holds {len(there)} shards of {split!r} already, e.g. {there[0]}; "
                "give another place, delete them, or say --overwrite"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def add(self, name: str, content: bytes) -> Location:
        """Append one picture.

        Args:
            name: its path in the tar, with ``/``; no two in a pack are equal.
            content: the encoded file; it is stored as it is.

        Raises:
            DataError: the name is in the pack already, or cannot stand in a tar; or the storage
                does not take the shard.
            ArtifactError: the shard cannot be written into the folder.
        """
        self._take(name)
        header = _header(name, len(content))
        padding = bytes(-len(content) % _BLOCK)
        more = len(header) + len(content) + len(padding) + len(_END)
        if self._samples and self._position + more > self._limit:
            self._finish()
        location = (len(self._done), self._position + len(header), len(content))
        self._write(header, content, padding)
        self._samples += 1
        return location

    def close(self) -> list[ShardInfo]:
        """Complete the last shard and return all of them; may be called again.

        Raises:
            ArtifactError: the shard cannot be written into the folder.
            DataError: the storage does not take it.
        """
        if self._samples:
            self._finish()
        return list(self._done)

    def discard(self) -> None:
        """Drop the shard that is being written, and remove those that went into a folder."""
        if self._sink is not None:
            self._sink.discard()
        if self._folder is not None:
            for shard in self._done:
                (self._folder / shard.name).unlink(missing_ok=True)
        self._done.clear()
        self._start()

    def _take(self, name: str) -> None:
        if not _is_safe(name):
            raise DataError(
                f"{name!r}: cannot be the name of a picture in a pack; allowed: a relative path "
                "with / between its parts, no part empty, '.' or '..'"
            )
        # A digest needs less memory than the name; 12 bytes do for millions of millions.
        key = hashlib.blake2b(name.encode(), digest_size=12).digest()
        if key in self._names:
            raise DataError(
                f"{name!r}: is in the pack of {self._split!r} already; give every picture a name "
                "of its own"
            )
        self._names.add(key)

    def _start(self) -> None:
        self._sink: _Sink | None = None
        self._position = self._samples = 0
        self._digest = hashlib.sha256()

    @property
    def _next_name(self) -> str:
        return f"{self._split}-{len(self._done):05d}.tar"

    def _write(self, *parts: bytes) -> None:
        with self._explained():
            sink = self._sink = self._sink or self._new_sink()
            for part in parts:
                sink.write(part)
                self._digest.update(part)
                self._position += len(part)

    def _finish(self) -> None:
        self._write(_END)
        if self._sink is not None:
            with self._explained():
                self._sink.finish()
        self._done.append(
            ShardInfo(
                name=self._next_name,
                bytes=self._position,
                samples=self._samples,
                sha256=self._digest.hexdigest(),
            )
        )
        self._start()

    def _new_sink(self) -> _Sink:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            return _LocalSink(self._folder / self._next_name)
        assert self._root is not None  # noqa: S101  (one of both is given)
        return _RemoteSink(self._root, self._next_name)

    def _shards_there(self) -> list[str]:
        pattern = f"{self._split}-*.tar"
        if self._folder is not None:
            return sorted(path.name for path in self._folder.glob(pattern))
        assert self._root is not None  # noqa: S101  (one of both is given)
        try:
            return sorted(self._root.names(pattern))
        except MissingFileError:  # nothing at all is there
            return []

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactError(
                f"{self._place}/{self._next_name}: cannot be written ({error.strerror or error}); "
                "check the space and the rights there"
            ) from None


def _is_safe(name: str) -> bool:
    """Whether a name can be stored, and unpacks below the folder that it is unpacked into."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half a character, from a file name that is not UTF-8
        return False
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def _header(name: str, size: int) -> bytes:
    """Tar header(s): ustar; for a name that is long or not ASCII, with PAX records before it."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


# --- reading


class _OpenShard:
    """A shard's descriptor. ``pread`` keeps no position, so threads and forks may share it."""

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "handle"):  # else opening failed
            os.close(self.handle)


def read_packed(root: Path | Root, shards: Sequence[ShardInfo], location: Location) -> bytes:
    """Return one picture's bytes: exactly those that were added, or an error.

    Of a shard on this machine the size is compared with its card when it is first opened; of one
    elsewhere when it is first read. The tar header before the content must tell the same size.

    Args:
        root: folder or storage of the packs.
        shards: of the split, from the dataset's card.
        location: what :meth:`PackWriter.add` gave.

    Raises:
        DataError: the shard is missing, has another size than its card says, or another content
            stands at this place.
    """
    number, offset, size = location
    shard = _shard_of(shards, location)
    found = _read(root, shard, offset - _BLOCK, size + _BLOCK)
    if not _is_member(found, size):
        raise DataError(
            f"{_place(root, shard)}: another content than sample {number}:{offset}:{size} stands "
            "there; copy the shard again, or make the dataset again with scripts/prepare.py"
        )
    return found[_BLOCK:]


def check_shard(root: Path | Root, shard: ShardInfo) -> None:
    """Read a whole shard and compare it with its card.

    Raises:
        DataError: missing, or another size or content.
    """
    digest = hashlib.sha256()
    for start in range(0, shard.bytes, _CHUNK):
        digest.update(_read(root, shard, start, min(_CHUNK, shard.bytes - start)))
    if digest.hexdigest() != shard.sha256:
        raise DataError(
            f"{_place(root, shard)}: changed since it was made: sha256 {digest.hexdigest()}, "
            f"expected {shard.sha256}; copy it again, or make the dataset again with "
            "scripts/prepare.py"
        )


def _shard_of(shards: Sequence[ShardInfo], location: Location) -> ShardInfo:
    number, offset, size = location
    if not 0 <= number < len(shards):
        raise DataError(
            f"sample {number}:{offset}:{size}: its pack has {len(shards)} shards, from 0; the "
            "dataset's files are not of the same run, make it again with scripts/prepare.py"
        )
    if offset < _BLOCK or size < 0 or offset + size > shards[number].bytes:
        raise DataError(
            f"sample {number}:{offset}:{size}: does not lie in {shards[number].name}, which has "
            f"{shards[number].bytes:,} bytes; the dataset's files are not of the same run, make it "
            "again with scripts/prepare.py"
        )
    return shards[number]


def _is_member(found: bytes, size: int) -> bool:
    header = found[:_BLOCK]
    if len(found) != _BLOCK + size or header[257:262] != b"ustar":
        return False
    return header[124:136].rstrip(b"\0 ").lstrip(b"0") == (b"%o" % size if size else b"")


def _read(root: Path | Root, shard: ShardInfo, start: int, size: int) -> bytes:
    if isinstance(root, Path):
        return _read_local(str(root), shard, start, size)
    folder = _folder_of(root)
    if folder is None:
        return _read_remote(root, shard, start, size)
    return _read_local(str(folder), shard, start, size)


def _folder_of(root: Path | Root) -> Path | None:
    """The folder behind a root on this machine; None: it is read through its own functions."""
    if isinstance(root, Path):
        return root
    return Path(root.url) if "://" not in root.url else None


def _read_local(folder: str, shard: ShardInfo, start: int, size: int) -> bytes:
    try:
        opened = _open_shard(folder, shard)  # held: another thread may have it closed else
        return os.pread(opened.handle, size, start)
    except OSError as error:
        raise DataError(
            f"{folder}/{shard.name}: cannot read this shard ({error.strerror}); copy the whole "
            "dataset again, or make it again with scripts/prepare.py"
        ) from None


@lru_cache(maxsize=_OPEN_SHARDS)
def _open_shard(folder: str, shard: ShardInfo) -> _OpenShard:
    """Open once per process and card; the least used one is closed when its last reader is done."""
    path = f"{folder}/{shard.name}"
    opened = _OpenShard(path)
    _check_size(path, os.fstat(opened.handle).st_size, shard.bytes)
    return opened


def close_shards() -> None:
    """Close the shards that this process keeps open; the next read opens them anew."""
    _open_shard.cache_clear()
    _checked.clear()


_checked: set[tuple[str, str]] = set()
"""(URL, sha256) of the shards elsewhere whose size was compared."""


def _read_remote(root: Root, shard: ShardInfo, start: int, size: int) -> bytes:
    place = f"{root.url.rstrip('/')}/{shard.name}"
    if (place, shard.sha256) not in _checked:
        _check_size(place, root.size(shard.name), shard.bytes)
        _checked.add((place, shard.sha256))
    return root.read(shard.name, start=start, size=size)


def _check_size(place: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(
            f"{place}: has {found:,} bytes, its card says {expected:,}; copy it again, or make the "
            "dataset again with scripts/prepare.py"
        )


def _place(root: Path | Root, shard: ShardInfo) -> str:
    return f"{root if isinstance(root, Path) else root.url.rstrip('/')}/{shard.name}"


# --- sharing out


def own_shards(shards: Sequence[ShardInfo], rank: int, world: int) -> list[int]:
    """Numbers of the shards that one of several processes reads; together they read each once.

    The largest shard left goes to the process with the fewest samples so far, in every process
    alike. With fewer shards than processes some get none: pack with a smaller ``shard_mb``.

    Args:
        shards: of one split.
        rank: of this process, from 0.
        world: number of processes.

    Raises:
        ValueError: ``rank`` is not in 0 to ``world`` - 1.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} of {world} processes; allowed: 0 to world - 1")
    load = [0] * world
    own = []
    for number in sorted(range(len(shards)), key=lambda n: (-shards[n].samples, n)):
        lightest = load.index(min(load))
        load[lightest] += shards[number].samples
        if lightest == rank:
            own.append(number)
    return sorted(own)
