from pathlib import Path

import numpy as np
import paddle
import pytest

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.cli import main
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import ArtifactError, EngineError, ExportError
from ocr_pipeline.export import export_static, static
from ocr_pipeline.inference.load import (
    load_detector,
    load_recognizer,
    self_test_detector,
    self_test_recognizer,
)
from ocr_pipeline.inference.paddle_engine import PaddleEngine
from ocr_pipeline.models import layers
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import ExportedPair


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_an_export_holds_exactly_these_files(exported_tiny: ExportedPair) -> None:
    program = {"paddle/inference.json", "paddle/inference.pdiparams"}
    golden = {f"golden/{number:02d}.png" for number in range(4)}
    assert files_of(exported_tiny.rec) == program | golden | {"exported.json", "charset.txt"}
    assert files_of(exported_tiny.det) == program | {
        "golden/00.png",
        "golden/01.png",
        "exported.json",
    }


def test_parity_figures_are_within_the_tolerance(exported_tiny: ExportedPair) -> None:
    for folder, expected in ((exported_tiny.rec, 1e-4), (exported_tiny.det, 1e-3)):
        parity = ExportedModel.load(folder).card.backends["paddle"]
        assert parity.tolerance == 1e-3
        assert 0 < parity.max_abs_diff <= expected
        assert parity.same_result


def test_an_exported_model_passes_its_own_self_test(exported_tiny: ExportedPair) -> None:
    det, rec = ExportedModel.load(exported_tiny.det), ExportedModel.load(exported_tiny.rec)
    self_test_detector(load_detector(det, EngineConfig()), det)
    self_test_recognizer(load_recognizer(rec, EngineConfig()), rec)
    with pytest.raises(ArtifactError, match="holds a recognizer; give a detector"):
        load_detector(rec, EngineConfig())
    with pytest.raises(ArtifactError, match="holds a detector; give a recognizer"):
        load_recognizer(det, EngineConfig())


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
    with pytest.raises(ExportError, match=r"refused, nothing was written: .* \(allowed 0\.001\)"):
        export_static(load_released(f"ppocrv6_tiny_{task}"), tmp_path / "out", ExportConfig())
    assert list(tmp_path.iterdir()) == []


def test_a_refused_export_ends_with_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    released_weights: None,
) -> None:
    out = tmp_path / "out"
    arguments = ["ocr-pipeline", "export", "ppocrv6_tiny_rec", str(out), "rec_tolerance=1e-12"]
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
    exported = export_static(model, tmp_path / "medium", ExportConfig())
    assert exported.card.model == spec.deployed()
    assert exported.card.backends["paddle"].same_result
