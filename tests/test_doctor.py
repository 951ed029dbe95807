import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import typer
from typer.testing import CliRunner

from ocr_pipeline import cli_doctor, doctor, doctor_probe, fonts
from ocr_pipeline.doctor import Finding
from ocr_pipeline.gpu import Gpu, nvidia_gpus
from tests.conftest import ExportedPair

GOOD = {"paddlepaddle": "3.2.2", "numpy": "2.3.5", "opencv-python": "4.12.0"}
ADA = Gpu("NVIDIA L4", "8.9", "550.54")


def says(answer: Mapping[str, Any]) -> Callable[[str], Mapping[str, Any]]:
    """A probe that gives this answer."""
    return lambda _: answer


@pytest.fixture
def no_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OCR_PIPELINE_FONT", raising=False)
    monkeypatch.setattr(fonts, "_SYSTEM", ())


def test_a_python_that_is_too_old_or_too_new_is_bad() -> None:
    assert doctor.check_python((3, 11)) == Finding("Python", "ok", "3.11")
    for version in ((3, 10), (3, 14)):
        found = doctor.check_python(version)
        assert found.state == "bad"
        assert found.detail == f"3.{version[1]}; 3.11 to 3.13 needed"
        assert found.mend == "make setup PYTHON=python3.11"


@pytest.mark.parametrize(
    ("changes", "detail", "mend"),
    [
        ({"paddlepaddle": "3.3.0"}, "Paddle 3.3.0: 3.3 fails with oneDNN", "paddlepaddle==3.2.2"),
        ({"paddlepaddle": "3.3.1"}, "Paddle 3.3.1: 3.3 fails with oneDNN", "paddlepaddle==3.2.2"),
        ({"numpy": "2.4.0"}, "numpy 2.4.0: Paddle's GradScaler fails on 2.4", "numpy<2.4"),
        ({"paddlepaddle": "2.6.2"}, "Paddle 2.6 is built for numpy 1, not 2.3.5", "numpy<2"),
        ({"paddlelite": "2.13rc0"}, "paddlelite beside numpy 2.3.5 computes garbage", "uninstall"),
        ({"paddlepaddle-gpu": "3.2.2"}, "are both installed, and overwrite", "uninstall"),
    ],
)
def test_versions_known_bad_are_found(changes: dict[str, str], detail: str, mend: str) -> None:
    found = doctor.check_versions(GOOD | changes)
    assert found.state == "bad"
    assert detail in found.detail
    assert found.mend is not None
    assert mend in found.mend


def test_versions_that_work_are_well() -> None:
    found = doctor.check_versions(GOOD)
    assert found == Finding(
        "versions", "ok", "paddlepaddle 3.2.2, numpy 2.3.5, opencv-python 4.12.0"
    )
    assert doctor.check_versions(GOOD | {"paddlelite": "2.13rc0", "numpy": "1.26.4"}).state == "ok"


def test_two_faults_of_versions_are_both_named() -> None:
    found = doctor.check_versions(GOOD | {"paddlepaddle": "3.3.1", "numpy": "2.4.1"})
    assert found.mend == 'pip install "paddlepaddle==3.2.2" && pip install "numpy<2.4"'
    assert found.detail.count(";") == 1


def test_an_absent_paddle_is_bad_and_an_old_one_is_said() -> None:
    assert doctor.check_versions({"numpy": "2.3.5"}).detail == "Paddle is not installed"
    found = doctor.check_versions({"paddlepaddle": "2.6.2", "numpy": "1.26.4"})
    assert found.state == "warn"
    assert "prepares and trains only" in found.detail


@pytest.mark.parametrize(
    ("installed", "gpus", "answer", "state", "detail"),
    [
        ("paddlepaddle", [], {}, "ok", "no NVIDIA GPU, and the CPU build"),
        ("paddlepaddle", [ADA], {}, "warn", "NVIDIA L4 .* stays idle: paddlepaddle is the CPU"),
        ("paddlepaddle", "nvidia-smi ended with 9: no", {}, "warn", "nvidia-smi ended with 9: no"),
        ("paddlepaddle-gpu", [ADA], {}, "ok", "3.2.2 .CUDA 12.6. on NVIDIA L4 .driver 550.54"),
        ("paddlepaddle-gpu", [], {"gpus": 0}, "warn", "and no NVIDIA GPU: it runs on the CPU"),
        ("paddlepaddle-gpu", [ADA], {"gpus": 0}, "bad", "sees no GPU, the driver names NVIDIA L4"),
        (
            "paddlepaddle-gpu",
            [Gpu("RTX 5090", "12.0", "570.1")],
            {},
            "bad",
            "RTX 5090 has compute capability 12.0; .* was built for 80, 86, 89, 90: .* blank or",
        ),
        (
            "paddlepaddle-gpu",
            [ADA],
            {"fault": "libcudnn.so.9: no such file"},
            "bad",
            "cannot be imported: libcudnn.so.9",
        ),
    ],
)
def test_the_build_of_paddle_is_held_against_the_gpu(
    installed: str, gpus: list[Gpu] | str, answer: dict[str, Any], state: str, detail: str
) -> None:
    usual = {"version": "3.2.2", "cuda": "12.6", "archs": ["80", "86", "89", "90"], "gpus": 1}
    found = doctor.check_gpu({installed: "3.2.2"}, lambda: gpus, says(usual | answer))
    assert found.state == state
    assert re.search(detail, found.detail)
    assert (found.mend is None) == (state == "ok")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4, 8.9, 550.54'", [ADA]),
        ("echo 'NVIDIA-SMI has failed'; exit 9", "nvidia-smi ended with 9: NVIDIA-SMI has failed"),
        ("exit 3", "nvidia-smi ended with 3: no word"),
    ],
)
def test_the_driver_is_asked_for_its_gpus(
    script: str, expected: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    assert nvidia_gpus() == expected
    command.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpus() == []


def test_the_ctc_step_is_right_here() -> None:
    assert doctor.check_ctc() == Finding("CTC step", "ok", "right loss and gradient on cpu")


def test_the_ctc_loss_is_counted_from_its_definition() -> None:
    """Two steps, two classes and the blank, all alike: three of nine alignments read "1"."""
    loss = doctor_probe.ctc_by_counting(np.zeros((2, 3), np.float32), [1])
    assert loss == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (lambda loss, _: loss * 1.01, "the loss is 3.96324, and should be 3.924"),
        (lambda loss, _: loss * float("nan"), "the loss is nan, and should be 3.924"),
        (
            lambda loss, logits: loss + 0.01 * (logits - logits.detach()).sum(),
            "its gradient is not",
        ),
    ],
)
def test_a_ctc_step_that_is_wrong_is_found(
    wrong: Callable[[Any, Any], Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = paddle.nn.functional.ctc_loss

    def planted(logits: Any, *rest: Any, **named: Any) -> Any:
        return wrong(right(logits, *rest, **named), logits)

    monkeypatch.setattr(paddle.nn.functional, "ctc_loss", planted)
    found = doctor.check_ctc(lambda name: doctor_probe.PROBES[name]())
    assert found.state == "bad"
    assert fault in found.detail
    assert "a recognizer cannot be trained" in found.detail


def test_onednn_is_tried_here_and_a_fault_is_found() -> None:
    assert doctor.check_onednn().state == "ok"
    found = doctor.check_onednn(says({"fault": "(Unimplemented) ConvertPirAttribute"}))
    assert found.state == "bad"
    assert "fails on a small convolution: (Unimplemented) ConvertPir" in found.detail
    assert doctor.check_onednn(says({"fault": None, "old": "2.6.2"})).state == "ok"


def test_a_convolution_that_is_wrong_is_found() -> None:
    ones = np.ones((1, 2), np.float32)
    assert doctor_probe._apart(ones, ones, 0) is None
    assert doctor_probe._apart(ones * 1.5, ones, 0.1) == "the result is wrong by 0.5"
    assert doctor_probe._apart(ones * np.nan, ones, 0.1) == "the result is wrong by nan"
    told = "the result is of shape (2, 1), and should be of (1, 2)"
    assert doctor_probe._apart(ones.T, ones, 0.1) == told


def test_openvino_is_tried_here_or_said_to_be_absent() -> None:
    absent = doctor.check_openvino({})
    assert (absent.state, absent.mend) == ("warn", 'pip install "ocr_pipeline[openvino]"')
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    found = doctor.check_openvino({"openvino": "2026.4"})
    assert found.state == "ok"
    assert re.match("2026.4, computes in (bf16 and float32|float32; this CPU)", found.detail)


def test_the_precision_of_openvino_is_told_and_a_fault_found() -> None:
    without = doctor.check_openvino({"openvino": "9"}, says({"bf16": False, "fault": None}))
    assert without.detail == "9, computes in float32; this CPU has no bf16"
    found = doctor.check_openvino({"openvino": "9"}, says({"fault": "the result is wrong by 2"}))
    assert found.state == "bad"
    assert "openvino 9 fails on a small network: the result is wrong by 2" in found.detail


def test_openvino_sends_nothing() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    code = (
        "import sys; from ocr_pipeline.openvino_environment import forbid_openvino_telemetry as f;"
        "f(); import openvino; from openvino.tools.ovc import telemetry;"
        "sys.stdout.write(type(telemetry).__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "openvino.tools.ovc.telemetry_stub"


def test_onnx_runtime_is_tried_here_or_said_to_be_absent() -> None:
    assert doctor.check_onnxruntime({}).state == "warn"
    assert doctor.check_onnxruntime({"onnxruntime": "1"}, says({"fault": "x"})).state == "bad"
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    assert doctor.check_onnxruntime({"onnxruntime": "1.31"}).detail == "1.31"


def test_a_probe_that_dies_or_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    dies = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    assert doctor.run_probe("x", dies) == {"fault": "the process was ended by signal 11"}
    fails = [sys.executable, "-c", "import no_such_module"]
    assert doctor.run_probe("x", fails) == {
        "fault": "ModuleNotFoundError: No module named 'no_such_module'"
    }
    monkeypatch.setattr(doctor, "_PROBE_TIMEOUT_S", 0.2)
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert doctor.run_probe("x", hangs) == {"fault": "no answer within 0.2 s"}


def test_the_lite_toolchain_is_held_against_its_pins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_PIPELINE_CACHE", str(tmp_path))
    monkeypatch.delenv("OCR_PIPELINE_LITE_PYTHON", raising=False)
    assert doctor.check_lite().detail.startswith("toolchain not made yet; export --to lite makes")
    # This Python: whatever of the toolchain's packages it has, the versions are others.
    monkeypatch.setenv("OCR_PIPELINE_LITE_PYTHON", sys.executable)
    found = doctor.check_lite()
    assert found.state == "bad"
    assert "paddlelite is absent, needed is" in found.detail
    assert found.mend is not None
    assert found.mend.startswith("unset OCR_PIPELINE_LITE_PYTHON")
    well = tmp_path / "python"
    well.write_text("#!/bin/sh\necho paddlelite==2.13rc0; echo numpy==1.26.4\n")
    well.chmod(0o755)
    monkeypatch.setenv("OCR_PIPELINE_LITE_PYTHON", str(well))
    told = "toolchain with paddlelite 2.13rc0, numpy 1.26.4"
    assert doctor.check_lite() == Finding("Paddle Lite", "ok", told)


def test_too_little_shared_memory_is_said(tmp_path: Path) -> None:
    assert doctor.check_shared_memory(tmp_path, least=1).state == "ok"
    found = doctor.check_shared_memory(tmp_path, least=1 << 60)
    assert found.state == "warn"
    assert "processes that load training data want" in found.detail
    assert found.mend == "docker run --shm-size=2g ..., or train with loader.workers=0"
    assert doctor.check_shared_memory(tmp_path / "absent").state == "ok"


def test_a_font_that_is_absent_or_has_no_chinese_is_said(
    no_font: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = doctor.check_font()
    assert found.state == "warn"
    assert "no font with Chinese characters found" in found.detail
    monkeypatch.setenv("OCR_PIPELINE_FONT", str(tmp_path / "latin.ttf"))
    (tmp_path / "latin.ttf").write_bytes(b"font")
    monkeypatch.setattr(doctor, "characters_of", lambda _: frozenset(map(ord, "abc")))
    assert doctor.check_font().detail == f"{tmp_path / 'latin.ttf'} has no 中 文 识 别"
    monkeypatch.setattr(doctor, "characters_of", lambda _: frozenset(map(ord, "中文识别")))
    assert doctor.check_font() == Finding("font", "ok", "latin.ttf")


def test_a_cache_without_room_or_right_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "not" / "made"
    assert doctor.check_cache(folder, free=10**11).state == "ok"
    assert doctor.check_cache(folder, free=10**9).state == "warn"
    found = doctor.check_cache(folder, free=10**8)
    assert found.state == "bad"
    assert found.detail == f"100 MB free in {folder}; the released models need more"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert doctor.check_cache(folder).detail == f"{folder} cannot be written"
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    assert doctor.check_cache(tmp_path / "file" / "cache").state == "bad"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs ``doctor`` on findings that are planted."""

    def run(findings: list[Finding], *arguments: str) -> Any:
        monkeypatch.setattr(doctor, "examine", lambda on_check: findings)
        app = typer.Typer()
        app.command()(cli_doctor.doctor)
        monkeypatch.setattr(cli_doctor, "_out", cli_doctor.Console(width=80))
        return CliRunner().invoke(app, list(arguments))

    return run


def test_a_bad_finding_ends_with_exit_code_1(command: Callable[..., Any]) -> None:
    well = Finding("Python", "ok", "3.11")
    odd = Finding("font", "warn", "none [b]", "export OCR_PIPELINE_FONT=" + 80 * "x")
    bad = Finding("versions", "bad", "word " * 30, 'pip install "numpy<2.4"')
    assert command([well]).exit_code == 0
    assert command([well, odd]).exit_code == 0
    done = command([well, odd, bad])
    assert done.exit_code == 1
    table, mends = done.output.split("\n\n", 1)
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "none [b]" in table
    assert f"  {odd.mend}\n" in mends
    assert '  pip install "numpy<2.4"\n' in mends
    assert done.output.endswith("1 bad, 1 to look at, 3 checked\n")


def test_json_is_one_object_in_the_last_line(command: Callable[..., Any]) -> None:
    done = command([Finding("font", "bad", "无", "mend")], "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "ok": False,
        "checks": [{"name": "font", "state": "bad", "detail": "无", "mend": "mend"}],
    }


def test_all_checks_have_their_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"version": "3.2.2", "device": "cpu", "bf16": True, "fault": None}
    monkeypatch.setattr(doctor, "run_probe", says(usual))
    told: list[str] = []
    findings = doctor.examine(told.append)
    assert [finding.name for finding in findings] == told
    assert len(set(told)) == len(told) >= 10


def test_the_engine_that_serves_a_model_is_told(exported_tiny: ExportedPair) -> None:
    findings = doctor.check_engines(str(exported_tiny.rec), threads=1)
    assert findings[0].state == "ok"
    assert re.match(r"(paddle|openvino|onnx)-\w+ serves: ", findings[0].detail)
    absent = doctor.check_engines("no_such_model", threads=1)[0]
    assert absent.state == "bad"
    assert "'no_such_model': neither a folder nor a released model" in absent.detail
