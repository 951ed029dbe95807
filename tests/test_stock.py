"""A stock model that two processes want first, at the same time."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ocr_pipeline
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.stock import exported_folder
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import ExportedPair

Export = Callable[[TrainableModel, Path, ExportConfig], None]


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Export], None]:
    """Into an empty cache, by a function of the test's own."""

    def use(export: Export) -> None:
        monkeypatch.setattr("ocr_pipeline.stock.cache_dir", lambda: tmp_path)
        monkeypatch.setattr("ocr_pipeline.export.export_model", lambda *a, name: export(*a))

    return use


def test_the_slower_process_takes_what_the_quicker_one_has_exported(
    exports: Callable[[Export], None], exported_tiny: ExportedPair, tmp_path: Path
) -> None:
    def overtaken(model: TrainableModel, folder: Path, forms: ExportConfig) -> None:
        shutil.copytree(exported_tiny.det, folder)
        raise ArtifactError(f"{folder}: exists already")

    exports(overtaken)
    folder = exported_folder("ppocrv6_tiny_det")
    assert tmp_path in folder.parents
    assert (folder / "exported.json").read_bytes() == (
        exported_tiny.det / "exported.json"
    ).read_bytes()


def test_an_export_that_fails_for_another_reason_is_told(
    exports: Callable[[Export], None], exported_tiny: ExportedPair
) -> None:
    def failing(model: TrainableModel, folder: Path, forms: ExportConfig) -> None:
        raise ArtifactError(f"{folder}: cannot write there")

    exports(failing)
    with pytest.raises(ArtifactError, match="cannot write there"):
        exported_folder("ppocrv6_tiny_det")


def test_an_export_of_other_code_is_made_anew(
    exports: Callable[[Export], None],
    exported_tiny: ExportedPair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Path] = []

    def export(model: TrainableModel, folder: Path, forms: ExportConfig) -> None:
        shutil.copytree(exported_tiny.det, folder)
        made.append(folder)

    exports(export)
    package = tmp_path / "ocr_pipeline"
    shutil.copytree(Path(ocr_pipeline.__file__).parent, package)
    monkeypatch.setattr(ocr_pipeline, "__file__", str(package / "__init__.py"))
    before = [exported_folder("ppocrv6_tiny_det") for _ in range(2)]
    with (package / "ops" / "resize.py").open("a") as code:
        code.write("# Something else is computed here.\n")
    after = exported_folder("ppocrv6_tiny_det")
    assert before == [made[0]] * 2
    assert made[1:] == [after]
    assert after != made[0]
