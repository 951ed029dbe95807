"""Contact sheets of datasets."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.det_augment import DetAugmentConfig
from ocr_pipeline.config.rec_augment import RecAugmentConfig
from ocr_pipeline.errors import ArtifactError, DataError, ImageError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.preprocess.show import show_lines, show_pages
from ocr_pipeline.weights.source import recognizer_rules
from tests.conftest import SHARED
from tests.preprocess import labelled

CHARSET = Charset(list("0123456789ABC"))
WIDTH = 1600


@pytest.fixture(scope="module")
def line_set(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("行 set")
    labels = labelled.write_list(folder / "labels.txt", labelled.lines(folder, 12))
    return prepare(labelled.settings(folder, labels), CHARSET)


@pytest.fixture(scope="module")
def page_set(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("页 set")
    labels = labelled.write_list(folder / "labels.txt", labelled.pages(folder, 5))
    return prepare(labelled.settings(folder, labels, task="det"), None)


def lines(dataset: Dataset, *, preset: str | None = None, count: int = 4, seed: int = 0) -> object:
    augment = None if preset is None else RecAugmentConfig.model_validate(preset)
    return show_lines(dataset, "train", count=count, seed=seed, augment=augment, font=None)


def pages(dataset: Dataset, *, preset: str | None = None, count: int = 2, seed: int = 0) -> object:
    augment = None if preset is None else DetAugmentConfig.model_validate(preset)
    return show_pages(dataset, "train", count=count, seed=seed, augment=augment, font=None)


def height(sheet: object) -> int:
    found = np.asarray(sheet)
    assert found.dtype == np.uint8
    assert found.shape[1:] == (WIDTH, 3)
    assert found.std() > 10  # something is drawn
    return int(found.shape[0])


def is_drawn(sheet: object, picture: labelled.Picture) -> bool:
    """Whether a line stands on a sheet, 56 px high."""
    size = (round(56 * picture.shape[1] / picture.shape[0]), 56)
    wanted = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    found = cv2.matchTemplate(np.asarray(sheet), wanted, cv2.TM_CCOEFF_NORMED)
    return float(found.max()) > 0.9


@pytest.mark.parametrize("preset", [None, "fine_tune", "released"])
def test_lines_are_shown_with_and_without_changes(line_set: Dataset, preset: str | None) -> None:
    plain, shown = lines(line_set), lines(line_set, preset=preset)
    assert (height(shown) > height(plain)) == (preset is not None)
    np.testing.assert_array_equal(shown, lines(line_set, preset=preset))
    assert not np.array_equal(shown, lines(line_set, preset=preset, seed=1))


def test_a_line_is_drawn_as_it_is(line_set: Dataset) -> None:
    sheet = lines(line_set, count=100)  # more than there are: all
    train = {sample.image for sample in line_set.lines("train")}
    assert [is_drawn(sheet, labelled.noise(f"ok{n}.png")) for n in range(12)] == [
        f"ok{n}.png" in train for n in range(12)
    ]


@pytest.mark.parametrize("preset", [None, "fine_tune", "v6", "v4"])
def test_pages_are_shown_with_and_without_changes(page_set: Dataset, preset: str | None) -> None:
    shown = pages(page_set, preset=preset)
    height(shown)
    np.testing.assert_array_equal(shown, pages(page_set, preset=preset))
    if preset is not None:
        assert not np.array_equal(shown, pages(page_set, preset=preset, seed=5))


def test_the_other_task_is_refused(line_set: Dataset, page_set: Dataset) -> None:
    with pytest.raises(ArtifactError, match="for task=det, asked for task=rec"):
        lines(page_set)
    with pytest.raises(ArtifactError, match="for task=rec, asked for task=det"):
        pages(line_set)


def test_an_empty_part_and_a_broken_picture_are_named(line_set: Dataset, tmp_path: Path) -> None:
    empty = Dataset.write(
        tmp_path / "空 set",
        task="rec",
        sources=line_set.manifest.sources,
        splits={"train": [], "val": []},
        charset=CHARSET,
        config={},
        made_by={},
    )
    with pytest.raises(DataError, match="空 set: its part 'train' holds no sample"):
        lines(empty)
    labels = labelled.write_list(tmp_path / "labels.txt", labelled.lines(tmp_path, 3))
    broken = prepare(labelled.settings(tmp_path, labels, val_count=1), CHARSET)
    for picture in tmp_path.glob("*.png"):
        picture.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"/ok\d\.png: not a picture"):
        lines(broken)


@pytest.mark.parametrize(
    ("name", "task", "preset"),
    [
        ("wire_tags", "rec", "fine_tune"),
        ("cn_plates", "rec", "released"),
        ("game_quest_ui", "det", "v6"),
    ],
)
def test_real_sets_are_prepared_and_shown(
    released_weights: None, tmp_path: Path, name: str, task: str, preset: str
) -> None:
    folder = SHARED / "data" / name
    source = folder / f"{task}_train.txt"
    if not source.is_file():
        pytest.skip(f"{source} is absent")
    rows = source.read_text(encoding="utf-8").splitlines()[:60]
    labels = labelled.write_list(tmp_path / "labels.txt", rows)
    settings = labelled.settings(folder, labels, task=task, out=tmp_path / "set")
    charset = recognizer_rules("ppocrv6_small_rec")[0] if task == "rec" else None
    dataset = prepare(settings, charset)
    assert sum(dataset.manifest.counts.values()) > 50
    font = find_font(may_fetch=True)
    if task == "rec":
        rec = RecAugmentConfig.model_validate(preset)
        sheet = show_lines(dataset, "train", count=6, seed=0, augment=rec, font=font)
    else:
        det = DetAugmentConfig.model_validate(preset)
        sheet = show_pages(dataset, "train", count=3, seed=0, augment=det, font=font)
    assert height(sheet) > 300
