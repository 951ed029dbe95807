import codecs
import collections
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.pdparams import read_training_checkpoint


@pytest.fixture(scope="module")
def network() -> nn.Layer:
    network = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.Linear(7, 2))
    for tensor in network.state_dict().values():
        tensor.set_value(paddle.uniform(tensor.shape, min=-2.0, max=2.0))
    return network


def check(found: dict[str, np.ndarray], network: nn.Layer) -> None:
    expected = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].flags.writeable
        assert np.array_equal(found[name], values), name


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_is_read_back(tmp_path: Path, network: nn.Layer, protocol: int) -> None:
    path = tmp_path / "best_accuracy.pdparams"
    paddle.save(network.state_dict(), str(path), protocol=protocol)
    assert b"StructuredToParameterName@@" in path.read_bytes()
    check(read_training_checkpoint(path), network)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_ordered_dicts_and_pairs_of_name_and_values_are_read(
    tmp_path: Path, network: nn.Layer, protocol: int
) -> None:
    path = tmp_path / "x.pdparams"
    pairs = collections.OrderedDict(
        (name, Rebuilt(tuple, ((tensor.name, tensor.numpy()),)))
        for name, tensor in network.state_dict().items()
    )
    path.write_bytes(pickle.dumps(pairs, protocol))
    check(read_training_checkpoint(path), network)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_both_names_of_numpy_are_read(tmp_path: Path, module: bytes) -> None:
    path = tmp_path / "x.pdparams"
    content = pickle.dumps({"w": np.ones(3, np.float32)}, 2)
    written = next(m for m in (b"numpy._core.multiarray", b"numpy.core.multiarray") if m in content)
    path.write_bytes(content.replace(written, module))
    assert read_training_checkpoint(path)["w"].tolist() == [1, 1, 1]


def test_arrays_in_column_order_and_single_values_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pdparams"
    matrix = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    path.write_bytes(pickle.dumps({"m": matrix, "s": np.array(2.5, np.float32)}, 4))
    found = read_training_checkpoint(path)
    assert np.array_equal(found["m"], matrix)
    assert found["m"].flags.c_contiguous
    assert found["s"].shape == ()


class Rebuilt:
    """Pickled as a call of ``function``."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (os.system, ("touch {}",), r"posix\.system|nt\.system"),
        (eval, ("open('{}', 'w')",), r"(builtins|__builtin__)\.eval"),
        (getattr, ("{}", "upper"), r"(builtins|__builtin__)\.getattr"),
        (np.ndarray, ((1 << 40,),), r"numpy\.ndarray with other values"),
        (np.dtype, (("f4", (1 << 40,)),), r"numpy\.dtype with other values"),
        (codecs.encode, ("a", "rot13"), r"_codecs\.encode with other values"),
        (bytes, (1 << 40,), r"(builtins|__builtin__)\.bytes with other values"),
        (tuple, ("abc",), r"(builtins|__builtin__)\.tuple with other values"),
        (collections.OrderedDict, ([("a", 1)],), r"collections\.OrderedDict with other values"),
        (np.load, ("{}",), r"numpy(\.lib\._?npyio\w*)?\.load"),
    ],
)
def test_calls_are_named_and_never_made(
    tmp_path: Path, protocol: int, function: Any, arguments: tuple[Any, ...], expected: str
) -> None:
    trace = tmp_path / "trace"
    arguments = tuple(a.format(trace) if isinstance(a, str) else a for a in arguments)
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps({"w": Rebuilt(function, arguments)}, protocol))
    with pytest.raises(WeightsError, match=f"wants to run ({expected})"):
        read_training_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (b"(S'touch x'\nios\nsystem\n.", "the step STRING"),
        (b"(ios\nsystem\n.", "the step INST"),
        (b"Pwhere\n.", "the step PERSID"),
        (b"\x82\x01.", "the step EXT1"),
        (b"cposix\nsystem\n.", r"posix\.system"),
        (b"cnumpy\ncore.multiarray._reconstruct\n.", None),
        (b"cnumpy.core multiarray\nx\n.", r"numpy\.core\."),
        (b"}cnumpy\nndarray\nb.", "damaged"),
        (b"cnumpy\ndtype\n}b.", "a state that does not fit a function"),
        (b"cnumpy\ndtype\n)\x81.", "the step NEWOBJ"),
        (b"(K\x01K\x02d.", "the step DICT"),
        (b"}(K\x01K\x02u.", "named by a int"),
        (b"}]]s.", "named by a list"),
        (b"]K\x01s.", "damaged"),
        (b"h\x07.", "recalls item 7"),
        (b"t.", "has no beginning"),
        (b"K\x01(\x85.", "nothing to work on"),
        (b"K\x01K\x02\x93.", "named by something else than words"),
        (b"K\x01", "exhausted before seeing STOP"),
        (b"", "exhausted before seeing STOP"),
        (b".", "nothing to work on"),
        (b"K\x01.", "holds a int, expected a mapping"),
        (b"}.", "holds no tensors"),
    ],
)
def test_hand_made_programs_are_refused(tmp_path: Path, steps: bytes, expected: str | None) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(b"\x80\x02" + steps)
    with pytest.raises(WeightsError, match=expected):
        read_training_checkpoint(path)


def test_a_function_hidden_in_the_data_is_no_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(b"\x80\x02}X\x01\x00\x00\x00wcnumpy\nndarray\ns.")
    with pytest.raises(WeightsError, match="w is a function, expected a tensor"):
        read_training_checkpoint(path)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


@pytest.mark.parametrize(
    "steps",
    [
        b"\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
        b"B" + struct.pack("<I", 0xFFFFFFFF) + b"abc.",
        b"\x8d" + struct.pack("<Q", 1 << 62) + b"abc.",
        b"\x95" + struct.pack("<Q", 1 << 62) + b"K\x01.",
        b"\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
        b"K\x01r" + struct.pack("<I", 0xFFFFFFFF) + b".",
    ],
)
def test_sizes_of_steps_are_not_believed(tmp_path: Path, steps: bytes) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(b"\x80\x04" + steps)
    tracemalloc.start()
    with pytest.raises(WeightsError):
        read_training_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_nested_pairs_cost_nothing(tmp_path: Path) -> None:
    """2^200 leaves, were they ever walked: as a key, as a shape, as an element type, as a name."""
    path = tmp_path / "x.pdparams"
    bomb = b"K\x01" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(200))
    array = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01"
    dtype = b"cnumpy\ndtype\n" + text("f4") + b"\x85R"
    for steps in (
        b"}" + bomb + b"K\x01s.",
        bomb + text("x") + b"\x93.",
        bomb + b".",
        b"}" + text("w") + bomb + b"s.",
        b"}" + text("w") + array + bomb + dtype + b"\x89" + text("") + b"tbs.",
        b"}" + text("w") + array + b")" + bomb + b"\x89" + text("") + b"tbs.",
        b"cnumpy\ndtype\n" + bomb + b"\x85R.",
        b"cnumpy\ndtype\n" + text("f4") + b"\x85R" + bomb + b"b.",
    ):
        path.write_bytes(b"\x80\x02" + steps)
        with pytest.raises(WeightsError):
            read_training_checkpoint(path)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1 << 28,), r"w has shape \[268435456\], which needs 1,073,741,824 bytes.*holds 16"),
        ((1 << 62, 1 << 62), r"which needs .* holds 16"),
        ((3,), r"which needs 12 bytes; the file holds 16"),
        ((-4,), "not all numbers of 1 or more"),
        ((0, 1 << 62), "not all numbers of 1 or more"),
        ((1 << 2000,), "not all numbers of 1 or more"),
        ((True, 4), "not all numbers of 1 or more"),
        (("4",), "not all numbers of 1 or more"),
        ((1,) * 17, "a shape of 17 sizes"),
    ],
)
def test_shapes_are_held_to_the_bytes_that_are_there(
    tmp_path: Path, shape: tuple[Any, ...], expected: str
) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps({"w": Forged(shape)}, 4))
    tracemalloc.start()
    with pytest.raises(WeightsError, match=expected):
        read_training_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


class Forged:
    """Pickled as an array of four values that claims another shape."""

    def __init__(self, shape: tuple[Any, ...]) -> None:
        self.shape = shape

    def __reduce__(self) -> tuple[Any, ...]:
        function, arguments, state = np.zeros(4, np.float32).__reduce__()[:3]
        return function, arguments, (state[0], self.shape, *state[2:])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros(2, np.float16), "'<f2' .half precision.; float32 weights are needed"),
        (np.zeros(2, np.uint16), "'<u2' .half precision.; float32 weights are needed"),
        (np.zeros(2, np.float64), "'<f8'; float32 weights are needed"),
        (np.zeros(2, ">f4"), "'>f4'; float32 weights are needed"),
        (np.array([1, None], object), "'.O8'; float32 weights are needed"),
        ({"step": 3}, "w is a dict, expected a tensor; is this the state of an optimizer"),
        (3.5, "w is a float, expected a tensor"),
    ],
)
def test_what_is_no_float32_tensor_is_named(tmp_path: Path, values: Any, expected: str) -> None:
    path = tmp_path / "x.pdparams"
    path.write_bytes(pickle.dumps({"w": values}, 4))
    with pytest.raises(WeightsError, match=expected):
        read_training_checkpoint(path)


def test_other_files_are_refused(tmp_path: Path, network: nn.Layer) -> None:
    path = tmp_path / "x.pdparams"
    paddle.save(network[0].weight, str(path), use_binary_format=True)
    with pytest.raises(WeightsError, match="not a checkpoint written by paddle.save"):
        read_training_checkpoint(path)
    paddle.save(network[0].weight, str(path))
    with pytest.raises(WeightsError, match="holds a tuple, expected a mapping"):
        read_training_checkpoint(path)
    path.write_bytes(pickle.dumps({"w": np.ones(2, np.float32), "UnpackBigParamInfor@@": {}}, 4))
    with pytest.raises(WeightsError, match="cut into slices"):
        read_training_checkpoint(path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_training_checkpoint(tmp_path / "none.pdparams")


def test_every_truncation_is_refused(tmp_path: Path, network: nn.Layer) -> None:
    path = tmp_path / "x.pdparams"
    paddle.save(network.state_dict(), str(path))
    content = path.read_bytes()
    for length in range(1, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="half-downloaded"):
            read_training_checkpoint(path)


def test_one_array_under_many_names_does_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pdparams"
    array = np.ones(1 << 18, np.float32)
    path.write_bytes(pickle.dumps({f"t{n}": array for n in range(500)}, 4))
    tracemalloc.start()
    with pytest.raises(WeightsError, match="larger than its .* bytes: the same array"):
        read_training_checkpoint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * array.nbytes
