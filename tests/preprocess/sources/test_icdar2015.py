from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from tests.preprocess.sources.writers import (
    as_det,
    as_rec,
    expected_det,
    expected_rec,
    faults,
    read,
    source,
    touch,
    write_icdar,
)


def by_name(found: list) -> list:
    return sorted(found, key=lambda item: item[0])


def gt(folder: Path, text: str, name: str = "gt_img_1.txt") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode())


def test_a_folder_gives_pictures_or_lines(tmp_path: Path) -> None:
    write_icdar(tmp_path)
    assert source(tmp_path, "det", "icdar2015").images == str(tmp_path)
    assert as_det(read(tmp_path, "det", "icdar2015")) == by_name(expected_det())
    lines = read(tmp_path, "rec", "icdar2015")
    assert as_rec(lines) == by_name(expected_rec())
    assert lines[0].place == f"{tmp_path}/gt_b c.txt:1"


def test_the_text_is_the_rest_of_the_line(tmp_path: Path) -> None:
    box = "377,117,463,117,465,130,378,130"
    texts = ['"quoted"', "a,b,", "", " x ", "1,2"]
    gt(tmp_path, "".join(f"{box},{text}\n" for text in texts) + f"{box}\n{box},###\n")
    touch(tmp_path, "img_1.png")
    assert [s.text for s in read(tmp_path, "rec", "icdar2015")] == texts
    (picture,) = read(tmp_path, "det", "icdar2015")
    assert picture.image == "img_1.png"
    assert picture.regions is not None
    assert [r.ignore for r in picture.regions] == [False] * 6 + [True]
    assert picture.regions[0].points == ((377, 117), (463, 117), (465, 130), (378, 130))


def test_an_empty_file_is_a_picture_without_text(tmp_path: Path) -> None:
    gt(tmp_path, "\ufeff")
    touch(tmp_path, "img_1.jpg")
    assert as_det(read(tmp_path, "det", "icdar2015")) == [("img_1.jpg", ())]


def test_labels_and_pictures_may_have_folders_of_their_own(tmp_path: Path) -> None:
    write_icdar(tmp_path / "gt/part 1")
    touch(tmp_path / "pictures/part 1", "b c.JPG", "发票 第1页.png")
    touch(tmp_path / "gt", "readme.txt")
    found = read(tmp_path / "gt", "det", "icdar2015", images=str(tmp_path / "pictures"))
    assert [s.image for s in found] == ["part 1/b c.JPG", "part 1/发票 第1页.png"]
    one = tmp_path / "gt/part 1/gt_b c.txt"
    assert [s.image for s in read(one, "det", "icdar2015")] == ["b c.jpg"]
    assert len(read(f"{tmp_path}/*/part 1/gt_b*.txt", "det", "icdar2015")) == 1


def test_a_missing_picture_is_left_to_the_checks(tmp_path: Path) -> None:
    gt(tmp_path, "1,2,3,4,5,6,7,8,A\n")
    (picture,) = read(tmp_path, "det", "icdar2015")
    assert (picture.image, picture.fault) == ("img_1.jpg", None)


@pytest.mark.parametrize(
    "line", ["1,2,3,4,5,6,7,A", "x,2,3,4,5,6,7,8,A", "1,2,3,nan,5,6,7,8,A", "1\t2", "1e999" * 8]
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    good = "1,2,3,4,5,6,7,8,A"
    gt(tmp_path, f"{good}\n{line}\n{good}\n")
    (picture,) = read(tmp_path, "det", "icdar2015")
    assert picture.place == f"{tmp_path}/gt_img_1.txt:2"
    assert "does not begin with 8 numbers; expected x1,y1," in str(picture.fault)
    lines = read(tmp_path, "rec", "icdar2015")
    assert faults(lines) == ["format"]
    assert [s.text for s in lines if s.fault is None] == ["A", "A"]


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "gt_a.txt").write_bytes("1,2,3,4,5,6,7,8,合计".encode("gb18030"))
    (picture,) = read(tmp_path, "det", "icdar2015")
    assert "it can be read as GB18030" in str(picture.fault)


def test_a_folder_without_labels_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "img_1.jpg")
    with pytest.raises(DataError, match=r"no file matches '\*\*/gt_\*\.txt'; check labels"):
        read(tmp_path, "det", "icdar2015")
