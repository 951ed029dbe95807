"""Every label of a list or a dataset, with its place and its picture."""

from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, SourceCard, cut_out
from ocr_pipeline.errors import ArtifactError, DataError, ImageError
from ocr_pipeline.evaluation.labelled import every_label
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess import prepare
from tests.preprocess import labelled

CHARSET = Charset(list("0123456789ABC"))
CROP = ((4.0, 4.0), (60.0, 4.0), (60.0, 20.0), (4.0, 20.0))


def test_a_list_gives_labels_with_line_numbers_and_pictures(tmp_path: Path) -> None:
    rows = labelled.lines(tmp_path, 2)
    labels = labelled.write_list(tmp_path / "l.txt", ["\ufeff" + rows[0], "", rows[1] + "\tx"])
    (part,) = every_label(labels, None)
    assert [sample.text for sample in part.samples] == ["A0", "A1\tx"]
    assert [part.place(0), part.place(1)] == [f"{labels}:1", f"{labels}:3"]
    assert part.listed
    assert np.array_equal(part.read(part.samples[1]), labelled.noise("ok1.png"))
    assert part.content(part.samples[1]) == (tmp_path / "ok1.png").read_bytes()


def test_pictures_of_a_list_may_be_elsewhere(tmp_path: Path) -> None:
    labels = labelled.write_list(tmp_path / "lists/l.txt", labelled.lines(tmp_path / "本", 1))
    (part,) = every_label(labels, tmp_path / "本")
    assert part.read(part.samples[0]).shape == (24, 96, 3)
    (beside,) = every_label(labels, None)
    with pytest.raises(ImageError, match=r"ok0\.png: cannot read this picture"):
        beside.read(beside.samples[0])
    with pytest.raises(ImageError, match=r"ok0\.png: cannot .*check the path and --images"):
        beside.content(beside.samples[0])


def test_a_dataset_gives_all_its_parts(tmp_path: Path) -> None:
    labels = labelled.write_list(tmp_path / "l.txt", labelled.lines(tmp_path, 8))
    dataset = prepare(labelled.settings(tmp_path, labels), CHARSET)
    parts = every_label(dataset.folder, None)
    assert [len(part.samples) for part in parts] == [6, 2]
    texts = {sample.text for part in parts for sample in part.samples}
    assert texts == {f"A{number}" for number in range(8)}
    assert parts[1].place(1) == f"{dataset.folder}/val.jsonl:2"
    assert not parts[0].listed
    sample = parts[1].samples[0]
    assert np.array_equal(parts[1].read(sample), labelled.noise(sample.image))
    assert parts[1].content(sample) == (tmp_path / sample.image).read_bytes()


def test_lines_of_a_dataset_are_cut_out_wherever_their_pages_are(tmp_path: Path) -> None:
    labelled.save(tmp_path / "a", "page.png", labelled.noise("page", 40, 80))
    labelled.save(tmp_path / "b", "page.png", labelled.noise("page", 40, 80))
    Dataset.write(
        tmp_path / "set",
        task="rec",
        sources=[SourceCard(name="a", images=str(tmp_path / "a"))],
        splits={"train": [RecSample("page.png", "A", 16, 56, crop=CROP)], "val": []},
        charset=CHARSET,
        config={},
        made_by={},
    )
    expected = cut_out(labelled.noise("page", 40, 80), CROP)
    for images in (None, tmp_path / "b"):
        part = every_label(tmp_path / "set", images)[0]
        assert np.array_equal(part.read(part.samples[0]), expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"l\.txt: holds no label line"),
        (["a.png A"], r"l\.txt:1: no tab; expected image<TAB>"),
        (["a.png\tA", "b.png B"], r"l\.txt:2: no tab; expected image<TAB>text"),
        (
            ['a.png\t[{"transcription": "A", "points": [[0, 0], [9, 0], [9, 9], [0, 9]]}]'],
            r"l\.txt: regions of pages \(.*\); labels of lines are looked at\. Make a dataset of "
            r"the regions with task=rec",
        ),
    ],
)
def test_lists_that_hold_no_lines_are_refused(
    tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        every_label(labelled.write_list(tmp_path / "l.txt", rows), None)


def test_a_label_that_begins_with_a_bracket_is_a_label(tmp_path: Path) -> None:
    rows = [*labelled.lines(tmp_path, 3), "x.png\t[]"]
    (part,) = every_label(labelled.write_list(tmp_path / "l.txt", rows), None)
    assert part.samples[3].text == "[]"


def test_what_is_no_set_of_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.txt: cannot read this label list"):
        every_label(tmp_path / "no.txt", None)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        every_label(tmp_path, None)
    labels = labelled.write_list(tmp_path / "l.txt", labelled.pages(tmp_path, 5))
    pages = prepare(labelled.settings(tmp_path, labels, task="det"), None)
    with pytest.raises(ArtifactError, match="a dataset for task=det, asked for task=rec"):
        every_label(pages.folder, None)
