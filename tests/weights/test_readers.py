import json
import pickle
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.readers import describe_content, read_records
from tests.weights.real_files import V4, V5_ONNX, V5_PIR, assert_same, real_file, real_folder


def write_onnx(path: Path, values: float = 1.0) -> Path:
    weight = numpy_helper.from_array(np.full((3, 2), values, np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "fc")
    path.write_bytes(helper.make_model(helper.make_graph([node], "g", [], [], [weight]))
                     .SerializeToString())  # fmt: skip
    return path


def test_each_way_to_name_a_model_leads_to_it(tmp_path: Path) -> None:
    folder = real_folder(V5_PIR["det"], tmp_path)
    expected = read_records(real_file(V5_ONNX["det"]))
    assert len(expected) == 119
    write_onnx(folder / "other.onnx")
    for path in (folder, folder / "inference.json", folder / "inference.pdiparams"):
        assert_same(read_records(path), expected)


def test_the_older_format_is_found_by_each_of_its_files(tmp_path: Path) -> None:
    folder = real_folder(V4["rec"], tmp_path)
    expected = read_records(folder)
    assert len(expected) == 114
    for name in ("inference.pdmodel", "inference.pdiparams"):
        assert_same(read_records(folder / name), expected)


def test_a_single_onnx_file_in_a_folder_is_taken(tmp_path: Path) -> None:
    write_onnx(tmp_path / "rec.onnx")
    (tmp_path / "inference.yml").write_text("Global: {}\n", "utf-8")
    assert [record.kind for record in read_records(tmp_path)] == ["linear"]
    write_onnx(tmp_path / "det.onnx")
    with pytest.raises(WeightsError, match=r"holds 2 \.onnx files \(det.onnx, rec.onnx\); name"):
        read_records(tmp_path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        read_records(tmp_path / "none.onnx")
    with pytest.raises(WeightsError, match=r"looked for inference\.json, .*found no files"):
        read_records(tmp_path)
    (tmp_path / "notes.txt").write_text("x", "utf-8")
    with pytest.raises(WeightsError, match=r"found notes\.txt"):
        read_records(tmp_path)
    with pytest.raises(WeightsError, match=r"kind '\.txt'; allowed: \.json, \.pdmodel, \.onnx"):
        read_records(tmp_path / "notes.txt")
    (tmp_path / "inference.pdiparams").write_bytes(b"\0")
    with pytest.raises(WeightsError, match=r"no graph; inference\.json or inference\.pdmodel"):
        read_records(tmp_path / "inference.pdiparams")
    (tmp_path / "best.pdparams").write_bytes(b"\x80\x04}.")
    with pytest.raises(WeightsError, match="a training checkpoint .*name this file itself"):
        read_records(tmp_path / "best.pdparams")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
SAFETENSORS = struct.pack("<Q", 12) + b'{"w": [1,2]}'
FOREIGN = [
    (LFS, "Git LFS pointer.*git lfs pull"),
    (pickle.dumps({"a": 1}, 4), "a Python pickle"),
    (pickle.dumps({"a": 1}, 2), "a Python pickle"),
    (SAFETENSORS, "a safetensors file"),
    (b"PK\x03\x04zip", "a zip archive"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"\n<!DOCTYPE html><html>", "a web page"),
    (b"", r"is empty \(0 bytes\)"),
]


@pytest.mark.parametrize(("content", "expected"), FOREIGN)
@pytest.mark.parametrize("name", ["m.onnx", "inference.json", "inference.pdmodel", "m.bin"])
def test_other_kinds_of_files_are_recognised(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=expected):
        read_records(tmp_path / name)


@pytest.mark.parametrize(("content", "expected"), FOREIGN)
def test_the_tensor_file_is_looked_at_too(tmp_path: Path, content: bytes, expected: str) -> None:
    document = {"base_code": {"magic": "pir"}, "program": {"regions": [{"blocks": [{"ops": []}]}]}}
    (tmp_path / "inference.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "inference.pdiparams").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"inference\.pdiparams: .*{expected}"):
        read_records(tmp_path)


def test_models_are_not_taken_for_something_else() -> None:
    for asset in (*V5_PIR["det"], *V4["cls"], V5_ONNX["det"]):
        assert describe_content(real_file(asset).read_bytes()[:64]) is None


@pytest.mark.parametrize(("keep", "files"), [("pir", V5_PIR["det"]), ("pdmodel", V4["cls"])])
def test_truncated_models_are_refused(tmp_path: Path, keep: str, files: object) -> None:
    folder = real_folder(files, tmp_path)
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(WeightsError, match=r"half-downloaded|truncated"):
            read_records(folder)
        path.write_bytes(content)
    assert read_records(folder)


def test_truncated_onnx_files_are_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(WeightsError, match="not a readable ONNX model .*half-downloaded"):
        read_records(path)
    assert isinstance(onnx.load_model_from_string(content).ir_version, int)


def write_graph(path: Path, nodes: list, tensors: list) -> Path:
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], tensors))
    path.write_bytes(model.SerializeToString())
    return path


def constant(name: str, values: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        ([("Mul", "s x", "1"), ("Add", "1 b", "2")], ["affine"]),
        ([("Mul", "x s", "1"), ("Identity", "1", "i"), ("Add", "b i", "2")], ["affine"]),
        ([("Mul", "x s", "1"), ("Add", "1 b", "2"), ("HardSwish", "2", "3")], ["affine"]),
        # Attention: a scale alone, or one whose product has two readers.
        ([("Mul", "x s", "1"), ("MatMul", "1 x", "2")], []),
        ([("Mul", "x s", "1"), ("Add", "1 b", "2"), ("Relu", "1", "3")], []),
        ([("Mul", "x s", "1"), ("Add", "1 x", "2")], []),
        # GELU and the like: constants without dimensions.
        ([("Mul", "x s0", "1"), ("Add", "1 b", "2")], []),
        ([("Mul", "x s", "1"), ("Add", "1 b0", "2")], []),
        # Hard sigmoid and hard swish written out.
        ([("Mul", "x s", "1"), ("Add", "1 b", "2"), ("Clip", "2", "3"), ("Mul", "x 3", "4")], []),
        ([("Add", "x b", "1"), ("Clip", "1", "2"), ("Mul", "x 2", "3"), ("Div", "3 s", "4")], []),
        # Arithmetic on shapes.
        ([("Shape", "x", "h"), ("Mul", "h n", "1"), ("Add", "1 n", "2")], []),
    ],
)
def test_which_product_is_an_affine_block(
    tmp_path: Path, nodes: list[tuple[str, str, str]], kinds: list[str]
) -> None:
    made = [helper.make_node(kind, names.split(), [out]) for kind, names, out in nodes]
    made.append(helper.make_node("MatMul", ["x", "w"], ["end"]))
    tensors = [constant("s", [2.0]), constant("b", [3.0]), constant("s0", 2.0), constant("b0", 3.0)]
    tensors += [constant("w", np.ones((2, 3)))]
    tensors += [numpy_helper.from_array(np.array([2], np.int64), "n")]
    records = read_records(write_graph(tmp_path / "m.onnx", made, tensors))
    assert [record.kind for record in records] == [*kinds, "linear"]
    if kinds:
        assert (records[0].weight.tolist(), records[0].bias.tolist()) == ([2.0], [3.0])


def test_a_tensor_that_lies_about_its_size_is_found(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c")
    for shape, expected in (
        ([1 << 40, 3, 1, 1], r"w has shape .*needs 13,194,139,533,312 bytes; the file holds 24"),
        ([2, -3, 1, 1], "at most 16 sizes of 1 or more"),
        ([1] * 17, "at most 16 sizes of 1 or more"),
        ([2, 2, 1, 1], "needs 16 bytes; the file holds 24"),
    ):
        weight = constant("w", np.ones((2, 3, 1, 1)))
        del weight.dims[:]
        weight.dims.extend(shape)
        with pytest.raises(WeightsError, match=expected):
            read_records(write_graph(tmp_path / "m.onnx", [node], [weight]))


def test_values_outside_raw_data_are_read(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 3], [1, 2, 3, 4, 5, 6])
    assert not weight.HasField("raw_data")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    (record,) = read_records(write_graph(tmp_path / "m.onnx", [node], [weight]))
    assert record.weight.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float64])
def test_weights_of_other_types_are_named(tmp_path: Path, dtype: type) -> None:
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), dtype), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c")
    expected = f"w is {np.dtype(dtype)}; float32 weights are needed"
    with pytest.raises(WeightsError, match=expected):
        read_records(write_graph(tmp_path / "m.onnx", [node], [weight]))


def test_quantised_models_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"]),
        helper.make_node("Conv", ["x", "d"], ["y"], "c"),
    ]
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.int8), "w")
    with pytest.raises(WeightsError, match=r"its input 1 \(d\) is computed.*quantised"):
        read_records(write_graph(tmp_path / "m.onnx", nodes, [weight, constant("s", 1.0)]))
