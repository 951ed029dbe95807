from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.pdmodel_reader import read_pdmodel
from tests.weights import paddle_files as write
from tests.weights.real_files import V4, count_values, real_folder

KINDS = {
    "det": {"conv": 62, "conv_transpose": 2, "batch_norm": 3, "affine": 52},
    "rec": {"conv": 38, "batch_norm": 6, "affine": 56, "layer_norm": 5, "linear": 9},
    "cls": {"conv": 53, "batch_norm": 35, "linear": 1},
}
VALUES = {"det": 1_171_721, "rec": 2_690_221, "cls": 133_628}


@pytest.mark.parametrize("task", ["det", "rec", "cls"])
def test_the_released_v4_is_read_whole(tmp_path: Path, task: str) -> None:
    records = read_pdmodel(real_folder(V4[task], tmp_path) / "inference.pdmodel")
    assert Counter(record.kind for record in records) == KINDS[task]
    assert count_values(records) == VALUES[task]
    if task == "rec":
        assert records[-1].weight.shape == (120, 6625)
    for record in records:
        assert record.variance is None or (record.variance > 0).all()


TENSORS = {
    name: np.random.default_rng(5).uniform(0.5, 2, shape).astype(np.float32)
    for name, shape in {
        "a.kernel": (4, 3, 3, 3),
        "a.bias": (4,),
        "b.scale": (4,),
        "b.bias": (4,),
        "b.mean": (4,),
        "b.variance": (4,),
        "c.scale": (1,),
        "c.shift": (1,),
        "d.kernel": (4, 3, 2, 2),
        "d.bias": (6,),
        "e.kernel": (5, 6),
        "e.bias": (5,),
        "f.scale": (5,),
        "f.bias": (5,),
    }.items()
}
NORM = {"Scale": ["b.scale"], "Bias": ["b.bias"], "Mean": ["b.mean"], "Variance": ["b.variance"]}
OPERATORS = [
    write.operator("feed", {"X": ["feed"]}, {"Out": ["x"]}),
    write.operator("conv2d", {"Input": ["x"], "Filter": ["a.kernel"]}, {"Output": ["1"]}),
    write.operator("reshape2", {"X": ["a.bias"]}, {"Out": ["a.map"], "XShape": ["s"]}),
    write.operator("elementwise_add", {"X": ["1"], "Y": ["a.map"]}, {"Out": ["2"]}),
    write.operator("batch_norm", {"X": ["2"], **NORM}, {"MeanOut": ["b.mean"], "Y": ["3"]}),
    write.operator("elementwise_mul", {"X": ["c.scale"], "Y": ["3"]}, {"Out": ["4"]}),
    write.operator("dropout", {"X": ["4"]}, {"Mask": ["m"], "Out": ["5"]}),
    write.operator("elementwise_add", {"X": ["5"], "Y": ["c.shift"]}, {"Out": ["6"]}),
    write.operator(
        "conv2d_transpose",
        {"Input": ["6"], "Filter": ["d.kernel"], "Bias": ["d.bias"]},
        {"Output": ["7"]},
        groups=2,
    ),
    write.operator("matmul_v2", {"X": ["7"], "Y": ["e.kernel"]}, {"Out": ["8"]}, trans_y=True),
    write.operator("elementwise_add", {"X": ["8"], "Y": ["e.bias"]}, {"Out": ["9"]}),
    write.operator(
        "layer_norm", {"X": ["9"], "Scale": ["f.scale"], "Bias": ["f.bias"]}, {"Y": ["10"]}
    ),
    write.operator("fetch", {"X": ["10"]}, {"Out": ["fetch"]}),
]
VARIABLES = [
    write.variable("feed", (), kind=9),
    write.variable("x", (-1, 3, -1, -1), persistable=False),
    *(write.variable(name, values.shape) for name, values in TENSORS.items()),
]


def write_model(folder: Path, *parts: bytes) -> Path:
    (folder / "inference.pdiparams").write_bytes(write.tensor_file(TENSORS))
    path = folder / "inference.pdmodel"
    path.write_bytes(write.program(*parts))
    return path


def test_every_kind_of_layer_takes_its_own_tensors(tmp_path: Path) -> None:
    conv, norm, affine, up, linear, last = read_pdmodel(
        write_model(tmp_path, *VARIABLES, *OPERATORS)
    )
    expected = [
        (conv, "conv", {"weight": "a.kernel", "bias": "a.bias"}),
        (
            norm,
            "batch_norm",
            {"weight": "b.scale", "bias": "b.bias", "mean": "b.mean", "variance": "b.variance"},
        ),
        (affine, "affine", {"weight": "c.scale", "bias": "c.shift"}),
        (up, "conv_transpose", {"weight": "d.kernel", "bias": "d.bias"}),
        (linear, "linear", {"bias": "e.bias"}),
        (last, "layer_norm", {"weight": "f.scale", "bias": "f.bias"}),
    ]
    for record, kind, parts in expected:
        assert record.kind == kind
        for attribute, name in parts.items():
            assert np.array_equal(getattr(record, attribute), TENSORS[name]), (kind, attribute)
    assert np.array_equal(linear.weight, TENSORS["e.kernel"].T)


def test_parameters_of_unknown_layers_are_named(tmp_path: Path) -> None:
    strange = write.operator("gru", {"Weight": ["a.kernel"]}, {"Out": ["1"]})
    with pytest.raises(WeightsError, match=r"a\.kernel \(node gru 1\)"):
        read_pdmodel(write_model(tmp_path, *VARIABLES, strange, *OPERATORS[2:]))


def test_a_bias_of_another_size_is_refused(tmp_path: Path) -> None:
    wrong = write.operator(
        "conv2d",
        {"Input": ["x"], "Filter": ["a.kernel"], "Bias": ["e.bias"]},
        {"Output": ["1"]},
    )
    with pytest.raises(WeightsError, match=r"5 values of bias for a kernel \[4, 3, 3, 3\]"):
        read_pdmodel(write_model(tmp_path, *VARIABLES, wrong))


def test_shapes_of_model_and_tensor_file_must_agree(tmp_path: Path) -> None:
    variables = [v for v in VARIABLES if b"a.bias" not in v] + [write.variable("a.bias", (2, 2))]
    with pytest.raises(WeightsError, match=r"a\.bias has shape \[4\] here and \[2, 2\]"):
        read_pdmodel(write_model(tmp_path, *variables, *OPERATORS))


def test_the_tensor_file_must_be_there(tmp_path: Path) -> None:
    path = write_model(tmp_path, *VARIABLES, *OPERATORS)
    path.with_suffix(".pdiparams").unlink()
    with pytest.raises(WeightsError, match=r"inference\.pdiparams.*beside the model"):
        read_pdmodel(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path, *VARIABLES, *OPERATORS)
    content = path.read_bytes()
    block = len(content) - len(write.block(4, write.number(1, 0)))
    for length in range(0, block, 3):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="not a program of Paddle 2, or half-downloaded"):
            read_pdmodel(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no block of operators"),
        (b"<html>not a model</html>", "unknown form"),
        (write.program(), "its first block has no operators"),
        (write.number(1, 5), "the number 5 where a message is expected"),
        (write.program(write.block(4, write.block(3, b"\xff\xfe"))), "utf-8"),
        (write.program(write.block(3, write.block(1, "w") + write.block(2, write.number(1, 7))
                                   + write.number(3, 1))), "parameter w has no shape"),
    ],
)  # fmt: skip
def test_damaged_programs_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "inference.pdmodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"not a program of Paddle 2.*{expected}"):
        read_pdmodel(path)
