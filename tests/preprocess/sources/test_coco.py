import json
from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.sources import files
from tests.preprocess.sources.writers import (
    LOW,
    PAGES,
    TURNED,
    UPRIGHT,
    as_det,
    as_rec,
    coco_card,
    expected_det,
    expected_rec,
    faults,
    only_fault,
    read,
    source,
)


def write(path: Path, card: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


def annotated(*annotations: dict[str, object]) -> dict[str, object]:
    """One picture with annotations that lack what is not given."""
    images = [{"id": 1, "file_name": "a.jpg"}]
    base = {"image_id": 1, "bbox": [1, 2, 29, 10]}
    return {"images": images, "annotations": [base | a for a in annotations]}


def test_a_file_gives_pictures_or_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "instances.json", coco_card())
    assert source(path, "det", "coco").images == str(tmp_path)
    pictures = read(path, "det", "coco")
    assert as_det(pictures) == expected_det()
    assert [s.size for s in pictures] == [page.size for page in PAGES]
    lines = read(path, "rec", "coco")
    assert as_rec(lines) == expected_rec()
    assert lines[1].place == f"{path}#annotation:2"
    assert pictures[0].place == f"{path}#image:1"


@pytest.mark.parametrize("outline", ["mask", "points"])
def test_coco_text_and_textocr(tmp_path: Path, outline: str) -> None:
    card = coco_card()
    for annotation in card["annotations"]:
        segmentation = annotation.pop("segmentation")
        assert isinstance(segmentation, list)
        annotation[outline] = segmentation[0]
        annotation["id"] = f"t_{annotation['id']}"
    images = {str(image["id"]): image for image in card["images"]}
    annotations = {str(a["id"]): a for a in card["annotations"]}
    path = write(tmp_path / "cocotext.v2.json", {"imgs": images, "anns": annotations})
    assert as_det(read(path, "det", "coco")) == expected_det()
    assert as_rec(read(path, "rec", "coco")) == expected_rec()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"utf8_string": "A", "caption": "B"}, "A"),
        ({"utf8_string": None, "caption": "B"}, "B"),
        ({"attributes": {"text": "C"}, "text": "D", "translation": "E"}, "C"),
        ({"attributes": {"occluded": False}, "text": "D"}, "D"),
        ({"translation": "E"}, "E"),
        ({"utf8_string": "", "caption": "B"}, ""),
    ],
)
def test_the_text_is_the_first_field_that_is_there(
    tmp_path: Path, fields: dict[str, object], text: str
) -> None:
    path = write(tmp_path / "a.json", annotated(fields))
    assert [s.text for s in read(path, "rec", "coco")] == [text]


def test_what_is_ignored(tmp_path: Path) -> None:
    marks: list[dict[str, object]] = [
        {"iscrowd": 1},
        {"ignore": True},
        {"legibility": "illegible"},
        {"utf8_string": "###"},
        {"legibility": "legible", "iscrowd": 0, "ignore": 0},
    ]
    path = write(tmp_path / "a.json", annotated(*({"utf8_string": "A"} | m for m in marks)))
    (picture,) = read(path, "det", "coco")
    assert picture.regions is not None
    assert [r.ignore for r in picture.regions] == [True, True, True, True, False]
    assert len(read(path, "rec", "coco")) == 1


def test_outlines(tmp_path: Path) -> None:
    flat = [n for point in TURNED for n in point]
    low = [n for point in LOW for n in point]
    shapes: list[dict[str, object]] = [
        {"segmentation": [flat]},
        {"segmentation": []},
        {"segmentation": {"counts": [1], "size": [9, 9]}},
        {"segmentation": [flat, low]},
        {"segmentation": [[]]},
    ]
    path = write(tmp_path / "a.json", annotated(*shapes))
    (picture,) = read(path, "det", "coco")
    assert picture.regions is not None
    around = ((5.0, 5.0), (80.0, 5.0), (80.0, 44.0), (5.0, 44.0))
    assert [r.points for r in picture.regions] == [TURNED, UPRIGHT, UPRIGHT, around, ()]


def test_annotations_without_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", annotated({"utf8_string": "A"}, {}))
    assert [s.text for s in read(path, "rec", "coco")] == ["A"]
    path = write(tmp_path / "b.json", annotated({}, {"category_id": 1}))
    with pytest.raises(DataError, match=r"none of 2 annotations has a text .*use the file for det"):
        read(path, "rec", "coco")
    assert faults(read(path, "det", "coco")) == []


def test_a_picture_without_annotations_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", annotated())
    assert as_det(read(path, "det", "coco")) == [("a.jpg", ())]
    assert read(path, "rec", "coco") == []


def test_a_pattern_names_several_files(tmp_path: Path) -> None:
    for part in ("a", "b"):
        write(tmp_path / part / "x.json", annotated({"text": part}))
    found = read(f"{tmp_path}/*/x.json", "rec", "coco")
    assert [(s.image, s.text) for s in found] == [("a/a.jpg", "a"), ("b/a.jpg", "b")]
    (one,) = read(tmp_path / "a/x.json", "rec", "coco", images="s3://pictures")
    assert one.image == "a.jpg"


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ([], r"the file's content is \[\]"),
        ({}, r"neither 'images' nor 'imgs': not a file of COCO"),
        ({"images": []}, r"neither 'annotations' nor 'anns'"),
        ({"images": {}, "annotations": []}, r"images is \{\}; expected a list"),
        ({"images": [1], "annotations": []}, r"the image is 1; expected an object"),
        ({"images": [{"id": 1}], "annotations": []}, r"file_name is None"),
        ({"images": [{"id": 1, "file_name": ""}], "annotations": []}, r"file_name is empty"),
        ({"images": [{"id": 1.5}], "annotations": []}, r"id is 1.5; expected a whole number"),
        ({"images": [], "annotations": [{"image_id": 9}]}, r"image_id is 9, which is no id"),
        ({"images": [], "annotations": ["x"]}, r"the annotation is 'x'"),
        (
            {"images": [{"id": 1, "file_name": x} for x in "ab"], "annotations": []},
            r"image id 1 is taken by a",
        ),
        (annotated({"bbox": None}), r"bbox is None; expected a list"),
        (annotated({"bbox": [1, 2]}), r"bbox is \[1, 2\]; expected \[left, top, width, height\]"),
        (annotated({"segmentation": [[1, 2, 3]]}), r"segmentation\[0\] has 3 numbers"),
        (annotated({"segmentation": ["x"]}), r"segmentation\[0\] is 'x'"),
        (annotated({"text": 12}), r"text is 12; expected a text in quotes"),
        (annotated({"iscrowd": 7}), r"iscrowd is 7; expected true or false"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, card: object, sentence: str) -> None:
    bad, said = only_fault(read(write(tmp_path / "a.json", card), "det", "coco"))
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)
    assert bad.place.startswith(f"{tmp_path}/a.json")


def test_broken_json_is_named(tmp_path: Path) -> None:
    for content in (b"{", b"", b"\xff\xfe{\0", "合".encode("gb18030"), b'{"a": ' + b"[" * 10**5):
        (tmp_path / "a.json").write_bytes(content)
        only_fault(read(tmp_path / "a.json", "rec", "coco"))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    text = "\ufeff" + json.dumps(coco_card())
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert as_det(read(tmp_path / "a.json", "det", "coco")) == expected_det()


def test_a_huge_file_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 1000)
    path = write(tmp_path / "a.json", coco_card())
    with pytest.raises(DataError, match=r"MB of JSON, allowed are 0; split it into several files"):
        read(path, "det", "coco")


def test_messages_are_short_and_can_be_written(tmp_path: Path) -> None:
    card = {"images": [{"id": "\ud83d" * 999, "file_name": 1}], "annotations": []}
    bad, said = only_fault(read(write(tmp_path / "a.json", card), "det", "coco"))
    assert len(bad.place.encode()) < 4000
    assert len(said.encode()) < 4000
    long = {"images": [{"id": "x" * 9999, "file_name": name} for name in "ab"], "annotations": []}
    bad, said = only_fault(read(write(tmp_path / "a.json", long), "det", "coco"))
    assert (len(bad.place), len(said)) == (505, 505)
    assert said.startswith("image id xxx")
    assert said.endswith("xxx is taken by a")
