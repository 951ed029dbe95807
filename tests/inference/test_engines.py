"""Engines of one exported model: what they say of inputs and files that they cannot take."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.variant import Precision, Variant
from ocr_pipeline.errors import ConfigError, EngineError
from ocr_pipeline.inference.load import open_engine
from ocr_pipeline.inference.onnx_engine import OnnxEngine
from ocr_pipeline.inference.openvino_engine import OpenVinoEngine, OpenVinoRecognizer
from ocr_pipeline.ops.ctc import best_of_logits, decode_best, decode_greedy
from ocr_pipeline.ops.golden import golden_lines
from ocr_pipeline.ops.resize import rec_input
from tests.conftest import ExportedPair

CONFIG = EngineConfig()
FP32 = [Variant(backend, "fp32") for backend in ("paddle", "onnx", "openvino")]


@pytest.mark.parametrize("variant", FP32, ids=lambda v: v.name)
def test_batch_and_width_are_free_and_calls_may_come_from_threads(
    variant: Variant, exported_tiny: ExportedPair
) -> None:
    engine = open_engine(ExportedModel.load(exported_tiny.rec), variant, CONFIG)
    random = np.random.default_rng(3)
    shapes = [(1, 320), (3, 320), (2, 704), (1, 64)] * 2
    inputs = [random.uniform(-1, 1, (n, 3, 48, w)).astype(np.float32) for n, w in shapes]
    alone = [engine.run(images) for images in inputs]
    for (batch, width), probs in zip(shapes, alone, strict=True):
        assert probs.shape == (batch, width // 8, 6906)
        np.testing.assert_allclose(probs.sum(axis=2), 1, atol=1e-4)
    found: dict[int, object] = {}

    def work(number: int) -> None:
        found[number] = np.array_equal(engine.run(inputs[number]), alone[number])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(len(inputs)), True)


def test_a_signal_after_engines_were_freed_is_handled(exported_tiny: ExportedPair) -> None:
    first, second = (str(exported_tiny.det / "openvino"), str(exported_tiny.rec / "openvino"))
    code = f"""
import signal
from pathlib import Path
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference.openvino_engine import OpenVinoEngine
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
one = OpenVinoEngine(Path({first!r}), EngineConfig(), "fp32")
two = OpenVinoEngine(Path({second!r}), EngineConfig(), "fp32")
del one
del two
signal.raise_signal(signal.SIGTERM)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "handled\n"), result.stderr


@pytest.mark.parametrize("variant", FP32[1:], ids=lambda v: v.name)
def test_an_input_out_of_range_is_said_with_its_shape(
    variant: Variant, exported_tiny: ExportedPair
) -> None:
    engine = open_engine(ExportedModel.load(exported_tiny.rec), variant, CONFIG)
    for shape in ((1, 3, 32, 320), (1, 1, 48, 320)):
        with pytest.raises(
            EngineError, match=rf"cannot run the network on an input of \({shape[0]}"
        ):
            engine.run(np.zeros(shape, np.float32))
    assert engine.run(np.zeros((1, 3, 48, 320), np.float32)).shape == (1, 40, 6906)


def test_files_that_are_no_graph_are_refused(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.xml", "model.bin"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(EngineError, match="ONNX Runtime cannot load it"):
        OnnxEngine(tmp_path, CONFIG)
    with pytest.raises(EngineError, match="OpenVINO cannot load it"):
        OpenVinoEngine(tmp_path, CONFIG, "fp32")


def test_a_runtime_that_is_absent_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineError, match=r"install ocr_pipeline\[openvino\]"):
        OpenVinoEngine(tmp_path, CONFIG, "fp32")
    with pytest.raises(EngineError, match=r"install ocr_pipeline\[onnx\]"):
        OnnxEngine(tmp_path, CONFIG)


def test_a_precision_or_device_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocr_pipeline.inference.openvino_engine.computes_bf16", lambda: False)
    with pytest.raises(
        EngineError, match="does not compute in bf16; set engine.variant=openvino-fp32"
    ):
        OpenVinoEngine(tmp_path, CONFIG, "bf16")
    gpu = EngineConfig(device="gpu")
    with pytest.raises(EngineError, match="device gpu: OpenVINO is run on the CPU here"):
        OpenVinoEngine(tmp_path, gpu, "fp32")
    with pytest.raises(EngineError, match="device gpu: ONNX Runtime is run on the CPU here"):
        OnnxEngine(tmp_path, gpu)


def test_variants_have_names_and_folders() -> None:
    assert Variant.parse("openvino-bf16") == Variant("openvino", "bf16")
    assert Variant("openvino", "bf16").folder == Variant("openvino", "fp32").folder == "openvino"
    assert Variant("openvino", "int8").folder == "openvino_int8"
    with pytest.raises(ConfigError, match="paddle does not compute in bf16 here; allowed: fp32"):
        Variant("paddle", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_openvino_says_the_same_with_and_without_the_softmax(
    precision: Precision, exported_tiny: ExportedPair
) -> None:
    rec, det = ExportedModel.load(exported_tiny.rec), ExportedModel.load(exported_tiny.det)
    if f"openvino-{precision}" not in rec.card.backends:
        pytest.skip(f"the stock model is not exported in {precision} here")
    charset = rec.charset()
    assert charset is not None
    engine = OpenVinoRecognizer(rec.folder / "openvino", CONFIG, precision)
    for line in golden_lines():
        images = rec_input(line, RecImageSpec())[None]
        probs = engine.run(images)
        np.testing.assert_allclose(probs.sum(axis=2), 1, atol=1e-5)
        (expected,) = decode_greedy(probs, charset)
        best = engine.with_logits(images, lambda logits: best_of_logits(logits, charset))
        (found,) = decode_best(*best, charset)
        assert found.text == expected.text
        assert found.confidence == pytest.approx(expected.confidence, abs=1e-6)
    with pytest.raises(EngineError, match="does not end in a softmax: it is no recogn"):
        OpenVinoRecognizer(det.folder / "openvino", CONFIG, precision)
