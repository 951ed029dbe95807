import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.artifacts.packs import (
    Location,
    PackWriter,
    ShardInfo,
    check_shard,
    close_shards,
    own_shards,
    read_packed,
)
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.storage import MissingFileError

NAMES = [
    "000000000-a.png",
    "000000001-皖A12345.jpg",
    "深/" * 60 + "一个很长的文件名.png",
    "x" * 300 + ".png",
    "with space and\u3000wide space/%41.bmp",
]
MB = 1_000_000


class FakeRoot:
    """Storage elsewhere, in memory; counts what is asked."""

    def __init__(self, url: str = "s3://bucket/packs") -> None:
        self.url = url
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, int, int | None]] = []
        self.sizes_asked = 0

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        self.asked.append((name, start, size))
        content = self.files[name][start:]
        return content if size is None else content[:size]

    def size(self, name: str) -> int:
        self.sizes_asked += 1
        return len(self.files[name])

    def names(self, pattern: str = "**") -> Iterator[str]:
        if not self.files:
            raise MissingFileError(f"{self.url}: no file below it")
        return (name for name in sorted(self.files) if fnmatchcase(name, pattern))

    def write(self, name: str, content: bytes) -> None:
        self.files[name] = content


def contents(count: int, low: int = 0, high: int = 5000, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    return [random.bytes(int(size)) for size in random.integers(low, high, count)]


def write(
    target: Path | FakeRoot,
    pictures: Sequence[bytes],
    *,
    split: str = "train",
    shard_mb: int = 1,
    replace: bool = False,
) -> tuple[list[ShardInfo], list[Location]]:
    with PackWriter(target, split, shard_mb=shard_mb, replace=replace) as writer:
        places = [writer.add(f"{n:05d}.png", content) for n, content in enumerate(pictures)]
    return writer.close(), places


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- reading back


@pytest.mark.parametrize("remote", [False, True])
def test_every_picture_is_read_back_by_its_place(tmp_path: Path, remote: bool) -> None:
    target = FakeRoot() if remote else tmp_path
    pictures = [*contents(900), b"", b"\0" * 512, b"x" * 511, b"y" * 513]
    shards, places = write(target, pictures)
    assert [shard.name for shard in shards] == [f"train-0000{n}.tar" for n in range(4)]
    assert sum(shard.samples for shard in shards) == len(pictures)
    for number in np.random.default_rng(1).permutation(len(pictures)):
        assert read_packed(target, shards, places[number]) == pictures[number]
    for shard in shards:
        check_shard(target, shard)


def test_packs_elsewhere_hold_the_same_bytes_as_a_folder(tmp_path: Path) -> None:
    root = FakeRoot()
    assert write(root, contents(500)) == write(tmp_path, contents(500))
    assert root.files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_packs_elsewhere_are_read_by_one_range_a_picture() -> None:
    root = FakeRoot()
    shards, places = write(root, contents(20, low=100))
    close_shards()
    for place in places:
        read_packed(root, shards, place)
    assert root.sizes_asked == 1
    assert root.asked == [("train-00000.tar", at - 512, size + 512) for _, at, size in places]


def test_path_and_storage_of_this_machine_are_read_alike(tmp_path: Path) -> None:
    shards, places = write(tmp_path, contents(3))
    root = FakeRoot(str(tmp_path))
    assert read_packed(root, shards, places[1]) == read_packed(tmp_path, shards, places[1])
    assert root.asked == []


def test_card_tells_size_and_hash(tmp_path: Path) -> None:
    (shard,), _ = write(tmp_path, contents(5))
    content = (tmp_path / shard.name).read_bytes()
    assert shard.bytes == len(content)
    sha256sum = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True)
    assert sha256sum.stdout.split()[0].decode() == shard.sha256
    assert ShardInfo.model_validate_json(shard.model_dump_json()) == shard


# --- the files


def test_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", contents(700)), write(tmp_path / "b", contents(700))
    assert first == second
    for shard in first[0]:
        assert (tmp_path / "a" / shard.name).read_bytes() == (
            tmp_path / "b" / shard.name
        ).read_bytes()


def test_python_lists_and_unpacks_a_shard(tmp_path: Path) -> None:
    pictures = contents(len(NAMES), low=1)
    with PackWriter(tmp_path, "val") as writer:
        places = [writer.add(*pair) for pair in zip(NAMES, pictures, strict=True)]
    with tarfile.open(tmp_path / "val-00000.tar") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == NAMES
        assert [(0, member.offset_data, member.size) for member in members] == places
        for member, content in zip(members, pictures, strict=True):
            stream = archive.extractfile(member)
            assert stream is not None
            assert stream.read() == content
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
            assert (member.uname, member.gname) == ("", "")


@pytest.mark.skipif(shutil.which("tar") is None, reason="the program tar is absent")
def test_tar_lists_and_unpacks_a_shard(tmp_path: Path) -> None:
    pictures = contents(len(NAMES), low=1)
    with PackWriter(tmp_path, "val") as writer:
        for name, content in zip(NAMES[:2] + NAMES[4:], pictures, strict=False):
            writer.add(name, content)
    (tmp_path / "out").mkdir()
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    result = subprocess.run(
        ["tar", "xf", "val-00000.tar", "-C", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert result.stderr == b""
    assert (tmp_path / "out" / NAMES[1]).read_bytes() == pictures[1]
    assert (tmp_path / "out" / NAMES[4]).read_bytes() == pictures[2]


def test_shard_is_closed_before_it_grows_too_large(tmp_path: Path) -> None:
    shards, _ = write(tmp_path, contents(1000))
    assert len(shards) == 4
    assert all(0.99 * MB < shard.bytes <= MB for shard in shards[:-1])


def test_picture_that_fills_a_shard_exactly_leaves_no_other_one(tmp_path: Path) -> None:
    exactly = MB // 512 * 512 - 512 - 1024
    shards, _ = write(tmp_path, [bytes(exactly), bytes(exactly)])
    assert [shard.bytes for shard in shards] == [MB // 512 * 512] * 2


def test_picture_larger_than_a_shard_gets_one_of_its_own(tmp_path: Path) -> None:
    pictures = [b"a", bytes(3 * MB), b"b"]
    shards, places = write(tmp_path, pictures)
    assert [shard.samples for shard in shards] == [1, 1, 1]
    assert [read_packed(tmp_path, shards, place) for place in places] == pictures


def test_empty_pack_has_no_shards(tmp_path: Path) -> None:
    assert write(tmp_path / "none", []) == ([], [])
    assert not (tmp_path / "none").exists()


def test_shards_can_be_read_by_others(tmp_path: Path) -> None:
    write(tmp_path, contents(2))
    assert (tmp_path / "train-00000.tar").stat().st_mode & 0o777 == 0o644


# --- what is refused


def test_second_picture_of_a_name_is_refused_across_shards(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path, "train", shard_mb=1)
    writer.add("a.png", bytes(MB))
    writer.add("b.png", b"")
    with pytest.raises(DataError, match=r"'a.png': is in the pack of 'train' already; give every"):
        writer.add("a.png", b"other")
    assert [shard.samples for shard in writer.close()] == [1, 1]


@pytest.mark.parametrize(
    "name", ["", "/a.png", "../a.png", "a/../../b", "a//b", "./a", "a/", "a\0b", "half\udce4"]
)
def test_name_that_would_not_unpack_where_it_should_is_refused(tmp_path: Path, name: str) -> None:
    writer = PackWriter(tmp_path, "train")
    with pytest.raises(DataError, match="cannot be the name of a picture in a pack; allowed: a"):
        writer.add(name, b"")
    writer.discard()


@pytest.mark.parametrize("remote", [False, True])
def test_shards_that_are_there_are_not_overwritten_unasked(tmp_path: Path, remote: bool) -> None:
    target = FakeRoot() if remote else tmp_path
    old, _ = write(target, contents(5))
    write(target, contents(5), split="val")
    with pytest.raises(ArtifactError, match=r"holds 1 shards of 'train' already, e.g. train-00000"):
        PackWriter(target, "train")
    new, places = write(target, contents(5, seed=1), replace=True)
    assert new != old
    assert read_packed(target, new, places[2]) == contents(5, seed=1)[2]


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = PackWriter(tmp_path / "file" / "packs", "train")
    message = r"file/packs/train-00000.tar: cannot be written \(Not a directory\); check the space"
    with pytest.raises(ArtifactError, match=message):
        writer.add("a", b"")


def test_missing_shard_is_named(tmp_path: Path) -> None:
    shards, places = write(tmp_path, contents(2))
    (tmp_path / "train-00000.tar").unlink()
    with pytest.raises(DataError, match=r"train-00000.tar: cannot read this shard \(No such file"):
        read_packed(tmp_path, shards, places[0])


@pytest.mark.parametrize("remote", [False, True])
def test_shard_of_another_size_is_refused_by_name(tmp_path: Path, remote: bool) -> None:
    shards, places = write(tmp_path, contents(2))
    path = tmp_path / "train-00000.tar"
    path.write_bytes(path.read_bytes() + bytes(512))
    root = FakeRoot("s3://bucket/another")
    root.files[path.name] = path.read_bytes()
    message = rf"train-00000.tar: has {shards[0].bytes + 512:,} bytes, its card says"
    with pytest.raises(DataError, match=message):
        read_packed(root if remote else tmp_path, shards, places[0])


def test_other_content_of_the_same_size_is_refused(tmp_path: Path) -> None:
    shards, places = write(tmp_path, [b"a" * 600, b"b" * 500])
    write(tmp_path, [b"a" * 500, b"b" * 600], replace=True)
    with pytest.raises(DataError, match="another content than sample 0:512:600 stands there"):
        read_packed(tmp_path, shards, places[0])


def test_shard_that_shrinks_while_it_is_open_gives_no_short_picture(tmp_path: Path) -> None:
    shards, places = write(tmp_path, contents(3, low=600))
    read_packed(tmp_path, shards, places[0])
    os.truncate(tmp_path / "train-00000.tar", places[2][1] + 1)
    with pytest.raises(DataError, match="another content than sample"):
        read_packed(tmp_path, shards, places[2])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((1, 512, 10), r"sample 1:512:10: its pack has 1 shards, from 0"),
        ((-1, 512, 10), r"sample -1:512:10: its pack has 1 shards"),
        ((0, 0, 10), r"sample 0:0:10: does not lie in train-00000.tar"),
        ((0, 512, -1), r"does not lie in train-00000.tar, which has 2,048 bytes"),
        ((0, 512, 5000), r"the dataset's files are not of the same run"),
    ],
)
def test_place_outside_the_pack_is_refused(tmp_path: Path, place: Location, message: str) -> None:
    shards, _ = write(tmp_path, [bytes(10)])
    with pytest.raises(DataError, match=message):
        read_packed(tmp_path, shards, place)


@pytest.mark.parametrize("remote", [False, True])
def test_flipped_bit_is_found_when_the_whole_shard_is_checked(tmp_path: Path, remote: bool) -> None:
    (shard,), places = write(tmp_path, contents(3, low=100))
    path = tmp_path / shard.name
    damaged = bytearray(path.read_bytes())
    damaged[places[1][1]] ^= 1
    path.write_bytes(damaged)
    root = FakeRoot()
    root.files[shard.name] = bytes(damaged)
    with pytest.raises(DataError, match=f"changed since it was made: sha256 .* {shard.sha256}"):
        check_shard(root if remote else tmp_path, shard)


# --- processes


KILLED = """
import sys
from pathlib import Path
from ocr_pipeline.artifacts.packs import PackWriter
writer = PackWriter(Path(sys.argv[1]), "train", shard_mb=1)
for number in range(10_000):
    writer.add(f"{number:05d}", bytes(10_000))
    if number == 250:
        print("now", flush=True)
        sys.stdin.read()
"""


def test_killed_writer_leaves_whole_shards_only(tmp_path: Path) -> None:
    folder = tmp_path / "packs"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
    shown = [name for name in visible(folder) if not name.startswith(".")]
    assert shown == ["train-00000.tar", "train-00001.tar"]
    for name in shown:
        with tarfile.open(folder / name) as archive:
            assert len(archive.getnames()) == 92
    shards, _ = write(folder, contents(500), replace=True)
    for shard in shards:
        check_shard(folder, shard)


def break_off(folder: Path) -> None:
    with PackWriter(folder, "train", shard_mb=1) as writer:
        for number, content in enumerate(contents(900)):
            writer.add(str(number), content)
        assert "train-00000.tar" in visible(folder)
        raise RuntimeError("in between")


def test_block_that_ends_with_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="in between"):
        break_off(tmp_path)
    assert visible(tmp_path) == []


def test_shard_is_hidden_until_it_is_complete(tmp_path: Path) -> None:
    writer = PackWriter(tmp_path, "train")
    writer.add("a", b"")
    assert all(name.startswith(".train-00000.tar-") for name in visible(tmp_path))
    writer.close()
    assert visible(tmp_path) == ["train-00000.tar"]
    assert writer.close() == writer.close()


FORKED = """
import hashlib, json, os, sys
from pathlib import Path
from ocr_pipeline.artifacts.packs import ShardInfo, read_packed
folder, (cards, places) = Path(sys.argv[1]), json.loads(sys.argv[2])
shards = [ShardInfo.model_validate(card) for card in cards]
read_packed(folder, shards, places[0])
for child in range(4):
    if os.fork() == 0:
        order = sorted(range(len(places)), key=lambda n: (n * 5 + child) % 7)
        read = {n: read_packed(folder, shards, places[n]) for n in order}
        whole = b"".join(read[n] for n in range(len(places)))
        os.write(1, (hashlib.sha256(whole).hexdigest() + "\\n").encode())
        os._exit(0)
for child in range(4):
    os.wait()
"""


def test_open_shards_are_read_after_a_fork(tmp_path: Path) -> None:
    pictures = contents(600)
    shards, places = write(tmp_path, pictures)
    given = json.dumps([[shard.model_dump() for shard in shards], places])
    command = [sys.executable, "-c", FORKED, str(tmp_path), given]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [hashlib.sha256(b"".join(pictures)).hexdigest()] * 4


def test_threads_read_right_while_shards_are_closed_and_opened(
    tmp_path: Path,
) -> None:
    pictures = contents(900)
    shards, places = write(tmp_path, pictures)
    wrong: list[int] = []

    def read_all(seed: int) -> None:
        for number in np.random.default_rng(seed).permutation(len(pictures)):
            if read_packed(tmp_path, shards, places[number]) != pictures[number]:
                wrong.append(int(number))

    threads = [threading.Thread(target=read_all, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        close_shards()
    for thread in threads:
        thread.join()
    assert wrong == []


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_closed_shards_free_their_descriptors(tmp_path: Path) -> None:
    shards, places = write(tmp_path, contents(900))
    close_shards()
    before = open_files()
    for place in places:
        read_packed(tmp_path, shards, place)
    assert open_files() == before + len(shards)
    close_shards()
    assert open_files() == before


# --- sharing out


def cards(samples: Sequence[int]) -> list[ShardInfo]:
    return [
        ShardInfo(name=f"train-{n:05d}.tar", bytes=0, samples=count, sha256="")
        for n, count in enumerate(samples)
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shards_are_shared_out_once_each_and_evenly(world: int) -> None:
    samples = np.random.default_rng(world).integers(500, 1500, 40).tolist()
    owned = [own_shards(cards(samples), rank, world) for rank in range(world)]
    assert sorted(number for own in owned for number in own) == list(range(40))
    assert all(own == sorted(own) for own in owned)
    loads = [sum(samples[number] for number in own) for own in owned]
    assert max(loads) - min(loads) <= max(samples)


def test_large_shard_is_balanced_by_small_ones() -> None:
    shared = cards([10, 10, 60, 10, 10, 20])
    assert [own_shards(shared, rank, 2) for rank in (0, 1)] == [[2], [0, 1, 3, 4, 5]]


def test_more_processes_than_shards_leave_some_without() -> None:
    assert [own_shards(cards([5, 5]), rank, 3) for rank in range(3)] == [[0], [1], []]


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_rank_outside_the_world_is_refused(rank: int, world: int) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} of {world} processes; allowed: 0 to"):
        own_shards(cards([1]), rank, world)
