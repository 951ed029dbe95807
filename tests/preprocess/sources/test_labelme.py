from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from tests.preprocess.sources.writers import (
    LOW,
    PAGES,
    TURNED,
    UPRIGHT,
    as_det,
    as_rec,
    expected_det,
    expected_rec,
    faults,
    labelme_card,
    labelme_shape,
    only_fault,
    read,
    source,
    touch,
    write_labelme,
)


def by_name(found: list) -> list:
    return sorted(found, key=lambda item: item[0])


def write(folder: Path, text: str, name: str = "a.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode())
    return folder


@pytest.mark.parametrize("described", [False, True])
def test_a_folder_gives_pictures_or_lines(tmp_path: Path, described: bool) -> None:
    write_labelme(tmp_path, described=described)
    assert source(tmp_path, "det", "labelme").images == str(tmp_path)
    pictures = read(tmp_path, "det", "labelme")
    assert as_det(pictures) == by_name(expected_det())
    assert [s.size for s in pictures] == [page.size for page in reversed(PAGES)]
    lines = read(tmp_path, "rec", "labelme")
    assert as_rec(lines) == by_name(expected_rec())
    assert lines[0].place == f"{tmp_path}/b c.json#1"
    one = read(tmp_path / "b c.json", "det", "labelme")
    assert [s.image for s in one] == ["b c.jpg"]


def test_shapes_of_labelme_and_its_relatives(tmp_path: Path) -> None:
    shapes = [
        labelme_shape("A", ((30.0, 12.0), (1.0, 2.0)), "rectangle"),
        labelme_shape("B", UPRIGHT, "rectangle"),
        labelme_shape("C", TURNED, "rotation", direction=0.1, difficult=False),
        labelme_shape("D", TURNED, "oriented_rectangle"),
        labelme_shape("E", (*LOW, (1.5, 2.5))),
    ]
    del shapes[4]["shape_type"], shapes[4]["flags"], shapes[4]["description"]
    (picture,) = read(write(tmp_path, labelme_card("a.jpg", shapes)), "det", "labelme")
    assert picture.regions is not None
    assert [r.points for r in picture.regions] == [
        UPRIGHT,
        UPRIGHT,
        TURNED,
        TURNED,
        (*LOW, (1.5, 2.5)),
    ]


def test_flags_and_marks_mean_ignore(tmp_path: Path) -> None:
    shapes = [
        labelme_shape("A", UPRIGHT, flags={"ignore": True}),
        labelme_shape("B", UPRIGHT, flags={"difficult": True, "x": False}),
        labelme_shape("C", UPRIGHT, difficult=True),
        labelme_shape("###", UPRIGHT),
        labelme_shape("E", UPRIGHT, flags={"ignore": False, "x": True}),
    ]
    write(tmp_path, labelme_card("a.jpg", shapes))
    assert [s.text for s in read(tmp_path, "rec", "labelme")] == ["E"]


def test_one_description_makes_all_labels_classes(tmp_path: Path) -> None:
    first = [labelme_shape("text", UPRIGHT, description="A"), labelme_shape("text", LOW)]
    write(tmp_path, labelme_card("a.jpg", first))
    write(tmp_path, labelme_card("b.jpg", [labelme_shape("text", UPRIGHT)]), "b.json")
    assert [s.text for s in read(tmp_path, "rec", "labelme")] == ["A", "", ""]


def test_pictures_stand_beside_the_file_or_where_it_says(tmp_path: Path) -> None:
    card = labelme_card("..\\pictures\\图 1.jpg", [labelme_shape("A", UPRIGHT)])
    write(tmp_path / "json/day 1", card)
    assert [s.image for s in read(tmp_path / "json", "det", "labelme")] == ["pictures/图 1.jpg"]
    touch(tmp_path / "other", "图 1.jpg")
    found = read(tmp_path / "json", "det", "labelme", images=str(tmp_path / "other"))
    assert [s.image for s in found] == ["图 1.jpg"]
    touch(tmp_path / "json/pictures", "图 1.jpg")
    found = read(tmp_path / "json", "det", "labelme", images=str(tmp_path / "json"))
    assert [s.image for s in found] == ["pictures/图 1.jpg"]


def test_a_picture_that_only_the_json_holds_is_named(tmp_path: Path) -> None:
    card = labelme_card("a.jpg", [labelme_shape("A", UPRIGHT)], imageData="aGVsbG8=")
    write(tmp_path, card)
    (bad,) = read(tmp_path, "det", "labelme")
    assert bad.fault is not None
    assert bad.fault[0] == "missing_picture"
    assert "a.jpg: no such picture, the JSON file alone holds it (imageData)" in bad.fault[1]
    touch(tmp_path, "a.jpg")
    assert faults(read(tmp_path, "det", "labelme")) == []


def test_a_size_that_is_none_claims_nothing(tmp_path: Path) -> None:
    for number, size in enumerate([None, 0, "9", True, 2.5]):
        write(tmp_path, labelme_card("a.jpg", [], imageHeight=size), f"{number}.json")
    assert [s.size for s in read(tmp_path, "det", "labelme")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"broken JSON"),
        ('{"shapes": [\n{]}', r"broken JSON .* at line 2 column 2"),
        ("[]", r"the file's content is \[\]; expected an object"),
        ("{}", r"no 'shapes': not a file of labelme"),
        ('{"shapes": {}}', r"shapes is \{\}; expected a list"),
        ('{"shapes": []}', r"imagePath is None; expected a text"),
        ('{"shapes": [], "imagePath": ""}', r"imagePath is empty"),
        ("[" * 100_000, r"nested too deeply"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    write_labelme(tmp_path)
    write(tmp_path, text)
    bad, said = only_fault(read(tmp_path, "det", "labelme"))
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)
    assert bad.place == f"{tmp_path}/a.json"


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"label": None}, r"label is None; expected a text"),
        ({"label": 7}, r"label is 7; expected a text"),
        ({"points": None}, r"points is None; expected a list"),
        ({"points": [[1, None]]}, r"points\[0\] is None; expected a number"),
        ({"shape_type": "circle"}, r"a shape of type 'circle'; expected polygon"),
        ({"shape_type": ["x"]}, r"a shape of type \['x'\]"),
        ({"shape_type": "rectangle", "points": [[1, 2]]}, r"a rectangle of 1 points; expected 2"),
        ({"flags": [1]}, r"flags is \[1\]; expected an object"),
        ({"flags": {"ignore": "x"}}, r"an ignore flag is 'x'; expected true or false"),
    ],
)
def test_a_broken_shape_is_named(tmp_path: Path, shape: dict[str, object], sentence: str) -> None:
    shapes = [labelme_shape("A", UPRIGHT), labelme_shape("B", UPRIGHT) | shape]
    write(tmp_path, labelme_card("a.jpg", shapes))
    bad, said = only_fault(read(tmp_path, "det", "labelme"))
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)
    assert (bad.place, bad.image) == (f"{tmp_path}/a.json#2", "a.jpg")
    assert [s.text for s in read(tmp_path, "rec", "labelme")] == ["A", None]


def test_a_folder_without_json_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file matches '\*\*/\*\.json'"):
        read(tmp_path, "det", "labelme")
