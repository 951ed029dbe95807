import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.cli import main
from ocr_pipeline.errors import AssetError
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from tests.conftest import ExportedPair
from tests.preprocess import labelled


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


def test_pages_are_written_as_hocr_and_alto_without_those_that_cannot_be_read(
    page: Path, exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    hocr, alto, none = (tmp_path / name for name in ("out/p.hocr", "out/p.xml", "none.xml"))
    read = cli("read", page, bad, page, *models(exported_tiny), "--hocr", hocr, "--alto", alto)
    assert read.returncode == 1
    spaces = {"x": "http://www.w3.org/1999/xhtml", "a": "http://www.loc.gov/standards/alto/ns-v4#"}
    words = ElementTree.parse(hocr).findall(".//x:span[@class='ocrx_word']", spaces)
    strings = ElementTree.parse(alto).findall(".//a:String", spaces)
    assert len(ElementTree.parse(alto).findall(".//a:Page", spaces)) == 2
    assert [word.text for word in words] == [string.get("CONTENT") for string in strings]
    assert [word.text for word in words].count("1,280.50") == 2
    empty = cli("read", bad, *models(exported_tiny), "--alto", none)
    assert "not written" in empty.stderr
    assert not none.exists()


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


# --- prepare and dataset show, in this process: it has imported everything -----------------------


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def flat(self) -> str:
        """The messages, without the line breaks of the terminal."""
        assert "Traceback" not in self.err
        return " ".join(self.err.split())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Command":
    return Command(monkeypatch, capsys)


class Command:
    """Runs the command line as a user would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("COLUMNS", "100")

    def __call__(self, *words: object) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["ocr-pipeline", *map(str, words)])
        self._capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *self._capsys.readouterr())


def prepare_words(folder: Path, rows: list[str], **changes: object) -> list[object]:
    """Arguments of ``prepare`` for labels beside their pictures, in a folder with spaces."""
    labels = labelled.write_list(folder / "标签 list.txt", rows)
    values = {
        "out": str(folder / "数据 set"),
        "train_labels": [str(labels)],
        "val_count": 2,
        "workers": 0,
        "model": "crnn_mobile",
        "dictionary": {"mode": "new"},
    }
    source = folder / "配置.yaml"
    source.write_text(json.dumps(values | changes), encoding="utf-8")
    return ["prepare", "--config", source]


def test_a_check_looks_and_writes_its_report_only(command: Command, tmp_path: Path) -> None:
    folder, report = tmp_path / "一 folder", tmp_path / "报告 of it" / "deep"
    rows = [*labelled.lines(folder, 6), "gone.png\tA[red]9", "ok1.png\tB1"]
    words = prepare_words(folder, rows)
    said = command(*words, "--check", "--report", report)
    assert said.code == 1, said.err
    for text in ("missing_picture", "conflict", "would take 4 train, 2 val"):
        assert text in said.out
    assert sorted(path.name for path in report.iterdir()) == ["report.html", "report.json"]
    found = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert (found["labels"], found["refused"]) == (8, 2)
    assert not (folder / "数据 set").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_check_of_a_clean_set_ends_well(command: Command, tmp_path: Path) -> None:
    said = command(*prepare_words(tmp_path, labelled.lines(tmp_path, 6)), "--check")
    assert (said.code, said.out) == (0, "would take 4 train, 2 val\n")
    assert not (tmp_path / "数据 set").exists()


def test_a_report_alone_is_a_fault_of_the_command(command: Command, tmp_path: Path) -> None:
    words = prepare_words(tmp_path, labelled.lines(tmp_path, 6))
    said = command(*words, "--report", tmp_path / "report")
    assert said.code == 2
    assert "--report goes with --check" in said.flat()
    assert not (tmp_path / "report").exists()


def test_prepare_says_where_dataset_and_report_are(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "一 folder"
    words = prepare_words(folder, [*labelled.lines(folder, 6), "gone.png\tA9"])
    said = command(*words)
    assert said.code == 0, said.err
    out = folder / "数据 set"
    assert f"dataset {out}: 4 train, 2 val\nreport: {out / 'report.html'}\n" in said.out
    assert Dataset.load(out).manifest.refused == {"missing_picture": 1}
    again = command(*words)
    assert again.code == 1
    assert "exists already; give another name, delete it, or say --overwrite" in again.flat()
    assert command(*words, "--overwrite", "val_count=1").code == 0
    assert Dataset.load(out).manifest.counts == {"train": 5, "val": 1}


@pytest.mark.parametrize(
    ("task", "presets"), [("rec", ["fine_tune", "released"]), ("det", ["fine_tune", "v6", "v4"])]
)
def test_a_contact_sheet_is_a_wide_png(
    command: Command, tmp_path: Path, task: str, presets: list[str]
) -> None:
    rows = labelled.lines(tmp_path, 6) if task == "rec" else labelled.pages(tmp_path, 4)
    assert command(*prepare_words(tmp_path, rows, task=task)).code == 0
    dataset = tmp_path / "数据 set"
    heights = []
    for augment in ([], *(["--augment", preset] for preset in presets)):
        out = tmp_path / "看 it" / f"{len(augment)}.png"
        said = command("dataset", "show", dataset, "-o", out, "--count", 3, *augment)
        assert (said.code, said.out) == (0, f"contact sheet: {out}\n"), said.err
        picture = cv2.imdecode(np.frombuffer(out.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[1] == 1600
        heights.append(picture.shape[0])
    assert all(height > heights[0] for height in heights[1:])
    for wrong in {"released", "v6", "v4"} - set(presets):
        said = command("dataset", "show", dataset, "-o", tmp_path / "x.png", "--augment", wrong)
        assert said.code == 2
        allowed = ", ".join(presets)
        expected = f"--augment {wrong}: not for task={task}; allowed: {allowed}"
        assert expected in said.flat()
    assert not (tmp_path / "x.png").exists()


def test_a_sheet_that_cannot_be_made_is_one_message(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = command("dataset", "show", tmp_path / "no", "-o", tmp_path / "x.png")
    assert said.code == 1
    assert "no such folder; make it with scripts/prepare.py" in said.flat()
    assert command(*prepare_words(tmp_path, labelled.lines(tmp_path, 6))).code == 0
    show = ["dataset", "show", tmp_path / "数据 set", "-o"]
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "x.png"):
        said = command(*show, out)
        assert said.code == 2
        assert "cannot write there" in said.flat()

    def no_font(**_: object) -> Path:
        raise AssetError("there is none")

    monkeypatch.setattr("ocr_pipeline.fonts.find_font", no_font)
    said = command(*show, tmp_path / "x.png")
    assert said.code == 0
    assert "no Chinese text: there is none" in said.flat()
    assert (tmp_path / "x.png").is_file()
