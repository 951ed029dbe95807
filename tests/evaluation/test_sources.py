import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, SourceCard
from ocr_pipeline.errors import ArtifactError, DataError
from ocr_pipeline.evaluation.sources import (
    labelled_lines,
    labelled_pages,
    labels_task,
    load_any_detector,
    load_any_model,
    load_any_recognizer,
)
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.preprocess.prepare import prepare
from tests.conftest import SHARED, ExportedPair
from tests.preprocess import labelled


def test_a_model_is_what_it_holds(exported_tiny: ExportedPair) -> None:
    page = golden_pages()[0]
    counts = []
    for source in (str(exported_tiny.det), "ppocrv6_tiny_det"):
        detector = load_any_model(source)
        assert isinstance(detector, Detector)
        counts.append(len(detector.detect(page).polygons))
        with pytest.raises(ArtifactError, match="a detector; lines are evaluated with a recog"):
            load_any_recognizer(source)
    assert counts == [4, 4]
    assert isinstance(load_any_model(str(exported_tiny.rec)), Recognizer)
    with pytest.raises(ArtifactError, match="a recognizer; pages are evaluated with a detector"):
        load_any_detector(str(exported_tiny.rec))


def test_pages_of_a_list_with_pictures_beside_it_or_elsewhere(tmp_path: Path) -> None:
    rows = labelled.pages(tmp_path / "图片", 2)
    beside = labelled.write_list(tmp_path / "图片" / "det.txt", rows)
    apart = labelled.write_list(tmp_path / "det.txt", rows)
    for labels, images in ((beside, None), (apart, tmp_path / "图片")):
        assert labels_task(labels)[0] == "det"
        samples, read = labelled_pages(labels, images)
        assert [sample.image for sample in samples] == ["page0.png", "page1.png"]
        assert [region.text for region in samples[1].regions] == ["B1", "C1"]
        assert samples[0].regions[0].points[2] == (140.0, 52.0)
        expected = labelled.noise("page1.png", 160, 240)
        np.testing.assert_array_equal(read(samples[1]), expected)


def test_pages_of_a_dataset_are_its_validation_part(tmp_path: Path) -> None:
    rows = labelled.pages(tmp_path, 6)
    labels = labelled.write_list(tmp_path / "det.txt", rows)
    settings = labelled.settings(tmp_path, labels, task="det")
    prepare(settings, None)
    assert labels_task(tmp_path / "out") == ("det", "task=det in its manifest")
    samples, read = labelled_pages(tmp_path / "out", None)
    assert len(samples) == 2
    expected = cv2.imread(str(tmp_path / samples[0].image))
    np.testing.assert_array_equal(read(samples[0]), expected)
    again, elsewhere = labelled_pages(tmp_path / "out", tmp_path)
    np.testing.assert_array_equal(elsewhere(again[0]), expected)
    with pytest.raises(ArtifactError, match="a dataset for task=det, asked for task=rec"):
        labelled_lines(tmp_path / "out", None)


def test_a_dataset_without_a_validation_part_is_refused(tmp_path: Path) -> None:
    Dataset.write(
        tmp_path / "out",
        task="det",
        sources=[SourceCard(name="a", images=str(tmp_path))],
        splits={"train": [], "val": []},
        charset=None,
        config={},
        made_by={},
    )
    with pytest.raises(DataError, match=r"out: its validation part is empty; give a list"):
        labelled_pages(tmp_path / "out", None)


def test_lists_are_told_apart_by_most_of_their_labels(tmp_path: Path) -> None:
    texts = [f"{number}.png\t{text}" for number, text in enumerate(["[1]", "[]", "{A}"])]
    path = labelled.write_list(tmp_path / "rec.txt", texts)
    assert labels_task(path) == ("rec", "its first label is '[1]'")
    label = json.dumps(labelled.regions(0))
    path = labelled.write_list(tmp_path / "det.txt", ["a.png\t[]", f"b.png\t{label}", "c.png\t{"])
    assert labels_task(path)[0] == "det"
    with pytest.raises(DataError, match=r"det\.txt:3: broken JSON"):
        labelled_pages(path, None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [(["", " "], r"list\.txt: holds no label line"), (["a.png A"], r"list\.txt:1: no tab")],
)
def test_lists_without_labels_are_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    path = labelled.write_list(tmp_path / "list.txt", rows)
    for read in (labels_task, lambda p: labelled_lines(p, None), lambda p: labelled_pages(p, None)):
        with pytest.raises(DataError, match=message):
            read(path)


def test_lines_of_a_list_are_as_before(tmp_path: Path) -> None:
    path = labelled.write_list(tmp_path / "rec.txt", labelled.lines(tmp_path, 2))
    samples, read = labelled_lines(path, None)
    assert list(samples) == [RecSample(f"ok{n}.png", f"A{n}", height=0, width=0) for n in range(2)]
    np.testing.assert_array_equal(read(samples[1]), labelled.noise("ok1.png"))


@pytest.mark.parametrize(
    ("name", "pages", "regions", "ignored"),
    [("game_quest_ui/det_train", 298, 952, 127), ("wire_tags/det_val", 120, 120, 0)],
)
def test_real_lists_are_read_whole(name: str, pages: int, regions: int, ignored: int) -> None:
    path = SHARED / "data" / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    samples, read = labelled_pages(path, None)
    found = [region for sample in samples for region in sample.regions]
    assert (len(samples), len(found)) == (pages, regions)
    assert sum(region.ignore for region in found) == ignored
    assert read(samples[-1]).ndim == 3
