"""``ocr-pipeline weights``, and inference models wherever a model is asked for."""

import shutil
import sys
from pathlib import Path

import pytest

from ocr_pipeline import cli
from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.assets import fetch
from ocr_pipeline.checkup import check_model
from ocr_pipeline.errors import ArtifactError, AssetError, WeightsError
from ocr_pipeline.evaluation.sources import load_any_recognizer
from ocr_pipeline.stock import exported_folder
from ocr_pipeline.weights import catalog, official
from ocr_pipeline.weights.catalog import RELEASED_NAMES, released_file
from ocr_pipeline.weights.source import load_trainable, recognizer_rules, resolve
from tests.weights.real_files import V5_PIR


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["ocr-pipeline", "weights", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    if ended.value.code:
        raise AssertionError(ended.value.code)


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    """A user's own inference model: a file and its dictionary, under names of the user's."""
    folder = tmp_path_factory.mktemp("models") / "my_reader"
    folder.mkdir()
    shutil.copy(released_file("ppocrv6_tiny_rec"), folder / "weights.onnx")
    charset, _ = recognizer_rules("ppocrv6_tiny_rec")
    assert charset is not None
    charset.save(folder / "keys.txt")
    return folder


def test_list_names_every_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "official_models/PP-OCRv6_medium_rec").mkdir(parents=True)
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path))
    run(monkeypatch, "list")
    shown = capsys.readouterr().out
    for name in (*RELEASED_NAMES, "crnn_mobile", "crnn_resnet", "PP-OCRv6_medium_rec"):
        assert name in shown


def test_the_table_is_written_between_its_marks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, released_weights: None
) -> None:
    monkeypatch.setattr(catalog, "RELEASED_NAMES", ("ppocrv6_tiny_rec",))
    page = tmp_path / "networks.md"
    page.write_text("before\n<!-- drawn: begin -->\nold\n<!-- drawn: end -->\nafter\n")
    run(monkeypatch, "table", "--write", str(page), "--draws", "1")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| ppocrv6_tiny_rec")]
    assert "43 of 43" in row
    assert row.endswith("| yes |")
    page.write_text("no marks")
    monkeypatch.setattr(sys, "argv", ["x", "weights", "table", "--write", str(page), "--draws=1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1


def test_a_paddle_detector_is_compared_with_plain_kernels(
    tmp_path: Path, released_weights: None
) -> None:
    """oneDNN, which the training's flag would bring in, cannot run its transposed convolutions."""
    try:
        for asset in V5_PIR["det"]:
            shutil.copy(fetch(asset), tmp_path / Path(asset.member).name)
    except AssetError as error:
        pytest.skip(str(error))
    report = check_model(str(tmp_path))
    assert (report.network, report.records) == ("ppocrv5_mobile_det", 119)
    assert report.difference is not None
    assert report.difference.reference == "Paddle Inference"
    assert report.difference.same
    assert report.difference.apart <= 2e-4


def test_check_says_what_it_is_and_compares(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], onnx_folder: Path
) -> None:
    run(monkeypatch, "check", str(onnx_folder))
    shown = capsys.readouterr().out
    for part in ("ppocrv6_tiny_rec", "43 of 43", "6,906", "ONNX Runtime", "same result"):
        assert part in shown


def test_a_checkpoint_has_no_file_to_compare_with(exported_tiny: object) -> None:
    with pytest.raises(WeightsError, match="an exported model, which is not trained or exported"):
        check_model(str(exported_folder("ppocrv6_tiny_rec")))


def test_fetch_takes_official_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], released_weights: None
) -> None:
    run(monkeypatch, "fetch", "PP-OCRv6_tiny_rec")
    assert str(released_file("ppocrv6_tiny_rec")) in capsys.readouterr().out.replace("\n", "")


def test_a_model_that_no_wheel_carries_needs_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(official.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(AssetError, match="requirements/official.txt"):
        official.fetch_official("PP-OCRv6_medium_rec")
    with pytest.raises(WeightsError, match="model name '../x'; allowed: letters"):
        official.fetch_official("../x")


def stand_in(folder: Path, body: str) -> None:
    """A ``paddlex`` with the one object that is used of it."""
    module = folder / "paddlex/inference/utils/official_models.py"
    module.parent.mkdir(parents=True)
    for package in (module.parent, module.parent.parent, module.parent.parent.parent):
        (package / "__init__.py").write_text("")
    module.write_text(f"class Models:\n    def __getitem__(self, name):\n        {body}\n")
    with module.open("a") as stream:
        stream.write("official_models = Models()\n")


def test_the_official_package_is_asked_and_its_failure_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(official.importlib.util, "find_spec", lambda name: name)
    model = tmp_path / "PP-OCRv6_medium_rec"
    model.mkdir()
    stand_in(tmp_path / "good", f"print('downloading'); return {str(model)!r}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "good"))
    assert official.fetch_official("PP-OCRv6_medium_rec") == model
    stand_in(tmp_path / "bad", "raise KeyError('no model hoster')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bad"))
    with pytest.raises(AssetError, match="could not download it .*no model hoster"):
        official.fetch_official("PP-OCRv6_medium_rec")


def test_what_paddleocr_has_downloaded_is_found_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, onnx_folder: Path
) -> None:
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path))
    target = tmp_path / "official_models/PP-OCRv6_special_rec"
    shutil.copytree(onnx_folder, target)
    assert resolve("PP-OCRv6_special_rec") == ("inference", str(target))
    assert official.fetch_official("PP-OCRv6_special_rec") == target
    with pytest.raises(WeightsError, match="'PP-OCRv6_other_rec': neither a released model"):
        resolve("PP-OCRv6_other_rec")


def test_a_file_that_is_no_model_is_named_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(WeightsError, match=r"notes\.md: a file of the kind '\.md'; allowed"):
        resolve(str(tmp_path / "notes.md"))


def test_an_inference_model_works_where_a_name_does(onnx_folder: Path) -> None:
    source = str(onnx_folder)
    charset, image = recognizer_rules(source)
    model = load_trainable(source)
    assert charset == model.charset
    assert image == model.spec.image
    lines = load_any_recognizer(source).recognize(model.golden)
    folder = exported_folder(source)
    exported = ExportedModel.load(folder)
    assert exported.card.name == "my_reader"
    assert [g.text for g in exported.card.golden] == [line.text for line in lines]
    seen: list[str] = []
    assert exported_folder(source, seen.append) == folder  # the second time from the cache
    assert not seen
    shutil.rmtree(folder)


def test_another_dictionary_is_another_export(onnx_folder: Path, tmp_path: Path) -> None:
    first = exported_folder(str(onnx_folder))
    copy = tmp_path / "my_reader"
    shutil.copytree(onnx_folder, copy)
    keys = (copy / "keys.txt").read_text("utf-8").split("\n")
    keys[10], keys[11] = keys[11], keys[10]
    (copy / "keys.txt").write_text("\n".join(keys), "utf-8")
    second = exported_folder(str(copy))
    assert first != second
    for folder in (first, second):
        shutil.rmtree(folder)


def test_a_checkpoint_is_not_served_before_its_export(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text("{}")
    with pytest.raises(ArtifactError, match="a checkpoint; export it first"):
        exported_folder(str(tmp_path))
