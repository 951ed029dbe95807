import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ocr_pipeline.config.image import DetImageSpec, RecImageSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import EngineError, ExportError
from ocr_pipeline.export.tensorrt import build_plan, build_program
from ocr_pipeline.gpu import Gpu
from ocr_pipeline.inference import tensorrt as engines
from ocr_pipeline.inference.tensorrt import (
    EngineFacts,
    Profile,
    check_engine,
    engine_facts,
    engine_folder,
    merged,
    profiles,
    write_facts,
)
from ocr_pipeline.ops.resize import det_size, rec_width
from tests.conftest import ROOT, ExportedPair

LINE = Profile((1, 3, 48, 320), (8, 3, 48, 320), (8, 3, 48, 640))
WIDE = Profile((1, 3, 48, 704), (8, 3, 48, 704), (8, 3, 48, 1344))


def facts(**changes: Any) -> EngineFacts:
    usual = EngineFacts(
        kind="plan",
        weights="a" * 64,
        gpu="NVIDIA L4",
        capability="8.9",
        driver="550.54",
        versions={"tensorrt": "10.9.0"},
        precision="fp16",
        profiles=(LINE,),
    )
    return dataclasses.replace(usual, **changes)


CHANGES: list[dict[str, Any]] = [
    {"kind": "program"},
    {"weights": "b" * 64},
    {"gpu": "NVIDIA A10"},
    {"capability": "8.6"},
    {"driver": "560.1"},
    {"versions": {"tensorrt": "10.9.1"}},
    {"versions": {"tensorrt": "10.9.0", "paddlepaddle-gpu": "3.2.2"}},
    {"precision": "fp32"},
    {"profiles": (LINE, WIDE)},
    {"profiles": (dataclasses.replace(LINE, usual=(4, 3, 48, 320)),)},
]


def test_every_fact_is_in_this_list() -> None:
    changed = {name for change in CHANGES for name in change}
    assert changed == {field.name for field in dataclasses.fields(EngineFacts)}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_the_key_changes_with_every_fact(change: dict[str, Any]) -> None:
    assert facts().key() == facts().key()
    assert facts(**change).key() != facts().key()
    assert len({facts(**one).key() for one in CHANGES}) == len(CHANGES)


def test_an_engine_built_for_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(b"plan")
    write_facts(facts(), tmp_path)
    check_engine(tmp_path, facts())
    for change in CHANGES:
        with pytest.raises(EngineError, match=f"built for {next(iter(change))} .*, now .*; build"):
            check_engine(tmp_path, facts(**change))
    told = "built for gpu NVIDIA L4, now NVIDIA A10; capability 8.9, now 8.6; build it here"
    with pytest.raises(EngineError, match=told):
        check_engine(tmp_path, facts(gpu="NVIDIA A10", capability="8.6"))


def test_an_engine_that_changed_or_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no TensorRT engine; build it here"):
        check_engine(tmp_path, facts())
    (tmp_path / "model.plan").write_bytes(b"plan")
    write_facts(facts(), tmp_path)
    (tmp_path / "model.plan").write_bytes(b"PLAN")
    with pytest.raises(EngineError, match=r"model\.plan changed or absent since it was built"):
        check_engine(tmp_path, facts())
    (tmp_path / "model.plan").unlink()
    with pytest.raises(EngineError, match=r"model\.plan changed or absent since it was built"):
        check_engine(tmp_path, facts())
    (tmp_path / "engine.json").write_text("[]")
    with pytest.raises(EngineError, match=r"engine\.json: cannot be read"):
        check_engine(tmp_path, facts())


@pytest.mark.parametrize(
    "rule",
    [
        RecImageSpec(),
        RecImageSpec(min_width=192),
        RecImageSpec(min_width=320, max_width=320),
        RecImageSpec(min_width=320, max_width=700),
        RecImageSpec(height=32, min_width=100, width_step=48, max_width=1000, time_stride=4),
    ],
)
def test_every_bucket_of_a_recognizer_is_in_one_profile(rule: RecImageSpec) -> None:
    family = "crnn" if rule.height != 48 else "ppocrv6"
    spec = RecModelSpec(
        family=family, size="mobile" if family == "crnn" else "small", classes=9, image=rule
    )
    found = profiles(spec, batch=8)
    buckets = {rec_width(rule.height, width, rule)[1] for width in range(1, 2 * rule.max_width)}
    for width in buckets:
        for batch in (1, 8):
            shape = (batch, 3, rule.height, width)
            assert sum(profile.holds(shape) for profile in found) == 1
    assert not any(profile.holds((9, 3, rule.height, rule.min_width)) for profile in found)
    ends = {profile.most[3] for profile in found} | {profile.least[3] for profile in found}
    assert ends <= buckets
    for profile in found:
        assert profile.holds(profile.usual)
        assert profile.most[3] <= 2 * profile.least[3] + rule.width_step
    assert all(merged(found).holds((8, 3, rule.height, width)) for width in buckets)


def test_every_size_of_a_page_is_in_a_profile_of_a_detector() -> None:
    rule = DetImageSpec()
    spec = DetModelSpec(size="small", image=rule)
    found = profiles(spec, batch=1)
    assert [profile.most for profile in found] == [(1, 3, side, side) for side in (960, 1920, 4000)]
    for height, width in ((1, 1), (700, 500), (9000, 40), (40, 9000), (4000, 4000), (64, 1900)):
        shape = (1, 3, *det_size(height, width, rule))
        assert any(profile.holds(shape) for profile in found)
    assert [profile.most[2] for profile in profiles(spec, batch=1, max_side=1000)] == [960, 992]
    assert [profile.most[2] for profile in profiles(spec, batch=1, max_side=960)] == [960]


def test_shapes_out_of_range_are_refused() -> None:
    det, rec = DetModelSpec(size="small"), RecModelSpec(size="small", classes=9)
    with pytest.raises(EngineError, match="max_side 5000: allowed is 32 to 4000 px"):
        profiles(det, batch=1, max_side=5000)
    with pytest.raises(EngineError, match="batch 0: at least 1 line"):
        profiles(rec, batch=0)
    with pytest.raises(EngineError, match="max_side is for detectors"):
        profiles(rec, batch=8, max_side=960)


def test_facts_are_those_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = tmp_path / "model.onnx"
    with pytest.raises(EngineError, match=r"no such file; export the model with --to static,onnx"):
        engine_facts(onnx, "plan", "fp16", [LINE])
    onnx.write_bytes(b"graph")
    monkeypatch.setattr(engines, "nvidia_gpus", list)
    with pytest.raises(EngineError, match="needs an NVIDIA GPU, and there is none here"):
        engine_facts(onnx, "plan", "fp16", [LINE])
    monkeypatch.setattr(engines, "nvidia_gpus", lambda: "nvidia-smi ended with 9: no driver")
    with pytest.raises(EngineError, match="NVIDIA GPU: nvidia-smi ended with 9: no driver; see"):
        engine_facts(onnx, "plan", "fp16", [LINE])
    monkeypatch.setattr(engines, "nvidia_gpus", lambda: [Gpu("NVIDIA L4", "8.9", "550.54")])
    monkeypatch.setattr(engines, "installed_versions", lambda packages: {})
    with pytest.raises(EngineError, match="tensorrt is not installed, so there is no TensorRT"):
        engine_facts(onnx, "plan", "fp16", [LINE])
    monkeypatch.setattr(engines, "installed_versions", lambda packages: {"tensorrt-cu12": "10.9.0"})
    found = engine_facts(onnx, "plan", "fp16", [LINE])
    assert (found.gpu, found.capability, found.profiles) == ("NVIDIA L4", "8.9", (LINE,))
    with pytest.raises(EngineError, match="paddlepaddle-gpu is not installed, so there is no"):
        engine_facts(onnx, "program", "fp16", [LINE])


def test_an_absent_tensorrt_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ExportError, match="TensorRT is not installed or does not load"):
        build_plan(tmp_path / "model.onnx", facts(), workspace_bytes=1 << 30, cache=tmp_path)
    with pytest.raises(ExportError, match="this Paddle has no TensorRT"):
        build_program(tmp_path, facts(kind="program"), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


class FakeTensorRT(ModuleType):
    """What is called of TensorRT 10, and what it was called with."""

    def __init__(self, *, plan: bytes | None = b"engine", fails: bool = False) -> None:
        super().__init__("tensorrt")
        self.calls: list[Any] = []
        calls = self.calls

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2

        class Builder:
            def __init__(self, logger: Any) -> None:
                logger.log(ILogger.WARNING, "a warning")
                logger.log(ILogger.ERROR, "CUDA is not there")
                if fails:
                    raise TypeError("factory function returned nullptr")

            def create_network(self, flags: int) -> Any:
                calls.append(("flags", flags))
                return SimpleNamespace(get_input=lambda _: SimpleNamespace(name="images"))

            def create_builder_config(self) -> Any:
                return SimpleNamespace(
                    set_memory_pool_limit=lambda pool, size: calls.append((pool, size)),
                    set_flag=lambda flag: calls.append(("flag", flag)),
                    add_optimization_profile=lambda profile: None,
                )

            def create_optimization_profile(self) -> Any:
                return SimpleNamespace(set_shape=lambda *shapes: calls.append(shapes))

            def build_serialized_network(self, network: Any, config: Any) -> Any:
                return plan

        class OnnxParser:
            def __init__(self, network: Any, logger: Any) -> None: ...

            def parse_from_file(self, path: str) -> bool:
                return Path(path).read_bytes() != b"broken"

            def get_error(self, number: int) -> str:
                return "no such operator"

        self.ILogger, self.Builder, self.OnnxParser = ILogger, Builder, OnnxParser
        self.__version__ = "10.9.0"
        self.BuilderFlag = SimpleNamespace(FP16="fp16")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0)


def test_a_plan_is_built_once_with_the_profiles_of_its_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeTensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"graph")
    wanted = facts(profiles=(LINE, WIDE))
    plan = build_plan(onnx, wanted, workspace_bytes=5, cache=tmp_path / "cache")
    assert plan.read_bytes() == b"engine"
    assert library.calls == [
        ("flags", 1),
        ("workspace", 5),
        ("flag", "fp16"),
        ("images", LINE.least, LINE.usual, LINE.most),
        ("images", WIDE.least, WIDE.usual, WIDE.most),
    ]
    library.calls.clear()
    assert build_plan(onnx, wanted, workspace_bytes=5, cache=tmp_path / "cache") == plan
    assert library.calls == []
    plan.write_bytes(b"changed")
    build_plan(onnx, wanted, workspace_bytes=5, cache=tmp_path / "cache")
    assert plan.read_bytes() == b"engine"
    library.calls.clear()
    build_plan(onnx, facts(precision="fp32"), workspace_bytes=5, cache=tmp_path / "cache")
    assert ("flag", "fp16") not in library.calls


def test_what_tensorrt_cannot_do_is_said_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx, cache = tmp_path / "model.onnx", tmp_path / "cache"
    onnx.write_bytes(b"graph")

    def refused(library: FakeTensorRT, told: str) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", library)
        with pytest.raises(ExportError, match=told):
            build_plan(onnx, facts(), workspace_bytes=5, cache=cache)
        assert not cache.exists()

    refused(FakeTensorRT(fails=True), "finds no GPU that it can use: CUDA is not there")
    refused(FakeTensorRT(plan=None), "cannot build an engine: CUDA is not there")
    newer = FakeTensorRT()
    newer.BuilderFlag, newer.__version__ = SimpleNamespace(), "11.0.0"
    refused(newer, "TensorRT 11.0.0 takes the precision from the graph.* install TensorRT 8.6 or")
    onnx.write_bytes(b"broken")
    refused(FakeTensorRT(), "TensorRT cannot read it: no such operator")


def test_a_program_is_converted_as_paddle_documents_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import paddle

    asked: list[Any] = []

    def convert(path: str, settings: Any) -> None:
        asked.append((path, settings))
        Path(settings.save_model_dir + ".json").write_text("{}")

    export = ModuleType("paddle.tensorrt.export")
    library = ModuleType("paddle.tensorrt")
    vars(library).update(convert=convert, export=export)
    vars(export).update(
        Input=lambda **named: SimpleNamespace(**named),
        TensorRTConfig=lambda **named: SimpleNamespace(**named),
        PrecisionMode={"FP16": "half", "FP32": "single"},
    )
    monkeypatch.setitem(sys.modules, "paddle.tensorrt", library)
    monkeypatch.setitem(sys.modules, "paddle.tensorrt.export", export)
    monkeypatch.setattr(paddle, "tensorrt", library, raising=False)
    wanted = facts(kind="program", profiles=(LINE, WIDE))
    folder = build_program(tmp_path / "paddle", wanted, cache=tmp_path / "cache")
    (path, settings) = asked[0]
    assert path == str(tmp_path / "paddle" / "inference")
    assert settings.precision_mode == "half"
    (entry,) = settings.inputs
    assert (entry.min_input_shape, entry.max_input_shape) == (LINE.least, WIDE.most)
    assert entry.optim_input_shape == LINE.usual
    assert {file.name for file in folder.iterdir()} == {"inference.json", "engine.json"}
    assert build_program(tmp_path / "paddle", wanted, cache=tmp_path / "cache") == folder
    assert len(asked) == 1


@pytest.fixture
def script() -> Any:
    path = ROOT / "deploy/tensorrt/build_engine.py"
    spec = importlib.util.spec_from_file_location("build_engine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: model"),
        (["x", "--precision", "int8"], "invalid choice: 'int8'"),
        (["x", "--batch", "0"], "'0': a whole number above 0 is needed"),
        (["x", "--max-side", "-4"], "'-4': a whole number above 0 is needed"),
        (["x", "--workspace-gb", "much"], "'much': a whole number above 0 is needed"),
    ],
)
def test_arguments_of_the_script_are_checked(
    arguments: list[str], told: str, script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        script.main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_the_script_takes_shapes_from_the_card(
    script: Any, exported_tiny: ExportedPair, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([str(exported_tiny.rec), "--shapes", "--batch", "4"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown[0]["least"] == [1, 3, 48, 320]
    assert shown[0]["most"] == [4, 3, 48, 640]
    assert shown[-1]["most"] == [4, 3, 48, 3200]
    assert script.main([str(exported_tiny.det), "--shapes", "--max-side", "960"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["most"] == [1, 3, 960, 960]


def test_the_script_says_what_is_missing(
    script: Any,
    exported_tiny: ExportedPair,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert script.main([str(tmp_path / "absent")]) == 1
    assert "no such folder; make it with scripts/export.py" in capsys.readouterr().err
    assert script.main([str(exported_tiny.rec), "--max-side", "960"]) == 1
    assert "max_side is for detectors" in capsys.readouterr().err
    monkeypatch.setattr(engines, "nvidia_gpus", lambda: [Gpu("NVIDIA L4", "8.9", "550.54")])
    monkeypatch.setattr(engines, "installed_versions", lambda packages: {"tensorrt": "10.9.0"})
    onnx = exported_tiny.rec / "onnx" / "model.onnx"
    if not onnx.exists():
        assert script.main([str(exported_tiny.rec)]) == 1
        assert "model.onnx: no such file; export the model with" in capsys.readouterr().err


def test_the_folder_of_an_engine_is_named_by_its_key(tmp_path: Path) -> None:
    assert engine_folder(facts(), tmp_path) == tmp_path / facts().key()
    assert engine_folder(facts()).parent.name == "tensorrt"
