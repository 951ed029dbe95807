"""From a server to batches: the same as from a folder, or an error; never a part of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.storage import open_root
from ocr_pipeline.training.rec_loader import RecLoader
from tests.preprocess import labelled
from tests.storage_servers import Fault, Proxy, faulty_proxy, webhdfs_server

CHARSET = Charset(list("0123456789ABCDEF"))
FOLDER = "数据 一"
FILES = ["labels.txt", "%E7%AC%AC"]
"""As requests name the labels, and any picture."""
BROKEN = [
    Fault("cut", after=40),
    Fault("short", after=40),
    Fault("reset", after=40),
    Fault("status", status=503),
]


@dataclass
class Server:
    """A place on a server.

    Attributes:
        url: of the place.
        storage: how to read it; one retry, hardly waiting.
        data: what passes on the files' bytes, and fails on demand.
        put: writes a file there.
    """

    url: str
    storage: dict[str, object]
    data: Proxy
    put: Callable[[str, bytes], object]


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    """No proxies, keys or files of whoever runs this."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "HTTP_PROXY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        yield


@pytest.fixture(scope="module")
def bucket(environment: None) -> Iterator[tuple[Proxy, Callable[[str, bytes], object]]]:
    pytest.importorskip("s3fs", reason="s3fs is absent: extra [remote]")
    moto = pytest.importorskip("moto.server", reason="moto[server] is absent: extra [test]")
    boto3 = pytest.importorskip("boto3", reason="boto3 is absent: extra [test]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    with faulty_proxy(port) as proxy:
        yield proxy, lambda key, body: client.put_object(Bucket="bucket", Key=key, Body=body)
    client.close()
    server.stop()


def quick(**values: object) -> dict[str, object]:
    return {"retries": 1, "backoff_s": 0.01, "timeout_s": 10, **values}


@pytest.fixture
def s3(bucket: tuple[Proxy, Callable[[str, bytes], object]], tmp_path: Path) -> Iterator[Server]:
    proxy, put = bucket
    top = f"{tmp_path.name}/{FOLDER}"
    storage = quick(s3_endpoint=f"http://127.0.0.1:{proxy.port}")
    yield Server(f"s3://bucket/{top}", storage, proxy, lambda n, c: put(f"{top}/{n}", c))
    proxy.faults.clear()


@pytest.fixture
def webhdfs(environment: None, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("fsspec", reason="fsspec is absent: extra [remote]")
    pytest.importorskip("requests", reason="requests is absent: extra [remote]")
    there = tmp_path / "hdfs"

    def put(name: str, content: bytes) -> None:
        path = there / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    with webhdfs_server(there) as hdfs:
        url = f"webhdfs://127.0.0.1:{hdfs.namenode.port}/{FOLDER}"
        yield Server(url, quick(hdfs_user="ann"), hdfs.datanode, put)


@pytest.fixture(params=["s3", "webhdfs"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def names(count: int) -> list[str]:
    return [f"图片/第 {number}.png" for number in range(count)]


def fill(server: Server, local: Path, count: int = 8) -> None:
    """The same pictures and labels on the server and in a folder."""
    rows = []
    for number, name in enumerate(names(count)):
        content = labelled.encoded(labelled.noise(name, 32, 100 + 20 * number))
        server.put(name, content)
        labelled.save(local, name, labelled.noise(name, 32, 100 + 20 * number))
        rows.append(f"{name}\tA{number}")
    labels = labelled.write_list(local / "labels.txt", rows)
    server.put("labels.txt", labels.read_bytes())


def config(place: str, out: Path, **changes: object) -> PrepareConfig:
    """Pictures and labels at one place; pictures' paths start beside the labels."""
    values = {"out": out, "train_labels": [f"{place}/labels.txt"], "val_count": 2, "workers": 0}
    return PrepareConfig.model_validate({**values, **changes})


def batches(dataset: Dataset, workers: int) -> list[NDArray[np.generic]]:
    loader = RecLoader(
        dataset,
        image=RecImageSpec(min_width=96, width_step=96),
        augment=None,
        batch=2,
        seed=3,
        config=LoaderConfig(workers=workers),
    )
    with closing(loader.from_step(0)) as stream:  # ends its workers
        shown = list(islice(stream, 6))
    return [a.numpy() for b in shown for a in (b.images, b.labels, b.label_lengths)]


def samples(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [s.text for s in dataset.lines(split)] for split in ("train", "val")}


def test_a_set_on_a_server_gives_the_batches_of_a_local_one(server: Server, tmp_path: Path) -> None:
    fill(server, tmp_path / FOLDER)
    here = prepare(config(str(tmp_path / FOLDER), tmp_path / "here"), CHARSET)
    made = prepare(config(server.url, tmp_path / "there", storage=server.storage), CHARSET)
    there = Dataset.load(made.folder)
    assert samples(there) == samples(here)
    assert there.manifest.sources[0].images == server.url
    assert there.manifest.refused == {}
    expected = batches(here, 0)
    for workers in (0, 2):
        found = batches(there, workers)
        assert all(map(np.array_equal, found, expected))


def test_packs_are_written_to_a_server_and_read_back(server: Server, tmp_path: Path) -> None:
    fill(server, tmp_path / FOLDER)
    here = prepare(config(str(tmp_path / FOLDER), tmp_path / "here"), CHARSET)
    pack = {"enabled": True, "out": f"{server.url}/碎片"}
    settings = config(
        str(tmp_path / FOLDER), tmp_path / "packed", storage=server.storage, pack=pack
    )
    packed = Dataset.load(prepare(settings, CHARSET).folder)
    where = packed.manifest.pack_root
    assert where is not None
    assert where.startswith(f"{server.url}/碎片/packed-")
    assert sorted(open_root(where, packed.manifest.storage).names()) == [
        "train-00000.tar",
        "val-00000.tar",
    ]
    expected = batches(here, 0)
    (tmp_path / FOLDER).rename(tmp_path / "gone")  # the shards are all that is needed
    for workers in (0, 2):
        assert all(map(np.array_equal, batches(packed, workers), expected))


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.kind)
def test_what_breaks_once_is_read_again(server: Server, tmp_path: Path, fault: Fault) -> None:
    fill(server, tmp_path / FOLDER, 4)
    server.data.faults += [replace(fault, when=file) for file in FILES]
    dataset = prepare(config(server.url, tmp_path / "out", storage=server.storage), CHARSET)
    assert server.data.faults == []
    assert dataset.manifest.counts == {"train": 2, "val": 2}
    assert dataset.manifest.refused == {}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.kind)
def test_what_stays_broken_is_an_error_and_no_smaller_dataset(
    server: Server, tmp_path: Path, file: str, fault: Fault
) -> None:
    fill(server, tmp_path / FOLDER, 4)
    server.data.faults += [replace(fault, when=file)] * 9
    with pytest.raises(DataError, match=r"labels\.txt|第 0\.png"):
        prepare(config(server.url, tmp_path / "out", storage=server.storage), CHARSET)
    assert not (tmp_path / "out").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_picture_that_a_server_lacks_is_refused_by_name(server: Server, tmp_path: Path) -> None:
    fill(server, tmp_path / FOLDER, 4)
    server.put("labels.txt", "\n".join(f"{n}\tB{i}" for i, n in enumerate(names(5))).encode())
    dataset = prepare(config(server.url, tmp_path / "out", storage=server.storage), CHARSET)
    assert dataset.manifest.refused == {"missing_picture": 1}
    (row,) = (dataset.folder / "refused.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["source"] == f"{server.url}/labels.txt:5"


def test_a_shard_that_cannot_be_stored_leaves_no_dataset(server: Server, tmp_path: Path) -> None:
    fill(server, tmp_path / FOLDER, 4)
    server.data.faults += [Fault("status", status=503, when="PUT")] * 9
    pack = {"enabled": True, "out": f"{server.url}/packs"}
    changes = {"storage": server.storage, "pack": pack}
    with pytest.raises(DataError, match=r"train-00000\.tar.*503"):
        prepare(config(str(tmp_path / FOLDER), tmp_path / "out", **changes), CHARSET)
    assert not (tmp_path / "out").exists()


def test_checking_in_processes_reads_servers_too(s3: Server, tmp_path: Path) -> None:
    fill(s3, tmp_path / FOLDER, 40)
    settings = config(s3.url, tmp_path / "out", storage=s3.storage, workers=2)
    assert prepare(settings, CHARSET).manifest.counts == {"train": 38, "val": 2}
