from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.cli import main
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.errors import ArtifactError, EngineError, ExportError
from ocr_pipeline.export import export_model, static
from ocr_pipeline.export.onnx import save_onnx
from ocr_pipeline.export.openvino import save_openvino
from ocr_pipeline.inference.choose import load_detector, load_recognizer
from ocr_pipeline.inference.onnx_engine import OnnxEngine
from ocr_pipeline.inference.paddle_engine import PaddleEngine
from ocr_pipeline.models import layers
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import ExportedPair
from tests.preprocess.labelled import save, write_list

TEXTS = ("No. 20260317-0042", "TOTAL 1,280.50", "PaddleOCR", "6222 0210 0117 3345 908")
"""Of the golden lines."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden lines and one that is stretched to fill its bucket, all to validate on."""
    root = tmp_path_factory.mktemp("labels")
    lines = golden_lines()
    lines.append(np.asarray(cv2.resize(lines[1], (384, 48)), dtype=np.uint8))
    rows = [f"{number}.png\t{text}" for number, text in enumerate([*TEXTS, TEXTS[1]])]
    for number, line in enumerate(lines):
        save(root, f"{number}.png", line)
    save(root, "train.png")
    config = PrepareConfig.model_validate(
        {
            "images": root,
            "train_labels": [write_list(root / "train.txt", ["train.png\tABC"])],
            "val_labels": [write_list(root / "val.txt", rows)],
            "out": root / "dataset",
            "workers": 0,
        }
    )
    return prepare(config, load_released("ppocrv6_tiny_rec").charset).folder


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_an_export_holds_exactly_these_files(exported_tiny: ExportedPair) -> None:
    program = {"paddle/inference.json", "paddle/inference.pdiparams"}
    program |= {"onnx/model.onnx", "openvino/model.xml", "openvino/model.bin"}
    golden = {f"golden/{number:02d}.png" for number in range(4)}
    assert files_of(exported_tiny.rec) == program | golden | {"exported.json", "charset.txt"}
    assert files_of(exported_tiny.det) == program | {
        "golden/00.png",
        "golden/01.png",
        "exported.json",
    }


def test_parity_figures_are_within_the_tolerance(exported_tiny: ExportedPair) -> None:
    for folder, expected in ((exported_tiny.rec, 1e-4), (exported_tiny.det, 1e-3)):
        backends = ExportedModel.load(folder).card.backends
        assert {"paddle-fp32", "onnx-fp32", "openvino-fp32"} <= set(backends)
        for name, parity in backends.items():
            assert parity.same_result
            assert 0 < parity.mean_abs_diff <= parity.max_abs_diff <= parity.tolerance
            if name.endswith("fp32"):
                assert parity.tolerance == 1e-3
                assert parity.max_abs_diff <= expected


def test_an_exported_model_is_for_one_task(exported_tiny: ExportedPair) -> None:
    det, rec = ExportedModel.load(exported_tiny.det), ExportedModel.load(exported_tiny.rec)
    config = EngineConfig(variant="paddle-fp32")
    assert load_detector(det, config).engine.lanes == 1
    assert load_recognizer(rec, config).engine.lanes == 1
    with pytest.raises(ArtifactError, match="holds a recognizer; give a detector"):
        load_detector(rec, config)
    with pytest.raises(ArtifactError, match="holds a detector; give a recognizer"):
        load_recognizer(det, config)


@pytest.mark.parametrize("task", ["det", "rec"])
def test_an_export_that_computes_something_else_is_refused(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, released_weights: None
) -> None:
    def wrong_fold(network: object) -> None:
        layers.fold(network)
        _, unit = next(layers.named_units(network))
        bias = unit.conv.bias
        bias.set_value(bias * 1.2)

    monkeypatch.setattr(static, "fold", wrong_fold)
    with pytest.raises(
        ExportError,
        match=r"refused, nothing was written: paddle-fp32 differs .* \(allowed 0\.001\)",
    ):
        export_model(load_released(f"ppocrv6_tiny_{task}"), tmp_path / "out", ExportConfig())
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_ends_with_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    released_weights: None,
) -> None:
    out = tmp_path / "out"
    arguments = [
        "ocr-pipeline",
        "export",
        "ppocrv6_tiny_rec",
        str(out),
        "rec_tolerance.fp32=1e-12",
    ]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "export refused, nothing was written" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_batch_and_width_are_free(exported_tiny: ExportedPair) -> None:
    engine = PaddleEngine(exported_tiny.rec / "paddle", EngineConfig())
    for batch, width in ((1, 320), (3, 320), (2, 704), (1, 64)):
        probs = engine.run(np.zeros((batch, 3, 48, width), np.float32))
        assert probs.shape == (batch, width // 8, 6906)
        np.testing.assert_allclose(probs.sum(axis=2), 1, atol=1e-4)


def test_files_that_are_no_program_are_refused_by_the_engine(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text("{}")
    (tmp_path / "inference.pdiparams").write_bytes(b"")
    with pytest.raises(EngineError, match=r"Paddle Inference cannot load it"):
        PaddleEngine(tmp_path, EngineConfig())


def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="device gpu: .* is the CPU build; .*engine.device=cpu"):
        PaddleEngine(tmp_path, EngineConfig(device="gpu"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["det", "rec"])
def test_ppocrv6_medium_trains_and_exports(task: str, tmp_path: Path) -> None:
    """From random weights: its released ones are in no wheel."""
    paddle.seed(4)
    if task == "det":
        spec = DetModelSpec(size="medium", threshold=True, auxiliary=True, form="multi_branch")
        pictures, charset = golden_pages(), None
    else:
        spec = RecModelSpec(size="medium", classes=202, form="multi_branch")
        pictures, charset = golden_lines(), Charset([chr(0x4E00 + n) for n in range(200)])
    network = build_network(spec)
    images = paddle.randn([2, 3, 64, 96] if task == "det" else [2, 3, 48, 96])
    optimizer = paddle.optimizer.Adam(1e-4, parameters=network.parameters())
    losses = []
    for _ in range(4):
        out = network(images)
        loss = ((out[0] - 1) ** 2).mean()
        if task == "det":
            loss = loss + sum((head.prob_logits**2).mean() for head in out.auxiliary)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    network.eval()
    model = TrainableModel(spec, network, charset, pictures, started_from="random", sha256="")
    exported = export_model(model, tmp_path / "medium", ExportConfig())
    assert exported.card.model == spec.deployed()
    assert exported.card.backends["paddle-fp32"].same_result


def test_figures_on_a_validation_part_are_in_the_card_and_in_the_report(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    released_weights: None,
) -> None:
    out, report = tmp_path / "out", tmp_path / "parity.md"
    words = ["ocr-pipeline", "export", "ppocrv6_tiny_rec", str(out), "--to", "static,onnx,tensorrt"]
    words += ["--dataset", str(dataset), "--report", str(report), "validation_samples=5"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    backends = ExportedModel.load(out).card.backends
    assert list(backends) == ["paddle-fp32", "onnx-fp32"]
    for parity in backends.values():
        drop = parity.drop
        assert drop is not None
        assert (drop.metric, drop.samples, drop.differing) == ("exact", 5, 0)
        assert drop.value == drop.reference
        assert drop.low == drop.high == 0
    said = capsys.readouterr().out
    assert "passed onnx-fp32: largest difference" in said
    assert "not run tensorrt-fp32: written for another machine" in said
    text = report.read_text()
    assert "on 5 validation samples" in text
    assert "| onnx-fp32 |" in text


def test_a_form_that_reads_worse_is_refused(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, released_weights: None
) -> None:
    """Same on the golden pictures, worse on those that nobody looked at."""
    run = OnnxEngine.run

    def blind(self: OnnxEngine, images: NDArray[np.float32]) -> NDArray[np.float32]:
        probs = run(self, images)
        if images[..., -1].any():  # a line that fills its bucket: no golden picture does
            probs = probs[..., ::-1].copy()
        return probs

    monkeypatch.setattr(OnnxEngine, "run", blind)
    config = ExportConfig(to=("static", "onnx"), dataset=dataset, validation_samples=5)
    with pytest.raises(ExportError, match=r"onnx-fp32 .*exact 100\.00 -> .* points less"):
        export_model(load_released("ppocrv6_tiny_rec"), tmp_path / "out", config)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="precision bf16: none of static, onnx computes in it"):
        ExportConfig(to=("static", "onnx"), precision=("bf16",))
    with pytest.raises(ValueError, match="int8: is calibrated on a dataset"):
        ExportConfig(to=("openvino",), precision=("int8",))
    wanted = ExportConfig(to=("openvino",), precision=("bf16",)).variants()
    assert [v.name for v in wanted] == ["paddle-fp32", "openvino-fp32", "openvino-bf16"]


def test_a_dataset_for_the_other_task_is_refused(
    dataset: Path, tmp_path: Path, released_weights: None
) -> None:
    with pytest.raises(ExportError, match="is for rec, the model for det"):
        export_model(
            load_released("ppocrv6_tiny_det"), tmp_path / "out", ExportConfig(dataset=dataset)
        )


def test_a_converter_that_is_absent_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, released_weights: None
) -> None:
    monkeypatch.setattr("ocr_pipeline.export.onnx.find_spec", lambda _: None)
    config = ExportConfig(to=("onnx",))
    with pytest.raises(ExportError, match=r"paddle2onnx is not installed; .*\[convert\]"):
        export_model(load_released("ppocrv6_tiny_rec"), tmp_path / "out", config)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_none_is_said_by_the_converter(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text("{}")
    (tmp_path / "inference.pdiparams").write_bytes(b"")
    with pytest.raises(ExportError, match="paddle2onnx ended with exit code .* wrote no ONNX file"):
        save_onnx(tmp_path, tmp_path / "onnx")
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ExportError, match="OpenVINO cannot convert the ONNX graph"):
        save_openvino(tmp_path, tmp_path / "openvino")


def test_decode_rules_may_be_changed_at_export(tmp_path: Path, released_weights: None) -> None:
    model = load_released("ppocrv6_tiny_det")
    config = ExportConfig(decode=DBDecodeSpec(unclip_ratio=2.0))
    exported = export_model(model, tmp_path / "out", config)
    assert isinstance(exported.card.model, DetModelSpec)
    wanted = model.spec.decode.model_copy(update={"unclip_ratio": 2.0})
    assert exported.card.model.decode == wanted
    usual = load_detector(ExportedModel.load(exported_folder_of(model, tmp_path)), EngineConfig())
    wide = load_detector(exported, EngineConfig())
    (page, *_) = golden_pages()
    heights = [
        np.mean([np.ptp(p.points[:, 1]) for p in detector.detect(page).polygons])
        for detector in (usual, wide)
    ]
    assert heights[1] > heights[0] + 5
    with pytest.raises(ExportError, match="decode: is for detectors, this is a recognizer"):
        export_model(load_released("ppocrv6_tiny_rec"), tmp_path / "rec", config)


def exported_folder_of(model: TrainableModel, root: Path) -> Path:
    return export_model(model, root / "usual", ExportConfig()).folder
