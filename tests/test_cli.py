import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from ocr_pipeline.ops.golden import golden_lines, golden_pages
from tests.conftest import ExportedPair


def cli(*arguments: object) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "ocr_pipeline", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "页面 1.png"
    path.write_bytes(cv2.imencode(".png", golden_pages()[0])[1].tobytes())
    return path


def models(pair: ExportedPair) -> list[object]:
    return ["--det", pair.det, "--rec", pair.rec]


def test_help_lists_the_stages() -> None:
    result = cli("--help")
    assert result.returncode == 0
    for name in ("prepare", "train", "evaluate", "export", "read", "serve", "demo"):
        assert name in result.stdout


def test_an_unknown_config_key_is_one_message_and_exit_code_2(root: Path) -> None:
    config = root / "configs/2_train_rec_demo.yaml"
    result = cli("train", "--config", config, "optim.Lr=1", "stepz=3")
    assert result.returncode == 2
    assert "optim.Lr: unknown key (did you mean optim.lr?)" in result.stderr
    assert "stepz: unknown key (did you mean steps?)" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_dataset_is_one_message_and_exit_code_1(tmp_path: Path, root: Path) -> None:
    config = root / "configs/2_train_rec_demo.yaml"
    result = cli("train", "-c", config, f"dataset={tmp_path / 'no'}", f"run_dir={tmp_path / 'r'}")
    assert result.returncode == 1
    assert "no such folder; make it with scripts/prepare.py" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_picture_is_read_as_text_json_and_drawing(
    page: Path, exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    drawn = tmp_path / "drawn.png"
    plain = cli("read", page, *models(exported_tiny), "--draw", drawn)
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.splitlines()[2] == "PaddleOCR"
    height, width = golden_pages()[0].shape[:2]
    picture = cv2.imread(str(drawn))
    assert picture is not None
    assert picture.shape[0] == height
    assert picture.shape[1] in (width, 2 * width)
    answer = json.loads(cli("read", page, *models(exported_tiny), "--json").stdout)
    assert answer["text"] == plain.stdout.rstrip("\n")
    assert answer["image"] == str(page)
    assert set(answer["dropped"]) == {"too_small", "low_score", "over_limit", "no_text"}


def test_upside_down_lines_are_read_unless_told_otherwise(
    exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    path = tmp_path / "page.png"
    turned = cv2.rotate(golden_pages()[0], cv2.ROTATE_180)
    path.write_bytes(cv2.imencode(".png", turned)[1].tobytes())
    results = [cli("read", path, *models(exported_tiny), *off) for off in ([], ["--no-turn"])]
    assert [result.returncode for result in results] == [0, 0]
    assert ["TOTAL 1,280.50" in result.stdout for result in results] == [True, False]


def test_evaluate_turns_lines_only_when_told(exported_tiny: ExportedPair, tmp_path: Path) -> None:
    line = cv2.rotate(golden_lines()[1], cv2.ROTATE_180)
    (tmp_path / "0.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
    labels = tmp_path / "labels.txt"
    labels.write_text("0.png\tTOTAL 1,280.50")
    results = [cli("evaluate", exported_tiny.rec, labels, "--json", *on) for on in ([], ["--turn"])]
    assert [json.loads(result.stdout)["exact"] for result in results] == [0.0, 100.0]


def test_a_bad_picture_does_not_sink_the_others(
    page: Path, exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    result = cli("read", bad, page, tmp_path / "none.png", *models(exported_tiny))
    assert result.returncode == 1
    assert "PaddleOCR" in result.stdout
    assert "bad.jpg: not a picture (10 bytes" in " ".join(result.stderr.split())
    assert "none.png: cannot read this picture" in " ".join(result.stderr.split())


def test_a_checkpoint_is_no_exported_model(tmp_path: Path, page: Path) -> None:
    (tmp_path / "checkpoint.json").write_text("{}")
    result = cli("read", page, "--det", tmp_path, "--rec", tmp_path)
    assert result.returncode == 1
    expected = "a checkpoint; export it first: python scripts/export.py"
    assert expected in " ".join(result.stderr.split())


def test_evaluate_prints_one_json_object(exported_tiny: ExportedPair, tmp_path: Path) -> None:
    rows = []
    for number, (line, text) in enumerate(
        zip(golden_lines()[1:3], ["TOTAL 1,280.50", "PaddleOCX"], strict=True)
    ):
        (tmp_path / f"{number}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        rows.append(f"{number}.png\t{text}")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(rows))
    for model in (exported_tiny.rec, "ppocrv6_tiny_rec"):
        result = cli("evaluate", model, labels, "--json")
        assert result.returncode == 0, result.stderr
        figures = json.loads(result.stdout)
        assert figures["samples"] == 2
        assert figures["exact"] == 50.0
        assert figures["cer"] == pytest.approx(100 / 23)
        assert set(figures["normalised"]) == {"exact", "cer", "ned"}


def test_a_detector_is_not_evaluated_on_lines(released_weights: None, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a.png\tA")
    result = cli("evaluate", "ppocrv6_tiny_det", labels)
    assert result.returncode == 1
    assert "a detector; lines are evaluated with a recognizer" in " ".join(result.stderr.split())
