"""``ocr-pipeline dataset suspects`` on rendered lines, with the smallest released recognizer."""

import json
from pathlib import Path

import cv2
import pytest

from ocr_pipeline.cli import main
from ocr_pipeline.ops.golden import golden_lines
from tests.conftest import ExportedPair
from tests.preprocess import labelled


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = []
    for at, line in enumerate(golden_lines()):
        (tmp_path / f"{at}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        rows.append(f"{at}.png\tnot this")
    return labelled.write_list(tmp_path / "l.txt", rows)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["ocr-pipeline", "dataset", "suspects", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_suspects_are_listed_and_written(
    labels: Path,
    exported_tiny: ExportedPair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    code = run(monkeypatch, exported_tiny.rec, labels, "--out", out, "--count", 1, "--json")
    assert code == 0
    (answer,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answer["samples"] == answer["differing"] == len(golden_lines())
    (suspect,) = answer["suspects"]
    assert suspect["label"] == "not this"
    assert suspect["read"]
    assert answer["out"] == str(out)
    assert (out / "Label.txt").read_text(encoding="utf-8").startswith("out/00001_")
    assert run(monkeypatch, exported_tiny.rec, labels, "--out", out) == 2
    assert "exists already, and may hold corrections" in capsys.readouterr().err


def test_the_terminal_says_what_to_do_next(
    labels: Path,
    exported_tiny: ExportedPair,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, exported_tiny.rec, labels) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{len(golden_lines())} labels, {len(golden_lines())} read differently" in said
    assert "--out FOLDER writes them to be corrected in PPOCRLabel" in said


def test_a_detector_is_refused(
    labels: Path,
    exported_tiny: ExportedPair,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, exported_tiny.det, labels) == 1
    assert "a detector; lines are evaluated with a recognizer" in capsys.readouterr().err
