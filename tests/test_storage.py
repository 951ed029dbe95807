"""Storage: the same rules for every protocol, and what a failing network may not do."""

import multiprocessing
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from ocr_pipeline import storage
from ocr_pipeline.config.sources import StorageConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.storage import (
    MissingFileError,
    Root,
    is_remote,
    open_lines,
    open_root,
    read_file,
    split_url,
)
from tests.storage_servers import (
    STRANGER,
    Fault,
    Proxy,
    faulty_proxy,
    http_server,
    webhdfs_server,
)

NAMES = ["a b", "a#b", "a%41b", "a+b&c;d", "a.b", "a/1.png", "a/z/2.png", "a?b", "图片/第 一.jpg"]
"""In order: '.' stands before '/'."""
CONTENT = bytes(range(256)) * 40
BROKEN = [
    Fault("cut", after=1000, when="/x"),
    Fault("reset", after=1000, when="/x"),
    Fault("short", after=1000, when="/x"),
    Fault("status", status=503, when="/x"),
]


@dataclass
class Place:
    """One protocol's root over a server of its own.

    Attributes:
        url: of the root.
        config: to open it with; retries twice, hardly waiting.
        data: the proxy that bodies come through; None: no server.
        put: writes a file behind the protocol's back.
    """

    url: str
    config: StorageConfig
    data: Proxy | None
    put: Callable[[str, bytes], object]

    def root(self, **changes: object) -> Root:
        return open_root(self.url, self.config.model_copy(update=changes))

    def file_url(self, name: str) -> str:
        return f"{self.url}/{name}"


def quick(**values: object) -> StorageConfig:
    return StorageConfig.model_validate(
        {"retries": 2, "backoff_s": 0.01, "timeout_s": 10, **values}
    )


def put_below(folder: Path) -> Callable[[str, bytes], object]:
    def put(name: str, content: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return put


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """No proxies, keys or files of whoever runs this."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "HTTP_PROXY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        yield patch


@dataclass
class Bucket:
    """An S3 server with one bucket, behind a proxy.

    Attributes:
        port: of the server itself.
        proxy: before it.
        put: writes an object by its key.
    """

    port: int
    proxy: Proxy
    put: Callable[[str, bytes], object]


@pytest.fixture(scope="module")
def bucket(environment: pytest.MonkeyPatch) -> Iterator[Bucket]:
    pytest.importorskip("s3fs", reason="s3fs is absent: extra [remote]")
    moto = pytest.importorskip("moto.server", reason="moto[server] is absent: extra [test]")
    boto3 = pytest.importorskip("boto3", reason="boto3 is absent: extra [test]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")

    def put(key: str, content: bytes) -> None:
        client.put_object(Bucket="bucket", Key=key, Body=content, ACL="public-read")

    with faulty_proxy(port) as proxy:
        yield Bucket(port, proxy, put)
    client.close()
    server.stop()


@pytest.fixture
def s3(bucket: Bucket, tmp_path: Path) -> Iterator[Place]:
    """A folder of its own in the bucket."""
    config = quick(s3_endpoint=f"http://127.0.0.1:{bucket.proxy.port}")
    top = f"{tmp_path.name} 一"
    yield Place(
        f"s3://bucket/{top}", config, bucket.proxy, lambda n, c: bucket.put(f"{top}/{n}", c)
    )
    bucket.proxy.faults.clear()
    bucket.proxy.requests.clear()


@pytest.fixture
def webhdfs(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    pytest.importorskip("fsspec", reason="fsspec is absent: extra [remote]")
    pytest.importorskip("requests", reason="requests is absent: extra [remote]")
    with webhdfs_server(tmp_path) as hdfs:
        url = f"webhdfs://127.0.0.1:{hdfs.namenode.port}/data"
        yield Place(url, quick(hdfs_user="ann"), hdfs.datanode, put_below(tmp_path / "data"))


@pytest.fixture
def http(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Place]:
    pytest.importorskip("fsspec", reason="fsspec is absent: extra [remote]")
    pytest.importorskip("aiohttp", reason="aiohttp is absent: extra [remote]")
    with http_server(tmp_path) as port, faulty_proxy(port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/data%20%E4%B8%80"
        yield Place(url, quick(), proxy, put_below(tmp_path / "data 一"))


@pytest.fixture
def local(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "here"), quick(), None, put_below(tmp_path / "here"))


@pytest.fixture(params=["local", "s3", "webhdfs", "http"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["s3", "webhdfs", "http"])
def remote(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def faults_of(place: Place) -> list[Fault]:
    assert place.data is not None
    return place.data.faults


# --- The same for all -------------------------------------------------------------------------


def test_any_name_is_listed_and_read(place: Place) -> None:
    for name in NAMES:
        place.put(name, name.encode())
    root = place.root()
    assert list(root.names()) == NAMES
    for name in NAMES:
        assert root.read(name) == name.encode()
        assert root.read(f"./{name}", start=1, size=2) == name.encode()[1:3]
        assert root.size(name) == len(name.encode())


def test_patterns_choose_names(place: Place) -> None:
    for name in NAMES:
        place.put(name, b"")
    root = place.root()
    expected = {
        "*": ["a b", "a#b", "a%41b", "a+b&c;d", "a.b", "a?b"],
        "a/*": ["a/1.png"],
        "**/*.png": ["a/1.png", "a/z/2.png"],
        "a/**": ["a/1.png", "a/z/2.png"],
        "*/*.jpg": ["图片/第 一.jpg"],
        "a[#%]*": ["a#b", "a%41b"],
        "a.b": ["a.b"],
        "nothing/*": [],
    }
    assert {pattern: list(root.names(pattern)) for pattern in expected} == expected


def test_a_range_is_exact_or_an_error(place: Place) -> None:
    place.put("x", CONTENT)
    place.put("empty", b"")
    root = place.root()
    end = len(CONTENT)
    assert root.read("x") == CONTENT
    assert root.read("x", start=7, size=300) == CONTENT[7:307]
    assert root.read("x", start=end - 3) == CONTENT[-3:]
    assert root.read("x", start=end) == root.read("x", start=5, size=0) == b""
    assert root.read("empty") == root.read("empty", start=0, size=0) == b""
    for start, size in [(end - 3, 4), (end, 1), (end + 5, 2), (end + 1, None), (end + 1, 0)]:
        with pytest.raises(DataError, match=f"has {end} bytes, asked for .* from byte {start}"):
            root.read("x", start=start, size=size)
    with pytest.raises(DataError, match="has 0 bytes, asked for 1 bytes"):
        root.read("empty", start=0, size=1)
    with pytest.raises(DataError, match="start=-1, size=None; neither may be below 0"):
        root.read("x", start=-1)


def test_what_is_not_there_is_said_at_once(place: Place) -> None:
    place.put("folder/x", b"")
    root = place.root(retries=50, backoff_s=60)
    for call in (lambda: root.read("no"), lambda: root.size("no"), lambda: root.read("no/x")):
        with pytest.raises(MissingFileError, match="no.*: not there"):
            call()
    with pytest.raises(MissingFileError, match="gone"):
        list(open_root(place.file_url("gone"), place.config).names())


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "", ".", "a\0b", "a/.."])
def test_no_name_leads_out(place: Place, name: str) -> None:
    root = place.root()
    for call in (root.read, root.size, lambda n: root.write(n, b"")):
        with pytest.raises(DataError, match="names are relative and do not lead out"):
            call(name)


def test_threads_share_a_root(place: Place) -> None:
    for number in range(30):
        place.put(f"{number}", b"%d" % number * 1000)
    root = place.root()
    with ThreadPoolExecutor(12) as pool:
        got = list(pool.map(root.read, [str(number) for number in range(30)]))
    assert got == [b"%d" % number * 1000 for number in range(30)]


def test_a_forked_process_opens_its_own(place: Place) -> None:
    place.put("a#b", CONTENT)
    root = place.root()
    assert root.read("a#b") == CONTENT
    assert in_child("fork", root, "a#b") == CONTENT
    assert root.read("a#b") == CONTENT


def test_a_spawned_process_opens_its_own(s3: Place) -> None:
    s3.put("a#b", CONTENT)
    root = s3.root()
    assert root.read("a#b") == CONTENT
    assert in_child("spawn", root, "a#b") == CONTENT
    assert root.read("a#b") == CONTENT


def in_child(method: Literal["fork", "spawn"], root: Root, name: str) -> bytes:
    """What a child process reads from a root that the parent has used.

    A forked child has the parent's very object, a spawned one a pickled copy.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: the point here
        if method == "spawn":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found: bytes = pool.apply_async(root.read, (name,)).get(60)
                pool.close()
                pool.join()
            return found
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(
            target=lambda: theirs.send_bytes(root.read(name))
        )
        child.start()
        try:
            assert ours.poll(30), "the child is stuck"
            return ours.recv_bytes()
        finally:
            child.kill()
            child.join()
            ours.close()
            theirs.close()


def test_what_is_written_is_read(place: Place) -> None:
    root = place.root()
    if place.url.startswith("http"):
        with pytest.raises(DataError, match="HTTP is only read, 3 bytes of 'x' not written"):
            root.write("x", b"abc")
        return
    root.write("新/x %41#?" if "webhdfs" not in place.url else "新/x #?", b"first, longer")
    root.write("新/x %41#?" if "webhdfs" not in place.url else "新/x #?", CONTENT)
    (name,) = root.names()
    assert root.read(name) == CONTENT


def test_a_file_is_read_by_its_url(place: Place) -> None:
    place.put("图/x.txt", b"abc")
    encoded = "%E5%9B%BE/x.txt" if place.url.startswith("http") else "图/x.txt"
    url = place.file_url(encoded)
    assert read_file(url, place.config) == b"abc"
    assert list(open_lines(url, place.config)) == [b"abc"]


# --- A failing network ------------------------------------------------------------------------


def test_a_failed_read_is_tried_again(remote: Place) -> None:
    remote.put("x", CONTENT)
    root = remote.root()
    for fault in BROKEN:
        for start, size in [(0, len(CONTENT)), (0, None), (100, 5000)]:
            faults_of(remote).extend([fault, fault])
            end = None if size is None else start + size
            assert root.read("x", start=start, size=size) == CONTENT[start:end], fault
            assert faults_of(remote) == []


def test_a_read_that_never_succeeds_is_named(remote: Place) -> None:
    remote.put("x", CONTENT)
    root = remote.root()
    said = [
        rf"/x: the answer was cut off.*; got 1000 of {len(CONTENT)} bytes; gave up after 3 tries",
        rf"/x: the answer was cut off.*; got \d+ of {len(CONTENT)} bytes; gave up after 3 tries",
        rf"/x: the answer was cut off.*; got 1000 of {len(CONTENT)} bytes; gave up after 3 tries",
        "/x: the server answered 503.*; gave up after 3 tries. Check the server and the network",
    ]
    for fault, message in zip(BROKEN, said, strict=True):
        faults_of(remote).extend([fault] * 3)
        with pytest.raises(DataError, match=message):
            root.read("x")
        assert faults_of(remote) == []


def test_waits_double_and_then_end(remote: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.put("x", CONTENT)
    waits: list[float] = []
    monkeypatch.setattr("ocr_pipeline.storage.remote.time.sleep", waits.append)
    faults_of(remote).extend([Fault("status", status=500, when="/x")] * 5)
    with pytest.raises(DataError, match="gave up after 5 tries"):
        remote.root(retries=4, backoff_s=0.5).read("x")
    assert waits == [0.5, 1, 2, 4]


def test_no_answer_in_time_is_a_failure(remote: Place) -> None:
    remote.put("x", CONTENT)
    root = remote.root(timeout_s=0.3, retries=1)
    began = time.monotonic()
    faults_of(remote).append(Fault("hang", when="/x"))
    assert root.read("x") == CONTENT
    faults_of(remote).extend([Fault("hang", when="/x")] * 2)
    with pytest.raises(DataError, match=r"/x: no answer within 0.3 s.*gave up after 2 tries"):
        root.read("x")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_not_tried_again(remote: Place, status: int) -> None:
    remote.put("x", CONTENT)
    faults_of(remote).append(Fault("status", status=status, when="/x"))
    said = f"answered {status}" if status == 400 else rf"/x: not allowed \({status}"
    with pytest.raises(DataError, match=said):
        remote.root(retries=50, backoff_s=60).read("x")


def test_no_server_is_named(remote: Place) -> None:
    free = "127.0.0.1:1"
    url = remote.url if "s3" in remote.url else f"{remote.url.partition('://')[0]}://{free}/data"
    config = remote.config.model_copy(update={"s3_endpoint": f"http://{free}", "retries": 1})
    with pytest.raises(DataError, match=r"/x: the connection failed .*gave up after 2 tries"):
        open_root(url, config).read("x")


def test_a_listing_is_tried_again(s3: Place, http: Place) -> None:
    for place in (s3, http):
        place.put("x", b"")
        faults_of(place).extend([Fault("status", status=500), Fault("cut", after=20)])
        assert list(place.root().names()) == ["x"]
        assert faults_of(place) == []


# --- Lists ------------------------------------------------------------------------------------


def test_a_list_goes_on_where_it_was_cut(remote: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_BLOCK", 1000)
    lines = [f"图/{number}.png\t第{number}行".encode() for number in range(200)]
    remote.put("list.txt", b"\r\n".join(lines))
    url = remote.file_url("list.txt")
    got = open_lines(url, remote.config)
    assert [next(got) for _ in range(50)] == lines[:50]
    faults_of(remote).extend([Fault("cut", after=333, when="/list.txt")] * 2)
    assert list(got) == lines[50:]
    assert faults_of(remote) == []


def test_a_list_that_breaks_gives_no_half_line(
    remote: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_BLOCK", 1000)
    lines = [f"{number:04d}\tlabel".encode() for number in range(500)]
    remote.put("list.txt", b"\n".join(lines) + b"\n")
    got = open_lines(remote.file_url("list.txt"), remote.config)
    assert next(got) == lines[0]
    faults_of(remote).extend([Fault("cut", after=333, when="/list.txt")] * 3)
    seen = [lines[0]]
    with pytest.raises(DataError, match=r"got 333 of 1000 bytes; gave up after 3 tries"):
        seen.extend(got)
    assert seen == lines[: len(seen)]


def test_line_ends(local: Place) -> None:
    for content, lines in {
        b"": [],
        b"\n": [b""],
        b"a": [b"a"],
        b"a\n": [b"a"],
        b"a\r\n\r\nb\rc\n\n": [b"a", b"", b"b\rc", b""],
    }.items():
        local.put("x", content)
        assert list(open_lines(local.file_url("x"))) == lines


def test_a_long_list_takes_little_memory(local: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_BLOCK", 100_000)
    local.put("x", b"0123456789abcdef\n" * 400_000)  # 6.8 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_lines(local.file_url("x"))) == 400_000
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_a_line_without_an_end_is_refused(local: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_BLOCK", 100)
    monkeypatch.setattr(storage, "_LONGEST_LINE", 2**20)
    local.put("x", b"a\nb\n" + b"c" * (2**20 + 200) + b"\nd\n")
    lines = open_lines(local.file_url("x"))
    assert [next(lines), next(lines)] == [b"a", b"b"]
    with pytest.raises(DataError, match=r"/x: line 3 is longer than 1 MB; this is no list"):
        next(lines)
    local.put("x", b"a" * 2**20 + b"\nb")
    assert [len(line) for line in open_lines(local.file_url("x"))] == [2**20, 1]


# --- URLs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "folder", "name", "remote"),
    [
        ("x.txt", ".", "x.txt", False),
        ("/x.txt", "/", "x.txt", False),
        ("../图/a%20b#?.txt", "../图", "a%20b#?.txt", False),
        ("file:///a/b%20c.txt", "/a", "b c.txt", False),
        ("s3://bucket/a/b%20c?.txt", "s3://bucket/a", "b%20c?.txt", True),
        ("s3://bucket/x", "s3://bucket", "x", True),
        ("webhdfs://host:9870/a/x", "webhdfs://host:9870/a", "x", True),
        ("https://host/a%20b/c%20d", "https://host/a%20b", "c d", True),
        ("http://[::1]:80/x", "http://[::1]:80", "x", True),
        ("lmdb:///data/db/image-000000001", "lmdb:///data/db", "image-000000001", False),
    ],
)
def test_urls_are_split(url: str, folder: str, name: str, remote: bool) -> None:
    assert split_url(url) == (folder, name)
    assert is_remote(url) is remote
    assert is_remote(folder) is remote


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/x", "gs://: not a protocol that is read; allowed are a path, file://, s3://"),
        ("hdfs://host:8020/x", "write webhdfs://NAMENODE:PORT/path with the namenode's HTTP port"),
        ("s3://key:hunter2@bucket/x", "no user or password in a URL; they come from the env"),
        ("s3://key:hunter2/x@bucket/x", "expected s3://BUCKET/path"),
        ("webhdfs://ann:hunter2@host:1/x", "no user or password in a URL"),
        ("webhdfs://ann:hunter2/x@host:1/x", "expected webhdfs://HOST:PORT/path, PORT a number"),
        ("https://ann:hunter2@host/x", "no user or password in a URL"),
        ("hdfs://ann:hunter2@host/x", "write webhdfs://"),
        ("ftp://ann:hunter2@host/x", "ftp://: not a protocol that is read"),
        ("https://host/x?token=hunter2", r"https://host/x: a URL with '\?' or '#' is not read"),
        ("http:///x", "expected http://HOST:PORT/path"),
        ("file://elsewhere/x", "expected file:///PATH, a path on this machine"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    for call in (open_root, read_file, split_url, lambda u: next(open_lines(u))):
        with pytest.raises(DataError, match=message) as caught:
            call(url)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "a/", "s3://bucket", "s3://bucket/a/", "https://host/"])
def test_a_file_needs_a_name(url: str) -> None:
    with pytest.raises(DataError, match="names no file; give its whole path"):
        split_url(url)


@pytest.mark.parametrize("url", ["s3://bucket/a/../b", "webhdfs://host/..", "https://host/../a"])
def test_no_url_of_a_server_climbs(url: str) -> None:
    with pytest.raises(DataError, match=r"no '\.\.' in a URL"):
        open_root(url)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("s3://bucket", "s3fs", "remote"),
        ("webhdfs://host", "requests", "remote"),
        ("https://host", "aiohttp", "remote"),
        ("lmdb:///tmp", "lmdb", "train"),
    ],
)
def test_a_missing_package_names_its_extra(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=rf"pip install 'ocr_pipeline\[{extra}\]'"):
        open_root(url).read("x")


# --- This machine -----------------------------------------------------------------------------


def test_a_local_write_is_whole_or_not_at_all(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = local.root()
    written: list[Path] = []
    write_bytes = Path.write_bytes

    def note(path: Path, content: bytes) -> int:
        written.append(path)
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", note)
    root.write("x", b"old")
    assert written != [Path(local.url) / "x"]  # but beside it, then renamed

    def full(path: Path, content: bytes) -> None:
        path.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"x: No space left on device; check the disk"):
        root.write("x", b"new")
    assert root.read("x") == b"old"
    assert list(root.names()) == ["x"]


def test_links_are_followed_but_not_for_ever(local: Place, tmp_path: Path) -> None:
    local.put("a/x", b"1")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y").write_bytes(b"2")
    here = Path(local.url)
    (here / "linked").symlink_to(tmp_path / "elsewhere")
    (here / "a" / "up").symlink_to(here)
    (here / "broken").symlink_to(here / "gone")
    assert list(local.root().names()) == ["a/x", "linked/y"]


def test_links_between_two_folders_end(local: Place) -> None:
    here = Path(local.url)
    local.put("a/1", b"")
    local.put("b/2", b"")
    (here / "a" / "x").symlink_to(here / "b")
    (here / "b" / "y").symlink_to(here / "a")
    (here / "b" / "z").symlink_to(here / "a")
    assert list(local.root().names()) == [
        "a/1",
        "a/x/2",
        "b/2",
        "b/y/1",
        "b/z/1",
    ]


def test_a_folder_is_no_file(local: Place, webhdfs: Place) -> None:
    for place in (local, webhdfs):
        place.put("folder/x", b"")
        for call in (place.root().read, place.root().size):
            with pytest.raises(DataError, match="folder: is a folder; name a file"):
                call("folder")


# --- Protocols by themselves ------------------------------------------------------------------


def test_s3_lists_more_than_a_page(s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocr_pipeline.storage.s3._PAGE", 4)
    for name in ["folder/", *"0123456789"]:
        s3.put(name, b"")
    faults_of(s3).append(Fault("status", status=500, when="continuation-token"))
    assert list(s3.root().names()) == list("0123456789")
    assert faults_of(s3) == []


def test_s3_without_keys_says_where_they_go(s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("x", b"abc")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DataError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        s3.root().read("x")
    assert s3.root(s3_anonymous=True).read("x") == b"abc"


def test_s3_needs_the_bucket(s3: Place) -> None:
    with pytest.raises(MissingFileError, match="s3://nowhere/x: not there .404 NoSuchBucket"):
        open_root("s3://nowhere", s3.config).read("x")
    with pytest.raises(MissingFileError, match="s3://nowhere"):
        list(open_root("s3://nowhere", s3.config).names())


def test_http_reads_from_a_server_without_ranges(
    environment: pytest.MonkeyPatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec", reason="fsspec is absent: extra [remote]")
    (tmp_path / "x").write_bytes(CONTENT)
    with http_server(tmp_path, ranges=False) as port, faulty_proxy(port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        root = open_root(url, quick())
        assert root.size("x") == len(CONTENT)
        proxy.faults.append(Fault("cut", after=5000))
        assert root.read("x", start=7, size=300) == CONTENT[7:307]
        asked = len(proxy.requests)
        assert root.read("x", start=5000, size=300) == CONTENT[5000:5300]
        assert len(proxy.requests) == asked  # taken from the answer before
        assert root.read("x") == CONTENT
        monkeypatch.setattr("ocr_pipeline.storage.http._WHOLE", 9999)
        with pytest.raises(DataError, match="the server knows no ranges, and the file has 10240"):
            open_root(url, quick()).read("x", start=7, size=300)
        assert open_root(url, quick()).read("x") == CONTENT


def test_http_listings_with_other_links(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is absent: extra [remote]")
    (tmp_path / "d").mkdir()
    page = (
        '<a href="?C=N;O=D">Name</a> <a href="/">Parent</a> <a href="../">..</a>'
        '<a href="https://example.org/x">x</a> <a href="a&amp;b.txt">a</a>'
        '<a href="/d/%e5%9b%be.png">p</a> <a href="b.txt">b</a> <a href="b.txt">b</a>'
    )
    (tmp_path / "d" / "index.html").write_text(page, encoding="utf-8")
    with http_server(tmp_path) as port:
        names = list(open_root(f"http://127.0.0.1:{port}/d", quick()).names())
    assert names == ["a&b.txt", "b.txt", "图.png"]


def test_webhdfs_permissions(webhdfs: Place) -> None:
    webhdfs.put("x", b"abc")
    with pytest.raises(DataError, match=r"x: not allowed \(403 AccessControlException: Permission"):
        webhdfs.root(hdfs_user=STRANGER, retries=50, backoff_s=60).read("x")


def test_webhdfs_error_page_of_a_datanode_is_no_content(webhdfs: Place) -> None:
    webhdfs.put("x", CONTENT)
    faults_of(webhdfs).append(Fault("status", status=404, when="OPEN"))
    with pytest.raises(MissingFileError, match="x: not there .404"):
        webhdfs.root().read("x", start=1, size=5)


def test_webhdfs_names_are_had_from_the_namenode_again(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is absent: extra [remote]")
    (tmp_path / "x").write_bytes(CONTENT)
    with webhdfs_server(tmp_path) as hdfs:
        root = open_root(f"webhdfs://127.0.0.1:{hdfs.namenode.port}", quick())
        hdfs.namenode.faults.extend([Fault("status", status=500), Fault("cut", after=20)])
        assert list(root.names()) == ["x"]
        hdfs.namenode.faults.append(Fault("reset", after=5))
        assert root.read("x") == CONTENT


# --- LMDB -------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> str:
    lmdb = pytest.importorskip("lmdb", reason="lmdb is absent: extra [train]")
    with (
        lmdb.open(str(tmp_path / "db"), map_size=2**24) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"image-000000001", CONTENT)
        transaction.put(b"label-000000001", "图片".encode())
        transaction.put(b"num-samples", b"1")
    return f"lmdb://{tmp_path / 'db'}"


def test_lmdb_keys_are_names(database: str) -> None:
    root, second = open_root(database), open_root(database)
    assert list(root.names()) == ["image-000000001", "label-000000001", "num-samples"]
    assert list(root.names("image-*")) == ["image-000000001"]
    assert second.read("label-000000001") == "图片".encode()
    assert root.read("image-000000001", start=3, size=5) == CONTENT[3:8]
    assert root.size("image-000000001") == len(CONTENT)
    assert open_root(f"{database}/data.mdb").read("num-samples") == b"1"
    with pytest.raises(MissingFileError, match="image-000000002: no such key"):
        root.read("image-000000002")
    with pytest.raises(DataError, match=f"has {len(CONTENT)} bytes, asked for 9 bytes"):
        root.read("image-000000001", start=len(CONTENT) - 8, size=9)
    with pytest.raises(DataError, match="only read, 2 bytes not written"):
        root.write("x", b"ab")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_lmdb_in_another_process(database: str, method: Literal["fork", "spawn"]) -> None:
    root = open_root(database)
    assert root.read("num-samples") == b"1"
    assert in_child(method, root, "image-000000001") == CONTENT
    assert root.read("image-000000001") == CONTENT


def test_lmdb_that_was_cut_off(database: str) -> None:
    path = Path(database.removeprefix("lmdb://")) / "data.mdb"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    match = f"has {len(whole) // 2:,} bytes, its pages need {len(whole):,}; it was cut off"
    with pytest.raises(DataError, match=match):
        open_root(database).read("num-samples")
    path.write_bytes(whole)
    assert open_root(database).read("num-samples") == b"1"


def test_lmdb_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("lmdb", reason="lmdb is absent: extra [train]")
    (tmp_path / "file").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match="file: cannot be opened as an LMDB database"):
        open_root(f"lmdb://{tmp_path}/file").size("x")
    with pytest.raises(MissingFileError, match="gone: not there"):
        open_root(f"lmdb://{tmp_path}/gone").size("x")
