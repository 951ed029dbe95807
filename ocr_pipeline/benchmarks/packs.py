"""Formats for millions of small pictures: seconds, bytes and memory of writing and reading.

All formats hold the same pictures and are read for the same samples in the same order; the formats
take turns round by round. Python packages of the formats are needed for those that are asked for.
"""

import http.client
import importlib
import io
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ocr_pipeline.artifacts.packs import (
    Location,
    PackWriter,
    ShardInfo,
    close_shards,
    read_packed,
)
from ocr_pipeline.benchmarks.statistics import Estimate, median_ratio
from ocr_pipeline.config.sources import StorageConfig
from ocr_pipeline.errors import ConfigError, DataError
from ocr_pipeline.storage import Root, open_root

Metric = str
BASE = "tar"
"""Ratios are times of this format's seconds."""
LOCAL_METRICS = ("write", "scan, cold", "scan, warm", "random, cold", "random, warm")
S3_METRICS = ("s3 scan", "s3 random")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_ROW_GROUP = 64
_BATCH = 512
_S3_CHUNK = 8 << 20
_S3_SHARD_MB = 16
_SERVER_TIMEOUT_S = 60.0
_BUCKET = "packs"


class Pack(Protocol):
    """Pictures of one format, opened for reading."""

    def read(self, number: int) -> bytes: ...

    def scan(self) -> Iterator[bytes]:
        """All of them, in the order in which they were written."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Format:
    """One way to store pictures.

    Attributes:
        write: the pictures, into an empty folder.
        open: what ``write`` made.
        package: that must be installed; empty: none.
    """

    write: Callable[[Path, Sequence[bytes]], None]
    open: Callable[[Path], Pack]
    package: str = ""


# --- the formats


class _Files:
    def __init__(self, folder: Path) -> None:
        self._paths = [str(path) for path in sorted(folder.glob("*/*"))]

    def read(self, number: int) -> bytes:
        with open(self._paths[number], "rb", buffering=0) as stream:  # noqa: PTH123  (fastest)
            return stream.read()

    def scan(self) -> Iterator[bytes]:
        return map(self.read, range(len(self._paths)))

    def close(self) -> None: ...


def _write_files(folder: Path, pictures: Sequence[bytes]) -> None:
    for number, content in enumerate(pictures):
        path = folder / _name(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    os.sync()


class _Tar:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards, self._places = _tar_index(folder)

    def read(self, number: int) -> bytes:
        return read_packed(self._folder, self._shards, _place(self._places, number))

    def scan(self) -> Iterator[bytes]:
        return map(self.read, range(len(self._places)))

    def close(self) -> None:
        close_shards()  # or the next turn would read the file of this one, deleted but still open


def _write_tar(folder: Path, pictures: Sequence[bytes], shard_mb: int = 256) -> None:
    with PackWriter(folder, "train", shard_mb=shard_mb) as writer:
        places = [writer.add(_name(number), content) for number, content in enumerate(pictures)]
    shards = [shard.model_dump() for shard in writer.close()]
    np.save(folder / "index.npy", np.array(places, dtype=np.int64))
    (folder / "card.json").write_text(json.dumps(shards), encoding="utf-8")


def _tar_index(folder: Path) -> tuple[list[ShardInfo], np.ndarray[Any, Any]]:
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    shards = [ShardInfo.model_validate(shard) for shard in card]
    return shards, np.load(folder / "index.npy", mmap_mode="r")


def _place(places: np.ndarray[Any, Any], number: int) -> Location:
    shard, offset, size = places[number].tolist()
    return shard, offset, size


class _Lmdb:
    def __init__(self, folder: Path) -> None:
        self._env = _package("lmdb").open(str(folder), readonly=True, lock=False, readahead=False)
        self._read = self._env.begin()

    def read(self, number: int) -> bytes:
        return bytes(self._read.get(b"%09d" % number))

    def scan(self) -> Iterator[bytes]:
        return (bytes(value) for _, value in self._read.cursor())

    def close(self) -> None:
        self._read.abort()
        self._env.close()


def _write_lmdb(folder: Path, pictures: Sequence[bytes]) -> None:
    size = sum(map(len, pictures)) * 2 + len(pictures) * 8192 + (1 << 24)
    with (
        closing(_package("lmdb").open(str(folder), map_size=size)) as env,
        env.begin(write=True) as transaction,
    ):
        for number, content in enumerate(pictures):
            transaction.put(b"%09d" % number, content, append=True)


class _ArrayRecord:
    def __init__(self, folder: Path) -> None:
        module = _package("array_record.python.array_record_module")
        # What its makers advise for random reads; faster here in a scan by batches as well.
        options = "readahead_buffer_size:0,max_parallelism:0"
        self._reader = module.ArrayRecordReader(str(folder / "train.array_record"), options)

    def read(self, number: int) -> bytes:
        (content,) = self._reader.read([number])
        return bytes(content)

    def scan(self) -> Iterator[bytes]:
        count = self._reader.num_records()
        for start in range(0, count, _BATCH):
            yield from self._reader.read(start, min(start + _BATCH, count))

    def close(self) -> None:
        self._reader.close()


def _write_array_record(folder: Path, pictures: Sequence[bytes]) -> None:
    module = _package("array_record.python.array_record_module")
    path = folder / "train.array_record"
    writer = module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for content in pictures:
        writer.write(content)
    writer.close()
    _flush(path)


class _Parquet:
    """One row group is the least that can be read."""

    def __init__(self, source: Any) -> None:
        self._file = _package("pyarrow.parquet").ParquetFile(source, pre_buffer=False)

    def read(self, number: int) -> bytes:
        group = self._file.read_row_group(number // _ROW_GROUP, columns=["content"])
        content: bytes = group.column(0)[number % _ROW_GROUP].as_py()
        return content

    def scan(self) -> Iterator[bytes]:
        for batch in self._file.iter_batches(batch_size=_BATCH, columns=["content"]):
            yield from batch.column(0).to_pylist()

    def close(self) -> None:
        self._file.close()


def _open_parquet(folder: Path) -> Pack:
    return _Parquet(str(folder / "train.parquet"))


def _write_parquet(folder: Path, pictures: Sequence[bytes]) -> None:
    arrow, parquet = _package("pyarrow"), _package("pyarrow.parquet")
    schema = arrow.schema([("name", arrow.string()), ("content", arrow.binary())])
    path = folder / "train.parquet"
    settings = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with parquet.ParquetWriter(path, schema, **settings) as writer:
        for start in range(0, len(pictures), _ROW_GROUP):
            rows = pictures[start : start + _ROW_GROUP]
            names = [_name(start + number) for number in range(len(rows))]
            table = arrow.table({"name": names, "content": list(rows)}, schema=schema)
            writer.write_table(table, row_group_size=_ROW_GROUP)
    _flush(path)


FORMATS: dict[str, Format] = {
    "tar": Format(_write_tar, _Tar),
    "files": Format(_write_files, _Files),
    "lmdb": Format(_write_lmdb, _Lmdb, "lmdb"),
    "array_record": Format(
        _write_array_record, _ArrayRecord, "array_record.python.array_record_module"
    ),
    "parquet": Format(_write_parquet, _open_parquet, "pyarrow.parquet"),
}
"""``files``: one file a picture, 1,000 in a folder, which is what packs replace."""
S3_FORMATS = ("tar", "files", "parquet")
"""The others cannot be read from S3 by their own Python packages."""


# --- what comes out


@dataclass(frozen=True)
class FormatFigures:
    """Of one format.

    Attributes:
        disk_mb: what the file system gives away for it, MB.
        memory_mb: what a process grows by that opens it and reads the random samples, MB, its own
            pages and the mapped ones of libraries and files.
        seconds: by metric, of each round, per sample.
        ratios: by metric, seconds over those of ``tar``; empty for tar itself.
        requests: by metric of S3, requests per sample.
        bytes_read: by metric of S3, bytes read for each byte of pictures.
    """

    disk_mb: float
    memory_mb: float
    seconds: dict[Metric, list[float]]
    ratios: dict[Metric, Estimate] = field(default_factory=dict)
    requests: dict[Metric, float] = field(default_factory=dict)
    bytes_read: dict[Metric, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PacksReport:
    """What :func:`run_packs` measured; ``pictures_mb`` is the sum of the encoded pictures."""

    samples: int
    pictures_mb: float
    draws: int
    rounds: int
    formats: dict[str, FormatFigures]

    def as_json(self) -> str:
        """All figures, of all rounds."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def as_markdown(self) -> str:
        """Medians per sample, in brackets the ratio to tar with its 95 % interval.

        One table for this machine, and one for S3 where it was measured.
        """
        local = ["format", "MB on disk", "MB of memory", *(f"{m}, µs" for m in LOCAL_METRICS)]
        rows = [local]
        for name, figures in self.formats.items():
            sizes = [f"{figures.disk_mb:.1f}", f"{figures.memory_mb:.1f}"]
            rows.append([name, *sizes, *(_cell(figures, metric) for metric in LOCAL_METRICS)])
        tables = [_table(rows)]
        remote = {n: f for n, f in self.formats.items() if S3_METRICS[0] in f.seconds}
        if remote:
            asked = ("requests a sample", "bytes read a byte")
            rows = [["format", *(f"{m}{w}" for m in S3_METRICS for w in (", µs", *_after(asked)))]]
            for name, figures in remote.items():
                cells = [name]
                for metric in S3_METRICS:
                    counts = (figures.requests[metric], figures.bytes_read[metric])
                    cells += [_cell(figures, metric), *(f"{count:.3g}" for count in counts)]
                rows.append(cells)
            tables.append(_table(rows))
        return "\n".join(tables)


def _after(words: Sequence[str]) -> list[str]:
    return [f", {word}" for word in words]


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def _cell(figures: FormatFigures, metric: Metric) -> str:
    text = f"{median(figures.seconds[metric]) * 1e6:,.1f}"
    ratio = figures.ratios.get(metric)
    if ratio is None:
        return text
    return f"{text} ({ratio.value:.2f}, {ratio.low:.2f} to {ratio.high:.2f})"


# --- measuring


def run_packs(
    pictures: Path,
    samples: int,
    formats: Sequence[str] = tuple(FORMATS),
    *,
    rounds: int = 7,
    draws: int = 2000,
    s3: bool = False,
    seed: int = 0,
    scratch: Path | None = None,
) -> PacksReport:
    """Write the pictures in each format and read them back, in turns.

    "Cold": opened anew, its pages dropped from the page cache (what a virtual disk's host keeps
    stays there). "Warm": all of it was read just before. "Scan": all samples in order; "random":
    ``draws`` samples, shuffled.

    Args:
        pictures: folder of encoded pictures; they are repeated up to ``samples``.
        samples: how many each format holds.
        formats: of :data:`FORMATS`.
        rounds: turns of each format.
        draws: single samples read at random in a turn.
        s3: also read those that can be from an S3 server that is started on this machine.
        seed: of the order.
        scratch: folder on the disk that is measured; None: the system's temporary folder.

    Raises:
        ConfigError: an unknown format, a package that is not installed, or no pictures.
        DataError: a format gave other bytes than were written.
    """
    _check_formats([*formats, *(["s3"] if s3 else [])])
    contents = _load(pictures, samples)
    order = random.Random(seed).sample(range(samples), min(draws, samples))  # noqa: S311
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        seconds = _measure_local(Path(folder), contents, order, formats, rounds)
        sizes = {name: _disk_mb(Path(folder) / name) for name in formats}
        memory = {name: _memory_mb(name, Path(folder) / name, order) for name in formats}
    traffic: dict[str, dict[Metric, tuple[float, float]]] = {}
    if s3:
        wanted = [name for name in formats if name in S3_FORMATS]
        remote, traffic = _measure_s3(contents, order, wanted, rounds)
        for name, measured in remote.items():
            seconds[name].update(measured)
    base = seconds.get(BASE, {})
    return PacksReport(
        samples=samples,
        pictures_mb=sum(map(len, contents)) / 1e6,
        draws=len(order),
        rounds=rounds,
        formats={
            name: FormatFigures(
                disk_mb=sizes[name],
                memory_mb=memory[name],
                seconds=seconds[name],
                ratios={} if name == BASE else _ratios(seconds[name], base),
                requests={metric: pair[0] for metric, pair in traffic.get(name, {}).items()},
                bytes_read={metric: pair[1] for metric, pair in traffic.get(name, {}).items()},
            )
            for name in formats
        },
    )


def _ratios(
    seconds: dict[Metric, list[float]], base: dict[Metric, list[float]]
) -> dict[Metric, Estimate]:
    return {name: median_ratio(own, base[name]) for name, own in seconds.items() if name in base}


def _measure_local(
    folder: Path, contents: Sequence[bytes], order: Sequence[int], names: Sequence[str], rounds: int
) -> dict[str, dict[Metric, list[float]]]:
    seconds: dict[str, dict[Metric, list[float]]] = {
        name: {metric: [] for metric in LOCAL_METRICS} for name in names
    }
    for turn in range(rounds):
        for name in _turned(names, turn):
            target = folder / name
            if target.exists():
                _empty(target)
            target.mkdir()
            taken = _timed(FORMATS[name].write, target, contents)
            seconds[name]["write"].append(taken / len(contents))
            if turn == 0:
                _verify(name, target, contents)
        for metric in LOCAL_METRICS[1:]:
            for name in _turned(names, turn):
                taken = _read_time(name, folder / name, contents, order, metric)
                seconds[name][metric].append(taken)
    return seconds


def _read_time(
    name: str, folder: Path, contents: Sequence[bytes], order: Sequence[int], metric: Metric
) -> float:
    """Seconds per sample."""
    numbers = order if metric.startswith("random") else range(len(contents))
    if metric.endswith("cold"):
        _drop_pages(folder)
    else:
        with closing(FORMATS[name].open(folder)) as pack:
            _sum(pack.scan())
    started = time.perf_counter()
    with closing(FORMATS[name].open(folder)) as pack:
        read = pack.scan() if metric.startswith("scan") else map(pack.read, order)
        found = _sum(read)
    taken = time.perf_counter() - started
    _compare(name, found, sum(len(contents[number]) for number in numbers))
    return taken / len(numbers)


def _verify(name: str, folder: Path, contents: Sequence[bytes]) -> None:
    with closing(FORMATS[name].open(folder)) as pack:
        for number, (found, expected) in enumerate(zip(pack.scan(), contents, strict=True)):
            if not found == pack.read(number) == expected:
                raise DataError(f"{name}: sample {number} is not what was written")


def _memory_mb(name: str, folder: Path, order: Sequence[int]) -> float:
    _drop_pages(folder)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_grown_mb, (name, folder, list(order)))


def _grown_mb(name: str, folder: Path, order: Sequence[int]) -> float:
    """In a process of its own: how much it grows, MB."""
    before = _resident()
    with closing(FORMATS[name].open(folder)) as pack:
        _sum(map(pack.read, order))
        return (_resident() - before) / 1e6


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- S3


class _Counted:
    """Storage that counts what is asked of it."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self.url = root.url
        self.requests = self.bytes = 0

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        content = self._root.read(name, start=start, size=size)
        self.requests += 1
        self.bytes += len(content)
        return content

    def size(self, name: str) -> int:
        self.requests += 1
        return self._root.size(name)

    def names(self, pattern: str = "**") -> Iterator[str]:
        return self._root.names(pattern)

    def write(self, name: str, content: bytes) -> None:
        self._root.write(name, content)


class _Ranges(io.RawIOBase):
    """A file of the bucket, read by ranges, as Parquet's reader asks for them."""

    def __init__(self, bucket: _Counted, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._size, self._at = bucket.size(name), 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = self._size - self._at
        size = left if size is None or size < 0 else min(size, left)
        content = self._bucket.read(self._name, start=self._at, size=size) if size else b""
        self._at += len(content)
        return content


class _RemoteTar:
    def __init__(self, bucket: _Counted, folder: Path) -> None:
        self._bucket = bucket
        self._shards, self._places = _tar_index(folder)

    def read(self, number: int) -> bytes:
        return read_packed(self._bucket, self._shards, _place(self._places, number))

    def scan(self) -> Iterator[bytes]:
        for number, shard in enumerate(self._shards):
            starts = range(0, shard.bytes, _S3_CHUNK)
            sizes = (min(_S3_CHUNK, shard.bytes - start) for start in starts)
            whole = b"".join(
                self._bucket.read(shard.name, start=start, size=size)
                for start, size in zip(starts, sizes, strict=True)
            )
            for _, offset, size in self._places[self._places[:, 0] == number].tolist():
                yield whole[offset : offset + size]

    def close(self) -> None: ...


class _RemoteFiles:
    def __init__(self, bucket: _Counted, count: int) -> None:
        self._bucket, self._count = bucket, count

    def read(self, number: int) -> bytes:
        return self._bucket.read(_name(number))

    def scan(self) -> Iterator[bytes]:
        return map(self.read, range(self._count))

    def close(self) -> None: ...


def _open_remote(name: str, bucket: _Counted, folder: Path, count: int) -> Pack:
    if name == "tar":
        return _RemoteTar(bucket, folder)
    if name == "files":
        return _RemoteFiles(bucket, count)
    return _Parquet(_package("pyarrow").PythonFile(_Ranges(bucket, "train.parquet"), mode="r"))


def _measure_s3(
    contents: Sequence[bytes], order: Sequence[int], names: Sequence[str], rounds: int
) -> tuple[dict[str, dict[Metric, list[float]]], dict[str, dict[Metric, tuple[float, float]]]]:
    """Seconds per sample; and requests per sample with bytes per byte of pictures.

    The order's samples only are stored there: what is compared is how they are read.
    """
    contents = [contents[number] for number in sorted(order)]
    order = random.Random(0).sample(range(len(contents)), len(contents))  # noqa: S311
    volume = sum(map(len, contents))
    seconds: dict[str, dict[Metric, list[float]]] = {
        name: {metric: [] for metric in S3_METRICS} for name in names
    }
    traffic: dict[str, dict[Metric, tuple[float, float]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as scratch, _s3_server() as storage:
        for name in names:
            _upload(name, Path(scratch) / name, storage, contents)
        for turn in range(rounds):
            for metric in S3_METRICS:
                for name in _turned(names, turn):
                    bucket = _Counted(open_root(f"s3://{_BUCKET}/{name}", storage))
                    started = time.perf_counter()
                    pack = _open_remote(name, bucket, Path(scratch) / name, len(contents))
                    with closing(pack):
                        read = pack.scan() if metric == "s3 scan" else map(pack.read, order)
                        found = _sum(read)
                    taken = time.perf_counter() - started
                    _compare(name, found, volume)
                    seconds[name][metric].append(taken / len(contents))
                    asked = (bucket.requests / len(contents), bucket.bytes / volume)
                    traffic[name][metric] = asked
    return seconds, traffic


def _upload(name: str, folder: Path, storage: StorageConfig, contents: Sequence[bytes]) -> None:
    folder.mkdir()
    if name == "tar":
        _write_tar(folder, contents, shard_mb=_S3_SHARD_MB)
    else:
        FORMATS[name].write(folder, contents)
    bucket = _Counted(open_root(f"s3://{_BUCKET}/{name}", storage))
    for path in (path for path in folder.rglob("*") if path.is_file()):
        bucket.write(path.relative_to(folder).as_posix(), path.read_bytes())


@contextmanager
def _s3_server() -> Iterator[StorageConfig]:
    """A server of the package moto on this machine, with an empty bucket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as server:
        try:
            _wait_for(port)
            address = http.client.HTTPConnection("127.0.0.1", port)
            with closing(address), _any_key():
                address.request("PUT", f"/{_BUCKET}")
                address.getresponse().read()
                yield StorageConfig(s3_endpoint=f"http://127.0.0.1:{port}")
        finally:
            server.kill()


@contextmanager
def _any_key() -> Iterator[None]:
    """Some key in the environment: moto takes any, and without one nothing is sent."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "any"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _SERVER_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise ConfigError(
        f"s3: the server of moto did not start within {_SERVER_TIMEOUT_S:g} s; install moto[server]"
    )


# --- small tools


def _check_formats(names: Sequence[str]) -> None:
    faults = [f"unknown format {name!r}" for name in names if name not in FORMATS | {"s3": None}]
    packages = [FORMATS[name].package for name in names if name in FORMATS]
    for package in [*packages, *(["s3fs", "moto.server"] if "s3" in names else [])]:
        try:
            _package(package)
        except ConfigError as error:
            faults.append(str(error))
    if faults or not names:
        raise ConfigError(
            f"{'; '.join(faults) or 'no format'}; allowed formats: {', '.join(FORMATS)}"
        )


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name or "json")
    except ImportError as error:
        raise ConfigError(
            f"{name}: cannot be imported ({error}); pip install {name.split('.')[0]}"
        ) from None


def _load(folder: Path, samples: int) -> list[bytes]:
    """The pictures, repeated up to a number."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths or samples < 1:
        raise ConfigError(
            f"{folder}: {len(paths)} pictures for {samples} samples; name a folder with at least "
            f"one picture ({', '.join(_SUFFIXES)}) and at least one sample"
        )
    contents = [path.read_bytes() for path in paths[:samples]]
    return [contents[number % len(contents)] for number in range(samples)]


def _name(number: int) -> str:
    return f"{number // 1000:06d}/{number:09d}.jpg"


def _turned(names: Sequence[str], turn: int) -> list[str]:
    first = turn % len(names)
    return [*names[first:], *names[:first]]


def _timed(action: Callable[[Path, Sequence[bytes]], None], *arguments: Any) -> float:
    started = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - started


def _sum(contents: Iterable[bytes]) -> int:
    return sum(map(len, contents))


def _compare(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{name}: gave {found:,} bytes, {expected:,} were written")


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _empty(folder: Path) -> None:
    for path in _files_in(folder):
        path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir()
    folder.rmdir()


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _drop_pages(folder: Path) -> None:
    """Have the kernel forget what it keeps of these files."""
    for path in _files_in(folder):
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _disk_mb(folder: Path) -> float:
    return sum(path.stat().st_blocks for path in _files_in(folder)) * 512 / 1e6
