import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.pdiparams import read_pdiparams, wire_fields
from tests.weights import paddle_files as write

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.array([7, 8], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "inference.pdiparams"
    path.write_bytes(write.tensor_file({"b": BIAS, "a": WEIGHT}))
    return path


def test_tensors_stand_in_the_order_of_their_names_not_of_the_program(file: Path) -> None:
    tensors = read_pdiparams(file, ["b", "a"], shapes={"a": (2, 3), "b": (2,)})
    assert list(tensors) == ["a", "b"]
    assert np.array_equal(tensors["a"], WEIGHT)
    assert np.array_equal(tensors["b"], BIAS)
    assert tensors["a"].dtype == np.float32


def test_integers_offsets_packed_sizes_and_empty_shapes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pdiparams"
    path.write_bytes(
        write.tensor(np.array([1, -2], np.int64), element_type=write.INT64, offsets=[b"12345678"])
        + write.tensor(np.array(3.0, np.float32))
        + write.tensor(WEIGHT, packed=True)
    )
    tensors = read_pdiparams(path, ["a", "b", "c"])
    assert tensors["a"].tolist() == [1, -2]
    assert tensors["a"].dtype == np.int64
    assert tensors["b"].shape == ()
    assert np.array_equal(tensors["c"], WEIGHT)


@pytest.mark.parametrize(
    ("element_type", "name"), [(write.FLOAT16, "float16"), (write.BFLOAT16, "bfloat16")]
)
def test_half_precision_is_refused_by_name(tmp_path: Path, element_type: int, name: str) -> None:
    path = tmp_path / "x.pdiparams"
    path.write_bytes(write.tensor(np.zeros(3, np.float16), element_type=element_type))
    with pytest.raises(WeightsError, match=f"conv.w_0 is {name}; float32 weights are needed"):
        read_pdiparams(path, ["conv.w_0"])


def test_names_and_tensors_must_agree_in_number_and_shape(file: Path) -> None:
    with pytest.raises(WeightsError, match="ends after 2 of the model's 3 tensors"):
        read_pdiparams(file, ["a", "b", "c"])
    with pytest.raises(WeightsError, match="32 bytes after the model's 1 tensors"):
        read_pdiparams(file, ["a"])
    with pytest.raises(WeightsError, match=r"a has shape \[2, 3\] here and \[3, 2\] in the model"):
        read_pdiparams(file, ["a", "b"], shapes={"a": (3, 2), "b": (2,)})
    with pytest.raises(WeightsError, match="names a twice"):
        read_pdiparams(file, ["a", "b", "a"])


def test_every_truncation_is_refused(file: Path) -> None:
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"bytes from byte|ends after"):
            read_pdiparams(file, ["a", "b"])


@pytest.mark.parametrize("shape", [(1 << 28,), (1 << 62, 1 << 62)])
def test_a_size_that_lies_is_found_before_memory_is_taken(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "x.pdiparams"
    path.write_bytes(write.tensor(np.zeros(4, np.float32), shape=shape))
    tracemalloc.start()
    with pytest.raises(WeightsError, match="values .* of a would take .* 16 are left"):
        read_pdiparams(path, ["a"])
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("shape", [(-1, 4), (0, 1 << 62, 3), (1,) * 17])
def test_impossible_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.pdiparams"
    path.write_bytes(write.tensor(np.zeros(4, np.float32), shape=shape))
    with pytest.raises(WeightsError, match="a has shape .*at most 16 sizes of 1 or more"):
        read_pdiparams(path, ["a"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x80\x04\x95abcdefghijklmnop", "not a tensor file of Paddle: bytes 0 to 4 are"),
        (struct.pack("<IQ", 0, 1 << 63) + b"\xff" * 8, "an offset list of a would take"),
        (struct.pack("<IQIi", 0, 0, 0, -1), "the header of a would take 4,294,967,295 bytes"),
        (struct.pack("<IQIi", 0, 0, 7, 4) + b"abcd", "a is written in a version that is not 0"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + b"\x08\xff", "the header of a is damaged"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + b"\x12\x09", "the header of a is damaged"),
        (struct.pack("<IQIi", 0, 0, 0, 0), "a is of element type -1"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.pdiparams"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=expected):
        read_pdiparams(path, ["a"])


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no\.pdiparams.*has to stand beside the model"):
        read_pdiparams(tmp_path / "no.pdiparams", ["a"])


def test_wire_format_knows_all_forms_and_its_bounds() -> None:
    message = (
        write.number(1, 300)
        + write.block(2, b"ab")
        + write.varint(3 << 3 | 5)
        + b"1234"
        + write.varint(4 << 3 | 1)
        + b"12345678"
    )
    fields = [
        (n, v if isinstance(v, int) else bytes(v)) for n, v in wire_fields(memoryview(message))
    ]
    assert fields == [(1, 300), (2, b"ab"), (3, b"1234"), (4, b"12345678")]
    for broken in (b"\x0b", b"\x80" * 11, b"\x08", b"\x25abc", b"\x12\xff\xff\xff\xff\x0f"):
        with pytest.raises(ValueError):
            list(wire_fields(memoryview(broken)))
