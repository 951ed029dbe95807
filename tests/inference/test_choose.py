"""Which engine serves is measured; what computes garbage does not."""

import json
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.assets import CACHE_VARIABLE
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.errors import ArtifactError, EngineError
from ocr_pipeline.inference import choose
from ocr_pipeline.inference.choose import open_best, open_pair
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.inference.onnx_engine import OnnxEngine
from ocr_pipeline.inference.openvino_engine import OpenVinoDetector, OpenVinoRecognizer
from ocr_pipeline.inference.paddle_engine import PaddleEngine
from tests.conftest import ExportedPair

CONFIG = EngineConfig()
WAIT_S = 30
ENGINES = (PaddleEngine, OnnxEngine, OpenVinoRecognizer)


@pytest.fixture
def rec(exported_tiny: ExportedPair) -> ExportedModel:
    return ExportedModel.load(exported_tiny.rec)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "_ROUNDS", 2)
    return tmp_path / "cache" / "engines"


def garbage(self: object, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities that are none of this network's."""
    return np.full((len(images), images.shape[3] // 8, 6906), 1 / 6906, np.float32)


def spoil(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an engine compute garbage, whichever way it is asked."""
    monkeypatch.setattr(kind, "run", garbage)
    if hasattr(kind, "with_logits"):
        monkeypatch.setattr(kind, "with_logits", lambda self, x, use: use(garbage(self, x)))


def test_the_fastest_of_those_that_pass_serves_and_is_remembered(
    rec: ExportedModel, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, choose.__name__):
        opened = open_best(rec, CONFIG)
    decision = opened.decision
    times = {c.variant: c.milliseconds for c in decision.candidates}
    assert set(times) == set(rec.card.backends)
    assert all(value is not None and value > 0 for value in times.values())
    assert decision.chosen == min(times, key=lambda name: times[name] or 0)
    assert f"{decision.chosen} serves: paddle-fp32 " in caplog.text
    again = open_best(rec, CONFIG).decision
    assert again.candidates == list(decision.candidates)
    assert again.reason.endswith("(measured before)")
    (kept,) = cache.iterdir()
    assert json.loads(kept.read_text())["chosen"] == decision.chosen


def test_an_engine_that_computes_garbage_is_refused_by_name(
    rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(OpenVinoRecognizer, monkeypatch)
    decision = open_best(rec, CONFIG).decision
    refused = {c.variant: c.refused for c in decision.candidates if c.refused}
    assert set(refused) == {name for name in rec.card.backends if name.startswith("openvino")}
    assert "self-test of openvino-fp32 failed on golden picture 0" in refused["openvino-fp32"]
    assert "must not serve" in refused["openvino-fp32"]
    assert not decision.chosen.startswith("openvino")
    assert "openvino-fp32 refused" in decision.reason


def test_what_was_chosen_before_and_fails_now_is_measured_again(
    rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_best(rec, CONFIG).decision.chosen
    (kind,) = [e for e in ENGINES if e.__name__.lower().startswith(before.split("-")[0])]
    spoil(kind, monkeypatch)
    after = open_best(rec, CONFIG).decision
    assert after.chosen != before
    assert next(c.refused for c in after.candidates if c.variant == before)


def test_where_none_passes_each_is_named(
    rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ENGINES:
        spoil(kind, monkeypatch)
    with pytest.raises(EngineError, match="no engine can serve it .*paddle-fp32: .*onnx-fp32: "):
        open_best(rec, CONFIG)
    assert not cache.exists()


def test_a_measurement_is_for_this_machine_and_these_versions(
    rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_best(rec, CONFIG)
    monkeypatch.setattr(choose, "_processor", lambda: "another one")
    assert not open_best(rec, CONFIG).decision.reason.endswith("(measured before)")
    monkeypatch.setattr(choose, "installed_versions", lambda packages: dict.fromkeys(packages, "9"))
    assert not open_best(rec, CONFIG).decision.reason.endswith("(measured before)")
    assert not open_best(rec, EngineConfig(threads=1)).decision.reason.endswith("(measured before)")
    assert len(list(cache.iterdir())) == 4


def test_a_damaged_memory_is_said_and_measured_again(
    rec: ExportedModel, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_best(rec, CONFIG)
    (kept,) = cache.iterdir()
    for damage in ("{", "[]", '{"chosen": "abacus-fp32", "candidates": [], "reason": ""}'):
        kept.write_text(damage)
        caplog.clear()
        assert not open_best(rec, CONFIG).decision.reason.endswith("(measured before)")
        assert "not readable, so engines are measured again" in caplog.text


def test_a_cache_that_cannot_be_written_costs_time_only(
    rec: ExportedModel, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where a folder should be")
    assert open_best(rec, CONFIG).decision.candidates
    assert "the choice of the engine is not kept" in caplog.text


def test_an_engine_set_by_hand_is_tested_and_not_timed(
    rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EngineConfig(variant="onnx-fp32")
    decision = open_best(rec, config).decision
    assert (decision.chosen, decision.reason) == ("onnx-fp32", "set by hand")
    assert not cache.exists()
    spoil(OnnxEngine, monkeypatch)
    with pytest.raises(EngineError, match="self-test of onnx-fp32 failed"):
        open_best(rec, config)
    with pytest.raises(ArtifactError, match="not exported as lite-fp32; it holds paddle-fp32, "):
        open_best(rec, EngineConfig(variant="lite-fp32"))
    with pytest.raises(ValueError, match="'abacus-fp32': no such variant; allowed: .* or auto"):
        EngineConfig(variant="abacus-fp32")


def test_files_that_are_missing_or_changed_are_named(rec: ExportedModel, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(rec.folder, folder)
    weights = folder / "openvino" / "model.bin"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match="changed since it was made: openvino/model.bin"):
        ExportedModel.load(folder)
    weights.unlink()
    with pytest.raises(ArtifactError, match="is missing 1 of .*: openvino/model.bin"):
        ExportedModel.load(folder)
    card = json.loads((folder / "exported.json").read_text())
    (folder / "exported.json").write_text(json.dumps(card | {"format": 1}))
    with pytest.raises(ArtifactError, match=r"not a card that this version reads \(format: "):
        ExportedModel.load(folder)


@pytest.fixture
def det(exported_tiny: ExportedPair) -> ExportedModel:
    return ExportedModel.load(exported_tiny.det)


def test_a_pair_that_openvino_serves_is_opened_at_the_same_time(
    det: ExportedModel, rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, tested = threading.Barrier(2), choose._tested

    def tested_beside(model: ExportedModel, variant: Variant, config: EngineConfig) -> Engine:
        both.wait(WAIT_S)
        return tested(model, variant, config)

    monkeypatch.setattr(choose, "_tested", tested_beside)
    finding, reading = open_pair(det, rec, EngineConfig(variant="openvino-fp32"))
    assert isinstance(finding.engine, OpenVinoDetector)
    assert isinstance(reading.engine, OpenVinoRecognizer)
    assert {finding.decision.reason, reading.decision.reason} == {"set by hand"}


@pytest.mark.parametrize("variant", ["auto", "onnx-fp32"])
def test_a_pair_that_is_timed_or_that_another_serves_is_opened_one_by_one(
    variant: str,
    det: ExportedModel,
    rec: ExportedModel,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opening, tested = threading.Lock(), choose._tested

    def tested_alone(model: ExportedModel, variant: Variant, config: EngineConfig) -> Engine:
        assert opening.acquire(blocking=False)
        try:
            return tested(model, variant, config)
        finally:
            opening.release()

    monkeypatch.setattr(choose, "_tested", tested_alone)
    finding, reading = open_pair(det, rec, EngineConfig(variant=variant))
    if variant == "auto":
        assert not finding.decision.reason.endswith("(measured before)")
        again = open_best(det, CONFIG).decision
        assert again.chosen == finding.decision.chosen
        assert again.reason.endswith("(measured before)")
    else:
        assert {finding.decision.chosen, reading.decision.chosen} == {variant}


def test_of_a_pair_the_one_that_fails_is_named(
    det: ExportedModel, rec: ExportedModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(OpenVinoRecognizer, monkeypatch)
    with pytest.raises(EngineError, match=f"{rec.card.name}: self-test of openvino-fp32 failed"):
        open_pair(det, rec, EngineConfig(variant="openvino-fp32"))
