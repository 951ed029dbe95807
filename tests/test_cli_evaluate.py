"""``evaluate``, in this process; stock models as exported, on pages drawn for it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocr_pipeline.cli import main
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from tests.conftest import ExportedPair
from tests.preprocess import labelled

PERCENTAGES = {"precision", "recall", "hmean"}


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed; the messages without line breaks."""

    code: int
    out: str
    err: str


class Command:
    """Runs ``evaluate`` as a user would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("COLUMNS", "120")

    def __call__(self, *words: object) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["ocr-pipeline", "evaluate", *map(str, words)])
        self._capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Said(code, out, " ".join(err.split()))


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def pages(exported_tiny: ExportedPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detection list: two pages, the first with a region that nobody finds, and an empty one."""
    folder = tmp_path_factory.mktemp("页 面")
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec)
    rows = []
    for number, picture in enumerate(golden_pages()):
        lines = reader.read(picture).lines
        texts = [line.text for line in lines]
        if number == 0:  # one that is right but for its case, and one that is not
            texts[1:3] = [texts[1].lower(), f"{texts[2]}X"]
        regions = [
            {"transcription": text, "points": line.points.tolist(), "difficult": False}
            for line, text in zip(lines, texts, strict=True)
        ]
        if number == 0:
            missed = [[500, 0], [600, 0], [600, 20], [500, 20]]
            regions.append({"transcription": "gone", "points": missed})
            regions.append({"transcription": "###", "points": missed})
        labelled.save(folder, f"{number}.png", picture)
        rows.append(f"{number}.png\t{json.dumps(regions)}")
    labelled.save(folder, "empty.png", golden_pages()[0] * 0 + 245)
    return labelled.write_list(folder / "det.txt", [*rows, "empty.png\t[]"])


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    labelled.save(folder, "0.png", golden_lines()[1])
    return labelled.write_list(folder / "rec.txt", ["0.png\tTOTAL 1,280.5O"])


def test_a_detector_is_evaluated_on_pages(
    evaluate: Command, exported_tiny: ExportedPair, pages: Path
) -> None:
    said = evaluate(exported_tiny.det, pages, "--json")
    assert said.code == 0, said.err
    (line,) = said.out.splitlines()
    figures = json.loads(line)
    assert set(figures) == {"samples", "counts", *PERCENTAGES}
    assert figures["samples"] == 3
    assert figures["counts"] == {
        "truths": 6,
        "detections": 5,
        "matched": 5,
        "ignored_truths": 1,
        "ignored_detections": 0,
    }
    assert figures["precision"] == 100
    assert figures["recall"] == pytest.approx(100 * 5 / 6)
    assert figures["hmean"] == pytest.approx(1000 / 11)
    shown = evaluate(exported_tiny.det, pages).out
    assert "3 pages, 6 regions (1 more are ignored)" in shown
    assert "0.png: hmean 88.9 %: 4 of 5 regions found, 0 of 4 detections wrong" in shown
    assert "1.png" not in shown
    assert "0.png" not in evaluate(exported_tiny.det, pages, "--worst", 0).out


def test_both_models_are_evaluated_from_end_to_end(
    evaluate: Command, exported_tiny: ExportedPair, pages: Path
) -> None:
    det, rec = exported_tiny.det, exported_tiny.rec
    said = evaluate(det, pages, "--rec", rec, "--json")
    assert said.code == 0, said.err
    figures = json.loads(said.out.splitlines()[-1])
    assert set(figures) == {"samples", "counts", "without_text", "raw", "normalised", *PERCENTAGES}
    assert figures["recall"] == pytest.approx(100 * 5 / 6)
    assert figures["raw"]["recall"] == pytest.approx(100 * 3 / 6)
    assert figures["raw"]["precision"] == 60
    assert figures["normalised"]["recall"] == pytest.approx(100 * 4 / 6)
    assert figures == json.loads(evaluate(rec, pages, "--det", det, "--json").out)
    shown = evaluate(rec, pages, "--det", det).out
    assert f"{rec} with {det} on {pages}: 3 pages" in shown
    assert "text, normalised" in shown
    assert "0.png: hmean 44.4 %: 2 of 5 regions read right, 2 of 4 lines wrong" in shown


def test_a_recognizer_is_evaluated_on_lines(
    evaluate: Command, exported_tiny: ExportedPair, lines: Path
) -> None:
    said = evaluate(exported_tiny.rec, lines, "--json")
    figures = json.loads(said.out)
    assert set(figures) == {"samples", "raw", "normalised", "exact", "cer", "ned"}
    assert (figures["samples"], figures["exact"]) == (1, 0)
    assert figures["cer"] == pytest.approx(100 / 14)
    shown = evaluate(exported_tiny.rec, lines).out
    assert "0.png: TOTAL 1,280.5O read as TOTAL 1,280.50" in shown


def test_models_and_labels_must_fit(
    evaluate: Command, exported_tiny: ExportedPair, pages: Path, lines: Path
) -> None:
    det, rec = exported_tiny.det, exported_tiny.rec
    for words, code, message in (
        ([rec, pages], 1, "det.txt: pages with regions (its first label is '[{"),
        ([rec, pages], 1, "is a recognizer; pages are evaluated with a detector; give one, or"),
        ([det, lines], 1, "rec.txt: labelled lines (its first label is 'TOTAL 1,280.5O'), and"),
        ([det, lines], 1, "is a detector; lines are evaluated with a recognizer alone"),
        ([rec, lines, "--det", det], 1, f"{det} is a detector; lines are evaluated with a"),
        ([rec, pages, "--rec", rec], 2, "is a recognizer already; name a detector beside it"),
        ([det, pages, "--det", det], 2, "is a detector already; name a recognizer beside it"),
        ([det, pages, "--rec", det], 1, "a detector; lines are evaluated with a recognizer"),
        ([rec, pages, "--det", rec], 1, "a recognizer; pages are evaluated with a detector"),
        ([det, pages, "--turn"], 2, "reads no lines; name a recognizer beside it with --rec"),
        ([det, pages.parent / "no.txt"], 1, "no.txt: cannot read this label list"),
        (["no_such_model", pages], 1, "'no_such_model': neither a released model"),
    ):
        said = evaluate(*words)
        assert (said.code, said.out) == (code, ""), said.err
        assert message in said.err


def test_a_picture_that_is_not_there_is_one_message(
    evaluate: Command, exported_tiny: ExportedPair, pages: Path, tmp_path: Path
) -> None:
    for extra in ([], ["--rec", exported_tiny.rec]):
        said = evaluate(exported_tiny.det, pages, "--images", tmp_path, *extra)
        assert said.code == 1
        assert f"{tmp_path / '0.png'}: cannot read this picture" in said.err


def test_labels_without_text_are_for_detectors_alone(
    evaluate: Command, exported_tiny: ExportedPair, pages: Path, tmp_path: Path
) -> None:
    regions = json.loads(pages.read_text("utf-8").splitlines()[0].split("\t")[1])
    row = json.dumps([{**region, "transcription": ""} for region in regions[:4]])
    labels = labelled.write_list(tmp_path / "det.txt", [f"0.png\t{row}"])
    words = [exported_tiny.det, labels, "--images", pages.parent]
    assert json.loads(evaluate(*words, "--json").out)["hmean"] == 100
    said = evaluate(*words, "--rec", exported_tiny.rec)
    assert said.code == 1
    assert "none of the 4 regions has a text" in said.err
    mixed = json.dumps([{**regions[0], "transcription": ""}, *regions[1:4]])
    labelled.write_list(labels, [f"0.png\t{mixed}"])
    said = evaluate(*words, "--rec", exported_tiny.rec)
    assert "1 regions have no text: left out of account" in said.out
