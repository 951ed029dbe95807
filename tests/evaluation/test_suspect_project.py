"""The folder of suspects: what PPOCRLabel finds in it, and what is read back after correction."""

import ast
import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, SourceCard, cut_out
from ocr_pipeline.config.sources import SourceConfig, StorageConfig
from ocr_pipeline.errors import ConfigError, ImageError
from ocr_pipeline.evaluation.labelled import LabelPart, every_label
from ocr_pipeline.evaluation.suspect_project import row, write_project
from ocr_pipeline.evaluation.suspects import Ranking, Suspect
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import decode_image
from ocr_pipeline.preprocess.sources import RawSample, open_source
from tests.preprocess import labelled

LABELS = [
    "A0",
    'said "no", C:\\true\\n',
    "\true null false",
    "全角　ＡＢ 😀\u2028x\x85y",
    "<script>alert(1)</script>",
    "'eval'",
]
"""Of which PPOCRLabel would change or misread some if they were written plainly."""


@pytest.fixture
def parts(tmp_path: Path) -> list[LabelPart]:
    rows = labelled.lines(tmp_path / "本", len(LABELS) + 2)
    named = [f"{row.partition(chr(9))[0]}\t{text}" for row, text in zip(rows, LABELS, strict=False)]
    return every_label(labelled.write_list(tmp_path / "本/l.txt", [*named, *rows[-2:]]), None)


def suspect(part: LabelPart, number: int, read: str = "R") -> Suspect:
    sample, place = part.samples[number], part.place(number)
    score = 9.0 - number
    return Suspect(0, number, sample, place, read, 0.9, False, score, 4000.0, False, ())


def ranking(parts: list[LabelPart]) -> Ranking:
    return Ranking(len(parts[0].samples), [suspect(parts[0], at) for at in range(len(LABELS))])


def project(parts: list[LabelPart], folder: Path, count: int = 200) -> Path:
    return write_project(folder, ranking(parts), parts, count=count, title="labels").folder


def read_back(folder: Path) -> list[RawSample]:
    config = SourceConfig(labels=str(folder), kind="ppocrlabel")
    return list(open_source(config, "rec", images=None, storage=StorageConfig()).samples())


def opened(folder: Path) -> dict[str, list[dict[str, object]]]:
    """What PPOCRLabel 3 holds after it has opened a folder: labels by ``folder/picture``.

    It reads a line as Python after replacing JSON's words, in the labels as well, and lets
    Label.txt override its cache.
    """
    found: dict[str, list[dict[str, object]]] = {}
    for name in ("Cache.cach", "Label.txt"):
        with (folder / name).open(encoding="utf-8") as stream:
            for line in stream.readlines():
                picture, label = line.split("\t")
                for old, new in (("false", "False"), ("true", "True"), ("null", "None")):
                    label = label.replace(old, new)
                found[picture] = ast.literal_eval(label.strip())
    return found


def correct(folder: Path, corrections: dict[str, str]) -> None:
    """What PPOCRLabel does when some pictures are corrected and confirmed, and all is saved."""
    held = opened(folder)
    for picture, text in corrections.items():
        held[picture][0]["transcription"] = text
    confirmed = set(corrections) | set(confirmed_so_far(folder))
    saved = [
        f"{picture}\t{json.dumps(regions, ensure_ascii=False)}\n"
        for picture, regions in held.items()
        if picture in confirmed
    ]
    (folder / "Label.txt").write_text("".join(saved), encoding="utf-8")
    states = "".join(f"{picture}\t1\n" for picture in confirmed)
    (folder / "fileState.txt").write_text(states, encoding="utf-8")


def confirmed_so_far(folder: Path) -> list[str]:
    states = (folder / "fileState.txt").read_text(encoding="utf-8").splitlines()
    return [state.partition("\t")[0] for state in states]


def test_ppocrlabel_finds_every_label_as_it_was_worst_first(
    parts: list[LabelPart], tmp_path: Path
) -> None:
    folder = project(parts, tmp_path / "可疑")
    held = opened(folder)
    assert [regions[0]["transcription"] for regions in held.values()] == LABELS
    assert list(held) == [f"可疑/0000{at + 1}_ok{at}.png" for at in range(len(LABELS))]
    assert held["可疑/00001_ok0.png"] == [
        {
            "transcription": "A0",
            "points": [[0, 0], [96, 0], [96, 24], [0, 24]],
            "difficult": False,
        }
    ]
    for at in range(len(LABELS)):
        copy = (folder / f"0000{at + 1}_ok{at}.png").read_bytes()
        assert copy == parts[0].content(parts[0].samples[at])


def test_nothing_is_confirmed_before_a_person_has_looked(
    parts: list[LabelPart], tmp_path: Path
) -> None:
    samples = read_back(project(parts, tmp_path / "out"))
    assert [sample.text for sample in samples] == LABELS
    assert {sample.fault[0] for sample in samples if sample.fault} == {"unconfirmed"}
    assert all(sample.fault for sample in samples)


def test_corrections_are_read_back_with_the_same_pictures(
    parts: list[LabelPart], tmp_path: Path
) -> None:
    folder = project(parts, tmp_path / "out")
    correct(folder, {"out/00001_ok0.png": "Ａ１", "out/00003_ok2.png": "ok"})
    correct(folder, {"out/00002_ok1.png": "later"})  # opened again on another day
    samples = [sample for sample in read_back(folder) if sample.fault is None]
    assert {sample.image: sample.text for sample in samples} == {
        "00001_ok0.png": "Ａ１",
        "00002_ok1.png": "later",
        "00003_ok2.png": "ok",
    }
    assert len(opened(folder)) == len(LABELS)  # the others are still there to be looked at
    for sample in samples:
        assert sample.crop is not None
        picture = decode_image((folder / sample.image).read_bytes())
        assert np.array_equal(cut_out(picture, sample.crop), picture)


def test_the_rest_of_a_list_is_written_beside(parts: list[LabelPart], tmp_path: Path) -> None:
    folder = project(parts, tmp_path / "out", count=4)
    (rest,) = every_label(folder / "rest.txt", tmp_path / "本")
    assert [sample.text for sample in rest.samples] == [*LABELS[4:], "A6", "A7"]
    assert len(opened(folder)) == 4
    assert rest.read(rest.samples[0]).shape == (24, 96, 3)


def test_the_table_has_the_reason_of_each(parts: list[LabelPart], tmp_path: Path) -> None:
    folder = project(parts, tmp_path / "out")
    with (folder / "suspects.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, dialect="excel-tab"))
    assert [row["label"] for row in rows] == LABELS
    assert rows[0]["picture"] == "00001_ok0.png"
    assert rows[0]["image"] == "ok0.png"
    assert rows[0]["place"] == f"{tmp_path / '本/l.txt'}:1"
    assert rows[0]["reason"].startswith("reads 'R' with confidence 0.90; ")
    assert float(rows[1]["score"]) == 8.0
    assert json.dumps(row(suspect(parts[0], 3)), ensure_ascii=False)


class Page(HTMLParser):
    """Collects tags and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.pictures += [value or "" for name, value in attrs if name == "src"]


def test_the_page_shows_pictures_and_marks_what_differs(
    parts: list[LabelPart], tmp_path: Path
) -> None:
    text = (project(parts, tmp_path / "out") / "suspects.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.pictures) == len(LABELS)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.pictures)
    assert "script" not in page.tags
    assert "<dd><bdi><del>A0</del></bdi></dd>" in text
    assert "<dd><bdi><ins>R</ins></bdi></dd>" in text
    assert "http" not in text.replace("http-equiv", "")


def test_no_suspect_is_said_on_the_page(parts: list[LabelPart], tmp_path: Path) -> None:
    written = write_project(tmp_path / "out", Ranking(8, []), parts, count=9, title="t")
    assert "None: every label is what the model reads" in written.page.read_text(encoding="utf-8")
    assert opened(written.folder) == {}


def test_cut_out_lines_and_other_formats_become_pictures_of_their_own(tmp_path: Path) -> None:
    crop = ((4.0, 4.0), (60.0, 4.0), (60.0, 20.0), (4.0, 20.0))
    noise = labelled.noise("page", 40, 80)
    labelled.save(tmp_path, "page.jpg", noise)
    (tmp_path / "本 x.webp").write_bytes(cv2.imencode(".webp", noise)[1].tobytes())
    dataset = Dataset.write(
        tmp_path / "set",
        task="rec",
        sources=[SourceCard(name="a", images=str(tmp_path))],
        splits={
            "train": [RecSample("page.jpg", "A", 16, 56, crop=crop)],
            "val": [RecSample("本 x.webp", "B", 40, 80)],
        },
        charset=Charset(["A", "B"]),
        config={},
        made_by={},
    )
    parts = every_label(dataset.folder, None)
    found = [
        Suspect(at, 0, parts[at].samples[0], parts[at].place(0), "C", 1, False, 1, 9, False, ())
        for at in (0, 1)
    ]
    written = write_project(tmp_path / "out", Ranking(2, found), parts, count=9, title="t")
    assert written.pictures == ["00001_page.png", "00002_本_x.png"]
    assert written.rest is None
    for name, part in zip(written.pictures, parts, strict=True):
        picture = decode_image((written.folder / name).read_bytes())
        assert np.array_equal(picture, part.read(part.samples[0]))


def test_corrections_are_never_overwritten(parts: list[LabelPart], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match=r"out: exists already, and may hold corrections; give"):
        project(parts, tmp_path / "out")


def test_nothing_is_left_behind_where_a_picture_is_gone(
    parts: list[LabelPart], tmp_path: Path
) -> None:
    (tmp_path / "本/ok3.png").unlink()
    with pytest.raises(ImageError, match=r"ok3\.png: cannot read this picture"):
        project(parts, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["本"]
