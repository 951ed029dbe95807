import json
from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.sources import RawRegion
from tests.preprocess.sources.writers import (
    LOW,
    PAGES,
    UPRIGHT,
    Page,
    as_det,
    as_rec,
    expected_det,
    expected_rec,
    only_fault,
    read,
    source,
    touch,
    xfund_card,
)

FORMS = (
    Page("表 1.jpg", (50, 90), (RawRegion(UPRIGHT, "姓名，", False), RawRegion(LOW, "*", False))),
    Page(
        "b.jpg",
        (60, 100),
        (RawRegion(UPRIGHT, 'a "b", 😀　', False), RawRegion(LOW, "", False)),
    ),
)


def write(path: Path, card: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


def test_a_file_gives_pictures_or_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "zh.val.json", xfund_card(FORMS))
    assert source(path, "det", "xfund").images == str(tmp_path)
    pictures = read(path, "det", "xfund")
    assert as_det(pictures) == expected_det(FORMS)
    assert [s.size for s in pictures] == [page.size for page in FORMS]
    lines = read(path, "rec", "xfund")
    assert as_rec(lines) == expected_rec(FORMS)
    assert lines[1].place == f"{path}#documents[0].1"


def test_pictures_may_stand_in_the_unpacked_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "zh.val.json", xfund_card(FORMS))
    touch(tmp_path / "zh.val", "b.jpg", "表 1.jpg")
    assert as_det(read(path, "det", "xfund")) == expected_det(FORMS, "zh.val/")
    own = read(path, "det", "xfund", images=str(tmp_path / "zh.val"))
    assert as_det(own) == expected_det(FORMS)


def test_a_pattern_names_several_files(tmp_path: Path) -> None:
    for name in ("zh.val.json", "zh.train.json"):
        write(tmp_path / name, xfund_card(PAGES[:1]))
    touch(tmp_path / "zh.train", PAGES[0].image)
    images = [s.image for s in read(f"{tmp_path}/zh.*.json", "det", "xfund")]
    assert images == [f"zh.train/{PAGES[0].image}", PAGES[0].image]


def document(**changes: object) -> dict[str, object]:
    entry = {"box": [1, 2, 3, 4], "text": "A"}
    base = {"document": [entry], "img": {"fname": "a.jpg", "width": 1, "height": 1}}
    return {"documents": [base | changes]}


def entry(**changes: object) -> dict[str, object]:
    good = {"box": [1, 2, 3, 4], "text": "A"}
    return document(document=[good, good | changes])


@pytest.mark.parametrize(
    ("card", "sentence", "place"),
    [
        ([], r"the file's content is \[\]", ""),
        ({}, r"no 'documents': not a file of XFUND", ""),
        ({"documents": 1}, r"documents is 1; expected a list", ""),
        ({"documents": [1]}, r"the document is 1; expected an object", "#documents[0]"),
        (document(img=None), r"img is None; expected an object", "#documents[0]"),
        (document(img={}), r"img.fname is None; expected a text", "#documents[0]"),
        (document(img={"fname": ""}), r"img.fname is empty", "#documents[0]"),
        (document(img={"fname": "a\ud83d.jpg"}), r"half a character", "#documents[0]"),
        (document(img={"fname": "a\0.jpg"}), r"has a NUL character", "#documents[0]"),
        (document(document=None), r"document is None; expected a list", "#documents[0]"),
        (document(document=[1]), r"the entry is 1; expected an object", "#documents[0].0"),
        (entry(box=[1, 2]), r"box is \[1, 2\]; expected \[left, top", "#documents[0].1"),
        (entry(box=[1, 2, 3, "4"]), r"box\[3\] is '4'; expected a number", "#documents[0].1"),
        (entry(text=None), r"text is None; expected a text in quotes", "#documents[0].1"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, card: object, sentence: str, place: str) -> None:
    path = write(tmp_path / "a.json", card)
    bad, said = only_fault(read(path, "det", "xfund"))
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)
    assert bad.place == f"{path}{place}"
