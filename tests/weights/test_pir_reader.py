import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.onnx_reader import read_onnx
from ocr_pipeline.weights.pir_reader import read_pir
from tests.weights import paddle_files as write
from tests.weights.real_files import (
    V5_ONNX,
    V5_PIR,
    assert_same,
    count_values,
    real_file,
    real_folder,
)

KINDS = {
    "det": {"conv": 62, "conv_transpose": 2, "batch_norm": 3, "affine": 52},
    "rec": {"conv": 38, "batch_norm": 6, "affine": 56, "layer_norm": 5, "linear": 9},
}
VALUES = {"det": 1_171_721, "rec": 4_113_181}


@pytest.mark.parametrize("task", ["det", "rec"])
def test_the_released_v5_says_the_same_in_both_formats(tmp_path: Path, task: str) -> None:
    records = read_pir(real_folder(V5_PIR[task], tmp_path))
    assert Counter(record.kind for record in records) == KINDS[task]
    assert count_values(records) == VALUES[task]
    assert all(
        r.weight.shape == (1,) and r.bias.shape == (1,) for r in records if r.kind == "affine"
    )
    assert_same(read_onnx(real_file(V5_ONNX[task])), records)


class Everything(nn.Layer):
    """One layer of each kind that the readers know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3, bias_attr=False)
        self.norm = nn.BatchNorm2D(4)
        self.grouped = nn.Conv2D(4, 4, 3, groups=4)
        self.scale = self.create_parameter([1])
        self.shift = self.create_parameter([1], is_bias=True)
        self.up = nn.Conv2DTranspose(4, 6, 2, stride=2, groups=2)
        self.last_norm = nn.LayerNorm(6)
        self.linear = nn.Linear(6, 5)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.grouped(self.norm(self.conv(x)))
        x = self.up(nn.functional.hardswish(self.scale * x + self.shift))
        x = self.last_norm(x.flatten(2).transpose([0, 2, 1]) * 0.25)
        return self.dropout(self.linear(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Everything, Path]:
    paddle.seed(3)
    network = Everything()
    for tensor in network.state_dict().values():
        tensor.set_value(paddle.uniform(tensor.shape, min=0.5, max=2.0))
    network.eval()
    folder = tmp_path_factory.mktemp("pir")
    spec = paddle.static.InputSpec([None, 3, 16, 16], "float32", "x")
    paddle.jit.save(network, str(folder / "inference"), input_spec=[spec])
    return network, folder


def test_what_this_paddle_saves_is_read_back(saved: tuple[Everything, Path]) -> None:
    network, folder = saved
    records = read_pir(folder)
    kinds = ["conv", "batch_norm", "conv", "affine", "conv_transpose", "layer_norm", "linear"]
    assert [record.kind for record in records] == kinds
    conv, norm, grouped, affine, up, last_norm, linear = records
    assert conv.bias is None
    pairs = [
        (conv.weight, network.conv.weight),
        (norm.weight, network.norm.weight),
        (norm.bias, network.norm.bias),
        (norm.mean, network.norm._mean),
        (norm.variance, network.norm._variance),
        (grouped.weight, network.grouped.weight),
        (grouped.bias, network.grouped.bias),
        (affine.weight, network.scale),
        (affine.bias, network.shift),
        (up.weight, network.up.weight),
        (up.bias, network.up.bias),
        (last_norm.weight, network.last_norm.weight),
        (last_norm.bias, network.last_norm.bias),
        (linear.weight, network.linear.weight),
        (linear.bias, network.linear.bias),
    ]
    for found, tensor in pairs:
        assert np.array_equal(found, tensor.numpy())


def parameter(value: int, name: str, shape: list[int]) -> dict[str, Any]:
    kind = {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, shape, "NCHW", [], 0]}
    return {"#": "p", "A": [0, 1, 1, name], "O": {"%": value, "TT": kind}}


def op(name: str, inputs: list[int], output: int, **attributes: Any) -> dict[str, Any]:
    return {
        "#": f"1.{name}",
        "A": [{"N": key, "AT": {"#": "", "D": value}} for key, value in attributes.items()],
        "I": [{"%": value} for value in inputs],
        "O": [{"%": output}],
    }


def write_model(folder: Path, tensors: dict[str, np.ndarray], ops: list[dict[str, Any]]) -> Path:
    document = {
        "base_code": {"magic": "pir", "version": 1},
        "program": {"regions": [{"blocks": [{"args": [], "ops": ops}]}]},
    }
    (folder / "inference.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "inference.pdiparams").write_bytes(write.tensor_file(tensors))
    return folder


KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_kernel_stored_the_other_way_round_is_turned(tmp_path: Path) -> None:
    ops = [parameter(1, "w", [2, 3]), op("matmul", [9, 1], 10, transpose_y=True)]
    (record,) = read_pir(write_model(tmp_path, {"w": KERNEL}, ops))
    assert np.array_equal(record.weight, KERNEL.T)
    assert record.bias is None


def test_a_scale_without_a_shift_is_no_affine_block(tmp_path: Path) -> None:
    one = np.ones(1, np.float32)
    ops = [
        parameter(1, "w", [2, 3]),
        parameter(2, "s", [1]),
        parameter(3, "t", [1]),
        op("matmul", [9, 1], 10),
        op("multiply", [10, 2], 11),
        op("softmax", [11], 12),
        op("multiply", [12, 2], 13),
        op("add", [13, 3], 14),
        op("clip", [14], 15),
    ]
    model = write_model(tmp_path, {"w": KERNEL, "s": one, "t": one}, ops)
    assert [record.kind for record in read_pir(model)] == ["linear"]


def test_parameters_of_unknown_layers_are_named(tmp_path: Path) -> None:
    ops = [
        parameter(1, "w", [2, 3]),
        parameter(2, "gru.w", [2, 3]),
        op("matmul", [9, 1], 10),
        op("rnn", [10, 2], 11),
    ]
    model = write_model(tmp_path, {"w": KERNEL, "gru.w": KERNEL}, ops)
    with pytest.raises(WeightsError, match=r"1 parameters .*gru\.w \(node rnn %11\)"):
        read_pir(model)


def test_weights_must_be_float32(tmp_path: Path) -> None:
    ops = [parameter(1, "w", [2, 3]), op("matmul", [9, 1], 10)]
    model = write_model(tmp_path, {"w": KERNEL.astype(np.int64)}, ops)
    with pytest.raises(WeightsError, match="w is int64; float32 weights are needed"):
        read_pir(model)


def test_a_computed_kernel_is_refused(tmp_path: Path) -> None:
    ops = [parameter(1, "w", [2, 3]), op("conv2d", [9, 8], 10)]
    with pytest.raises(WeightsError, match=r"conv2d %10: its input 1 \(%8\) is computed"):
        read_pir(write_model(tmp_path, {"w": KERNEL}, ops))


def test_normalisations_must_fit_together(tmp_path: Path) -> None:
    shapes = {"m": 3, "v": 3, "s": 3, "b": 2}
    ops = [parameter(i, name, [n]) for i, (name, n) in enumerate(shapes.items(), start=1)]
    tensors = {name: np.ones(n, np.float32) for name, n in shapes.items()}
    model = write_model(tmp_path, tensors, [*ops, op("batch_norm_", [9, 1, 2, 3, 4], 10)])
    with pytest.raises(WeightsError, match=r"shapes \[\[3\], \[2\], \[3\], \[3\]\], not \[C\]"):
        read_pir(model)


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no layer with weights among its 1 nodes"):
        read_pir(write_model(tmp_path, {}, [op("relu", [9], 10)]))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a program of Paddle 3 .*expected base_code.magic 'pir'"),
        ('{"base_code": {"magic": "other"}}', "base_code.magic is 'other'"),
        ('{"base_code": {"magic": "pir"}, "program": {"regions": []}}', "IndexError"),
        ('{"base_code": {"magic": "pir"}, "program": {}}', "KeyError: 'regions'"),
    ],
)
def test_unknown_structures_are_refused(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "inference.json").write_text(content, encoding="utf-8")
    with pytest.raises(WeightsError, match=expected):
        read_pir(tmp_path)


@pytest.mark.parametrize(
    "ops",
    [
        [{"#": "p"}],
        [{"#": "p", "A": [0, 1, 1, 5], "O": {"%": 1}}],
        [parameter(1, "w", [2]), parameter(2, "w", [2])],
        [parameter(1, "w", [float("inf")])],
        [op("batch_norm_", [1, 2, 3], 4)],
        [op("conv2d", [1, 2], 3, groups="many")],
        [3],
    ],
)
def test_broken_operators_are_refused(tmp_path: Path, ops: list[Any]) -> None:
    with pytest.raises(WeightsError, match="not a program of Paddle 3"):
        read_pir(write_model(tmp_path, {}, ops))
