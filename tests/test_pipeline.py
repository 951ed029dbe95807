from pathlib import Path

import pytest

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import AssetError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.ops.metrics import edit_distance
from ocr_pipeline.pipeline import run_pipeline
from ocr_pipeline.preprocess.render import render_set
from tests.conftest import ExportedPair, Silent


@pytest.fixture(scope="module")
def slips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        font = find_font(may_fetch=True)
    except AssetError as error:
        pytest.skip(str(error))
    config = RenderConfig(
        out=tmp_path_factory.mktemp("slips") / "set", train_lines=24, val_lines=6, seed=4
    )
    return render_set(config, font, lambda done, total: None)


def test_rendered_parts_share_no_text_and_follow_from_the_seed(slips: Path, tmp_path: Path) -> None:
    texts = {
        part: [row.split("\t")[1] for row in (slips / f"{part}.txt").read_text().splitlines()]
        for part in ("train", "val")
    }
    assert (len(texts["train"]), len(texts["val"])) == (24, 6)
    assert len(set(texts["train"]) | set(texts["val"])) == 30
    config = RenderConfig(out=tmp_path / "again", train_lines=24, val_lines=6, seed=4)
    again = render_set(config, find_font(may_fetch=True), lambda done, total: None)
    for path in slips.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(slips)).read_bytes() == path.read_bytes()


def test_labels_become_a_reader(slips: Path, tmp_path: Path, exported_tiny: ExportedPair) -> None:
    preparing = PrepareConfig(
        out=tmp_path / "dataset",
        images=slips,
        train_labels=[slips / "train.txt"],
        val_labels=[slips / "val.txt"],
        model="ppocrv6_tiny_rec",
    )
    training = RecTrainConfig(
        dataset=preparing.out,
        run_dir=tmp_path / "run",
        start="ppocrv6_tiny_rec",
        steps=2,
        batch=4,
        calibration_batches=1,
    )
    exported = run_pipeline(preparing, training, ExportConfig(), tmp_path / "rec", Silent())
    assert Dataset.load(preparing.out).manifest.counts == {"train": 24, "val": 6}
    assert exported.card.metrics == Checkpoint.load(training.run_dir).card.metrics
    assert len(exported.golden()) == 6
    page = OcrReader.load(exported_tiny.det, exported.folder).read(slips / "page.png")
    assert (page.width, page.height) != (0, 0)
    assert edit_distance(page.lines[0].text, "业务回单（付款）") <= 6
