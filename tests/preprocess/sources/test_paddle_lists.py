import json
import tracemalloc
from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.sources import RawRegion
from tests.conftest import SHARED
from tests.preprocess.sources.writers import (
    PAGES,
    UPRIGHT,
    as_det,
    as_rec,
    expected_det,
    expected_rec,
    faults,
    only_fault,
    paddle_label,
    read,
    source,
    write_det_list,
)

LINES = {
    "图 片/第 1.jpg": "合计（大写），叁佰元整",
    "b.jpg": 'a "quoted", text',
    "c.jpg": "全角　空格 ",
    "d.jpg": "😀\u2028x\x85y\x0c",
    "e.jpg": "a\tb",
    "f.jpg": "",
    "g.jpg": "###",
    "[h].jpg": "[1]",
}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_a_recognition_list_comes_back_unchanged(tmp_path: Path, end: str, mark: str) -> None:
    text = mark + end.join(f"{image}\t{label}" for image, label in LINES.items()) + end + "  " + end
    path = write(tmp_path / "rec.txt", text)
    samples = read(path, "rec")
    assert [(s.image, s.text) for s in samples] == list(LINES.items())
    assert faults(samples) == []
    assert samples[3].place == f"{path}:4"
    assert all(s.crop is None and s.regions is None for s in samples)


def test_a_detection_list_gives_pictures_or_lines(tmp_path: Path) -> None:
    write_det_list(tmp_path / "det.txt")
    assert as_det(read(tmp_path / "det.txt", "det")) == expected_det()
    lines = read(tmp_path / "det.txt", "rec")
    assert as_rec(lines) == expected_rec()
    assert lines[1].place == f"{tmp_path / 'det.txt'}:1#2"


def test_stars_hashes_and_difficult_mean_ignore(tmp_path: Path) -> None:
    points = [list(point) for point in UPRIGHT]
    entries = [
        {"transcription": "*", "points": points},
        {"transcription": "###", "points": points, "difficult": None},
        {"transcription": "text", "points": points, "difficult": True},
        {"transcription": "text", "points": points, "difficult": 0, "key_cls": "None"},
        {"transcription": "", "points": points},
    ]
    path = write(tmp_path / "det.txt", "a.jpg\t" + json.dumps(entries))
    (picture,) = read(path, "det")
    assert picture.regions is not None
    assert [region.ignore for region in picture.regions] == [True, True, True, False, False]
    assert [s.text for s in read(path, "rec")] == ["text", ""]


def test_a_picture_without_regions_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "det.txt", "a.jpg\t[]\n")
    assert as_det(read(path, "det")) == [("a.jpg", ())]


def test_several_pictures_may_share_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", '["a.jpg", "图 2.jpg"]\tAB\n[1].jpg\tCD\n')
    samples = read(path, "rec")
    assert [(s.image, s.text) for s in samples] == [
        ("a.jpg", "AB"),
        ("图 2.jpg", "AB"),
        ("[1].jpg", "CD"),
    ]
    path = write(tmp_path / "det.txt", f'["a.jpg", "b.jpg"]\t{paddle_label(PAGES[0])}\n')
    assert [s.image for s in read(path, "det")] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"no tab here", r"'no tab here' has no tab; expected image<TAB>label"),
        (b"\tAB", r"names no image; expected image<TAB>label"),
        (b"[]\tAB", r"names no image"),
        (b"[7]\tAB", r"a name in the image column is 7; expected a text"),
        (b"a.jpg\tA\rB", r"a carriage return inside the line"),
        (b"a\0.jpg\tAB", r"has a NUL character"),
        (b"a.jpg\t\xff\xfe\xfd", r"not UTF-8 \(byte 7: invalid start byte\); save the file"),
        (
            "a.jpg\t合计".encode("gb18030"),
            r"not UTF-8 \(byte 7: .*\), but it can be read as GB18030; convert .*iconv -f GB18030",
        ),
    ],
)
def test_a_broken_line_is_named_and_the_rest_is_read(
    tmp_path: Path, line: bytes, sentence: str
) -> None:
    path = tmp_path / "rec.txt"
    path.write_bytes(b"x.jpg\tX\n" + line + b"\ny.jpg\tY\n")
    samples = read(path, "rec")
    bad, said = only_fault(samples)
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)
    assert bad.place == f"{path}:2"
    assert [s.text for s in samples if s.fault is None] == ["X", "Y"]


POINTS = '"points": [[0, 0], [9, 0], [9, 9], [0, 9]]'


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("[{", r"broken JSON \(Expecting property name .* at column 3\); repair or delete it"),
        ("", r"broken JSON"),
        ("{}", r"the label is \{\}; expected a list"),
        ("null", r"the label is None; expected a list"),
        ("[1]", r"the region is 1; expected an object"),
        ("[{" + POINTS + "}]", r"has no 'transcription'"),
        ('[{"transcription": "A"}]', r"has no 'points'"),
        ('[{"transcription": 12, ' + POINTS + "}]", r"transcription is 12; expected a text in quo"),
        ('[{"transcription": "A", "points": 3}]', r"points is 3; expected a list"),
        ('[{"transcription": "A", "points": [[1, 2, 3]]}]', r"points\[0\] is .*expected \[x, y\]"),
        (
            '[{"transcription": "A", "points": [[1, "2"]]}]',
            r"points\[0\] is '2'; expected a number",
        ),
        ('[{"transcription": "A", "points": [[1, true]]}]', r"is True; expected a number"),
        ('[{"transcription": "A", "points": [[1, NaN]]}]', r"NaN is no number of JSON"),
        ('[{"transcription": "A", "points": [[1, 1e999]]}]', r"is inf; expected a finite number"),
        ('[{"transcription": "A", "points": [[1, 1' + "0" * 400 + "]]}]", r"a finite number"),
        (
            '[{"transcription": "A", "points": [[1, 1' + "0" * 5000 + "]]}]",
            r"broken JSON \(Exceeds",
        ),
        ('[{"transcription": "A", "difficult": "no", ' + POINTS + "}]", r"difficult is 'no'"),
        ('[{"transcription": "\\ud83d", ' + POINTS + "}]", r"half a character"),
        ("[" * 100_000, r"JSON is nested too deeply"),
        ('[{"transcription": "A", "points": ' + "[" * 900 + "]" * 900 + "}]", r"expected \[x, y\]"),
    ],
)
def test_a_broken_detection_label_is_named(tmp_path: Path, label: str, sentence: str) -> None:
    good = paddle_label(PAGES[0])
    path = write(tmp_path / "det.txt", f"x.jpg\t{good}\na.jpg\t{label}\ny.jpg\t{good}\n")
    samples = read(path, "det")
    bad, said = only_fault(samples)
    with pytest.raises(DataError, match=sentence):
        raise DataError(said)
    assert bad.place.startswith(f"{path}:2")
    assert [s.image for s in samples if s.fault is None] == ["x.jpg", "y.jpg"]
    assert len(only_fault(read(path, "rec"))[1]) < 300


def test_one_broken_region_spoils_its_picture_but_not_its_other_lines(tmp_path: Path) -> None:
    broken = '{"transcription": "B", "points": 1}, {"transcription": "C"}'
    path = write(tmp_path / "det.txt", "a.jpg\t" + paddle_label(PAGES[0])[:-1] + f", {broken}]")
    (picture,) = read(path, "det")
    assert picture.fault == ("format", "points is 1; expected a list [...] (and 1 more regions)")
    assert (picture.place, picture.image) == (f"{path}:1#4", "a.jpg")
    lines = read(path, "rec")
    assert [s.text for s in lines if s.fault is None] == [r.text for r in PAGES[0].regions]
    assert [s.place for s in lines if s.fault is not None] == [f"{path}:1#4", f"{path}:1#5"]


def test_a_utf16_list_is_one_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", "a.jpg\tA\nb.jpg\tB\n", "utf-16")
    assert "the file is UTF-16; save it as UTF-8" in only_fault(read(path, "rec"))[1]


def test_a_recognition_list_cannot_train_a_detector(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", "a.jpg\tAB\nb.jpg\tCD\n")
    with pytest.raises(
        DataError, match=r"rec\.txt: a recognition list \(first label: 'AB'\).*give"
    ):
        read(path, "det")


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt"):
        read(tmp_path / "none.txt", "rec")


def test_a_pattern_names_several_lists(tmp_path: Path) -> None:
    for name in ("a/rec.txt", "b/rec.txt", "b/deep/rec.txt", "b/other.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, "pic.jpg\tAB\n/abs.jpg\tCD\n")
    found = source(f"{tmp_path}/*/rec.txt", "rec")
    assert found.images == str(tmp_path)
    assert [s.image for s in found.samples()] == [
        "a/pic.jpg",
        "/abs.jpg",
        "b/pic.jpg",
        "/abs.jpg",
    ]
    assert len(read(f"{tmp_path}/**/rec.txt", "rec")) == 6
    below = read(f"{tmp_path}/*/rec.txt", "rec", images=str(tmp_path / "pictures"))
    assert [s.image for s in below] == ["pic.jpg", "/abs.jpg"] * 2
    with pytest.raises(DataError, match=r"no file matches 'x\*\.txt'; check labels and kind"):
        read(f"{tmp_path}/x*.txt", "rec")


def test_brackets_and_question_marks_in_names_are_not_special(tmp_path: Path) -> None:
    write(tmp_path / "list [1]?.txt", "a.jpg\tA\n")
    write(tmp_path / "list 1x.txt", "b.jpg\tB\n")
    assert [s.text for s in read(f"{tmp_path}/list [1]?.txt", "rec")] == ["A"]
    assert [s.text for s in read(f"{tmp_path}/list [1]*.txt", "rec")] == ["A"]


def test_the_picture_root_is_the_sources_then_the_configs_then_the_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", "a.jpg\tA\n")
    assert source(path, "rec").images == str(tmp_path)
    assert source(path, "rec", default_images="s3://all").images == "s3://all"
    assert source(path, "rec", images="http://own", default_images="s3://all").images == (
        "http://own"
    )
    assert source(path, "rec").name == "rec.txt"


def test_the_group_is_what_the_first_bracket_finds(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", "doc1/a.jpg\tA\nalone.jpg\tB\n")
    assert [s.group for s in read(path, "rec", group=r"^([^/]+)/")] == ["doc1", None]
    assert [s.group for s in read(path, "rec")] == [None, None]


def test_a_long_list_takes_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "rec.txt", "".join(f"{n:06d}.jpg\t{n}\n" for n in range(50_000)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in source(path, "rec").samples())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 50_000
    assert peak < 8 * 2**20  # held together, the samples would take twice that


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("cn_plates/rec_train.txt", 698),
        ("wire_tags/rec_train.txt", 3672),
        ("wire_tags/rec_val.txt", 285),
        ("game_quest_ui/rec_train.txt", 435),
    ],
)
def test_real_recognition_lists_are_read_whole(name: str, lines: int) -> None:
    samples = read(real(name), "rec")
    assert (len(samples), faults(samples)) == (lines, [])
    raw = [line.split("\t", 1) for line in real(name).read_text("utf-8").split("\n") if line]
    assert [[s.image, s.text] for s in samples] == raw


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("wire_tags/det_train.txt", 600),
        ("wire_tags/det_val.txt", 120),
        ("game_quest_ui/det_train.txt", 298),
    ],
)
def test_real_detection_lists_are_read_whole(name: str, lines: int) -> None:
    samples = read(real(name), "det")
    assert (len(samples), faults(samples)) == (lines, [])
    labels = [json.loads(x.split("\t")[1]) for x in real(name).read_text("utf-8").splitlines()]
    assert [len(s.regions or ()) for s in samples] == [len(label) for label in labels]
    points = tuple((float(x), float(y)) for x, y in labels[0][0]["points"])
    assert samples[0].regions is not None
    assert samples[0].regions[0] == RawRegion(points, labels[0][0]["transcription"], False)
    texts = [r["transcription"] for label in labels for r in label if not r["difficult"]]
    kept = [text for text in texts if text not in ("*", "###")]
    assert [s.text for s in read(real(name), "rec")] == kept


def real(name: str) -> Path:
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return path


def test_a_file_url_may_hold_percent_signs(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    write(folder / "50% 表.txt", "a.jpg\tA\n")
    samples = read(f"file://{tmp_path}/a%20b/*.txt", "rec")
    assert [(s.image, s.text) for s in samples] == [("a.jpg", "A")]
    assert samples[0].place.endswith("/a%20b/50%25%20%E8%A1%A8.txt:1")
