"""A small network of our own; the accuracy of real ones is measured, see docs/int8.md."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, SourceCard
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import ExportError
from ocr_pipeline.export import int8
from ocr_pipeline.export.int8 import LEAST_SAMPLES, Calibration, save_int8
from ocr_pipeline.export.int8_worker import Inputs, stem
from ocr_pipeline.openvino_environment import forbid_openvino_telemetry, openvino_core
from ocr_pipeline.ops.charset import Charset

forbid_openvino_telemetry()
openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("nncf", reason="NNCF is not installed")

SPEC = RecModelSpec(size="small", classes=9, image=RecImageSpec(min_width=64, max_width=128))
_SAMPLES = 40


def picture(number: int) -> np.ndarray:
    random = np.random.default_rng(number)
    return random.integers(0, 256, (48, 60 + number, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for number in range(_SAMPLES):
        assert cv2.imwrite(str(root / f"{number}.png"), picture(number))
    samples = [RecSample(f"{n}.png", "ab", 48, 60 + n) for n in range(_SAMPLES)]
    return Dataset.write(
        root / "dataset",
        task="rec",
        sources=[SourceCard(name="mine", images=str(root))],
        splits={"train": samples, "val": samples[:1]},
        charset=Charset(["a", "b"]),
        config={},
        made_by={},
    ).folder


def weights(shape: tuple[int, ...], seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=shape)
    return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``[N, 3, 48, W]``: two convolutions, a depthwise one, one more; as ONNX and as IR."""
    folder = tmp_path_factory.mktemp("network")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    layers = [("a", (16, 3, 3, 3), 1), ("b", (16, 16, 3, 3), 1), ("c", (16, 1, 3, 3), 16)]
    layers.append(("d", (8, 16, 1, 1), 1))
    nodes, values, last = [], [], "images"
    for seed, (name, shape, group) in enumerate(layers):
        values.append(onnx.numpy_helper.from_array(weights(shape, seed), f"w_{name}"))
        pads = [shape[2] // 2] * 4
        entry = [last, f"w_{name}"]
        nodes.append(
            helper.make_node("Conv", entry, [name], name=f"Conv.{name}", group=group, pads=pads)
        )
        nodes.append(helper.make_node("Relu", [name], [f"r_{name}"], name=f"Relu.{name}"))
        last = f"r_{name}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", floats, ["n", 3, 48, "w"])],
        [helper.make_tensor_value_info(last, floats, ["n", 8, 48, "w"])],
        values,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    converted = openvino_core().read_model(folder / "model.onnx")
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    return folder


def run(file: Path, images: np.ndarray) -> np.ndarray:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino_core().compile_model(file, "CPU", settings)([images])[0]


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square of the difference, as a share of that of the values."""
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()))


def test_openvino_in_int8_is_near_and_its_first_convolutions_are_float(
    network: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_int8(network, tmp_path / "q", "openvino", SPEC, Calibration(dataset, 40, 0))
    assert sorted(file.name for file in (tmp_path / "q").iterdir()) == ["model.bin", "model.xml"]
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    graph = openvino_core().read_model(tmp_path / "q" / "model.xml")
    fed = {
        node.get_friendly_name(): node.input_value(0).get_node().get_type_name()
        for node in graph.get_ordered_ops()
        if "Convolution" in node.get_type_name()
    }
    assert fed["Conv.a"] != "FakeQuantize"
    assert fed["Conv.b"] != "FakeQuantize"
    assert fed["Conv.c"] == fed["Conv.d"] == "FakeQuantize"
    images = Inputs(Dataset.load(dataset), SPEC, 4, 1)
    for one in images:
        expected, found = run(network / "model.xml", one), run(tmp_path / "q" / "model.xml", one)
        assert 0 < error(found, expected) < 0.05


def test_onnx_in_int8_is_near(network: Path, dataset: Path, tmp_path: Path) -> None:
    save_int8(network, tmp_path / "q", "onnx", SPEC, Calibration(dataset, 40, 0))
    graph = onnx.load(tmp_path / "q" / "model.onnx")
    kinds = [node.op_type for node in graph.graph.node]
    assert "QuantizeLinear" in kinds
    assert "DequantizeLinear" in kinds
    (one,) = Inputs(Dataset.load(dataset), SPEC, 1, 1)
    expected, found = run(network / "model.onnx", one), run(tmp_path / "q" / "model.onnx", one)
    assert 0 < error(found, expected) < 0.05


def test_the_seed_decides_which_samples_are_taken(dataset: Path) -> None:
    loaded = Dataset.load(dataset)
    first, again, other = (Inputs(loaded, SPEC, 10, seed) for seed in (0, 0, 1))
    assert len(first) == 10
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    widths = [[one.shape[3] for one in inputs] for inputs in (first, other)]
    sums = [sum(float(one.sum()) for one in inputs) for inputs in (first, other)]
    assert sums[0] != sums[1]
    assert set(widths[0]) <= {64, 128}
    assert len(Inputs(loaded, SPEC, 1000, 0)) == _SAMPLES


def test_pages_are_calibrated_on_at_a_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = np.zeros((1200, 2400, 3), np.uint8)

    class Pages:
        def samples(self, split: str) -> list[int]:
            return [0]

        def pictures(self, split: str) -> Any:
            class Reader:
                def read(self, sample: int) -> np.ndarray:
                    return page

            return Reader()

    (one,) = Inputs(Pages(), DetModelSpec(size="small"), 1, 0)
    assert one.shape == (1, 3, 480, 960)


def test_the_stem_ends_at_the_first_depthwise_convolution() -> None:
    def kinds(words: str) -> list[tuple[str, bool]]:
        return [(f"{n}", word == "d") for n, word in enumerate(words)]

    assert stem(kinds("cccccdc")) == ["0", "1", "2", "3", "4"]
    assert stem(kinds("cdccc")) == ["0"]
    assert stem(kinds("cccccccc")) == ["0", "1", "2", "3", "4"]
    assert stem([]) == []


def test_what_cannot_be_calibrated_is_refused(
    network: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "q"

    def refused(told: str, calibration: Calibration | None, spec: Any = SPEC) -> None:
        with pytest.raises(ExportError, match=told):
            save_int8(network, out, "openvino", spec, calibration)
        assert not out.exists()

    refused("golden pictures are too few.* --dataset", None)
    few = Calibration(dataset, LEAST_SAMPLES - 1, 0)
    refused(f"calibrated on {LEAST_SAMPLES - 1} samples; at least {LEAST_SAMPLES}", few)
    good = Calibration(dataset, 40, 0)
    refused("is for rec, the model for det; give the dataset", good, DetModelSpec(size="small"))
    monkeypatch.setattr(int8, "find_spec", lambda _: None)
    refused("NNCF is not installed; install ocr_pipeline.int8.", good)


def test_a_quantiser_that_fails_is_told_with_its_last_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"cannot quantise the network \(exit code 1\): .*model"):
        save_int8(tmp_path / "empty", tmp_path / "q", "openvino", SPEC, Calibration(dataset, 40, 0))
    monkeypatch.setattr(int8, "_TIMEOUT_S", 0.1)
    with pytest.raises(ExportError, match="not done after 0.1 s; set calibration_samples lower"):
        save_int8(tmp_path / "empty", tmp_path / "r", "openvino", SPEC, Calibration(dataset, 40, 0))


def test_the_quantiser_sends_nothing(tmp_path: Path) -> None:
    """In a process like the worker's, where pytest is not imported: NNCF would spare it."""
    code = (
        "import sys, json; from ocr_pipeline.openvino_environment import *;"
        "forbid_openvino_telemetry(); import nncf; from nncf.telemetry.wrapper import telemetry;"
        "sys.stdout.write(json.dumps([type(telemetry).__name__, "
        "[m for m in sys.modules if m.startswith('openvino_telemetry.')]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["MagicMock", []]
