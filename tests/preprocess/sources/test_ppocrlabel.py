from dataclasses import replace
from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from tests.preprocess.sources.writers import (
    PAGES,
    as_det,
    as_rec,
    expected_det,
    expected_rec,
    faults,
    kinds,
    paddle_label,
    read,
    source,
    touch,
    write_ppocrlabel,
)

CROPS = [
    ("发票 第1页_crop_0.jpg", "合计（大写），叁佰元整"),
    ("发票 第1页_crop_1.jpg", 'said "no", twice,'),
    ("发票 第1页_crop_2.jpg", "全角　空格"),
    ("b c_crop_0.jpg", "emoji 😀 café\u2028x\x85y"),
    ("b c_crop_2.jpg", ""),
]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def append(path: Path, content: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sentence(samples: list, name: str) -> str:
    (found,) = [s.fault[1] for s in samples if s.fault is not None and s.fault[0] == name]
    return str(found)


@pytest.mark.parametrize("absolute_states", [False, True])
@pytest.mark.parametrize("named_by", ["", "/", "/Label.txt"])
def test_a_project_gives_pictures_or_lines(
    tmp_path: Path, named_by: str, absolute_states: bool
) -> None:
    project = tmp_path / "任务 1"
    write_ppocrlabel(project, crops=False, absolute_states=absolute_states)
    labels = f"{project}{named_by}"
    assert source(labels, "det", "ppocrlabel").images == str(project)
    assert as_det(read(labels, "det", "ppocrlabel")) == expected_det()
    assert as_rec(read(labels, "rec", "ppocrlabel")) == expected_rec()


def test_exported_crops_are_the_lines(tmp_path: Path) -> None:
    write_ppocrlabel(tmp_path / "job", crops=True)
    samples = read(tmp_path / "job", "rec", "ppocrlabel")
    assert as_rec(samples) == [(f"crop_img/{name}", text, None) for name, text in CROPS]
    assert samples[0].place == f"{tmp_path / 'job'}/rec_gt.txt:1"
    assert as_det(read(tmp_path / "job", "det", "ppocrlabel")) == expected_det()


def test_crops_alone_are_enough_for_lines(tmp_path: Path) -> None:
    write_ppocrlabel(tmp_path / "job", crops=True)
    for name in ("Label.txt", "fileState.txt"):
        (tmp_path / "job" / name).unlink()
    samples = read(tmp_path / "job", "rec", "ppocrlabel")
    assert as_rec(samples) == [(f"crop_img/{name}", text, None) for name, text in CROPS]
    with pytest.raises(DataError, match=r"job: no Label\.txt; expected a PPOCRLabel project: open"):
        read(tmp_path / "job", "det", "ppocrlabel")


def test_a_folder_without_the_tools_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Label\.txt and no rec_gt\.txt; expected a PPOCRLabel"):
        read(tmp_path, "rec", "ppocrlabel")
    with pytest.raises(DataError, match=r"no folder matches 'x\*' and has a Label\.txt"):
        read(f"{tmp_path}/x*", "rec", "ppocrlabel")


def test_pictures_are_found_from_the_parent_or_under_another_folder_name(tmp_path: Path) -> None:
    write_ppocrlabel(tmp_path / "job", crops=True)
    from_parent = read(tmp_path / "job", "det", "ppocrlabel", images=str(tmp_path))
    assert as_det(from_parent) == expected_det(folder="job/")
    lines = read(tmp_path / "job", "rec", "ppocrlabel", images=str(tmp_path))
    assert lines[0].image == "job/crop_img/发票 第1页_crop_0.jpg"
    own = str(tmp_path / "job")
    lines = read(tmp_path / "job", "rec", "ppocrlabel", default_images=own)
    assert lines[0].image == "crop_img/发票 第1页_crop_0.jpg"
    (tmp_path / "job").rename(tmp_path / "renamed")
    assert as_det(read(tmp_path / "renamed", "det", "ppocrlabel")) == expected_det()


def test_pictures_may_stand_in_folders_below_the_project(tmp_path: Path) -> None:
    write_ppocrlabel(tmp_path / "job", crops=False)
    for page in PAGES:
        touch(tmp_path / "job/in", page.image)
        (tmp_path / "job" / page.image).unlink()
    for name in ("Label.txt", "fileState.txt"):
        edit(tmp_path / "job" / name, "job/", "in/")
    assert as_det(read(tmp_path / "job", "det", "ppocrlabel")) == expected_det(folder="in/")


def test_a_pattern_names_several_projects(tmp_path: Path) -> None:
    write_ppocrlabel(tmp_path / "a", crops=False)
    write_ppocrlabel(tmp_path / "b", crops=True)
    touch(tmp_path / "c", "readme.txt")
    both = source(f"{tmp_path}/*", "det", "ppocrlabel")
    assert both.images == str(tmp_path)
    assert as_det(list(both.samples())) == expected_det(folder="a/") + expected_det(folder="b/")
    lines = as_rec(read(f"{tmp_path}/*", "rec", "ppocrlabel"))
    assert lines[:5] == expected_rec(folder="a/")
    assert [line[0] for line in lines[5:]] == [f"b/crop_img/{name}" for name, _ in CROPS]


@pytest.mark.parametrize("crops", [False, True])
def test_unconfirmed_pictures_are_named_and_keep_their_labels(tmp_path: Path, crops: bool) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=crops)
    pictures = read(job, "det", "ppocrlabel")
    lines = read(job, "rec", "ppocrlabel")
    edit(job / "fileState.txt", "job/b c.jpg\t1\n", "job/b c.jpg\t0\n")
    fault = (
        "unconfirmed",
        "job/b c.jpg: not confirmed in PPOCRLabel, where 1 pictures are; check it there and save",
    )
    assert read(job, "det", "ppocrlabel") == [pictures[0], replace(pictures[1], fault=fault)]
    assert read(job, "rec", "ppocrlabel") == [
        *lines[:3],
        *(replace(line, fault=fault) for line in lines[3:]),
    ]


def test_unconfirmed_regions_have_no_exported_crops(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=True)
    edit(job / "fileState.txt", "job/b c.jpg\t1\n", "")
    edit(job / "rec_gt.txt", "crop_img/b c_crop_0.jpg", "crop_img/own.jpg")
    samples = read(job, "rec", "ppocrlabel")
    assert kinds(samples) == {"unconfirmed": 2}
    assert [(s.image, s.text) for s in samples if s.fault is not None] == [
        ("crop_img/b c_crop_2.jpg", ""),
        ("b c.jpg", CROPS[3][1]),
    ]


def test_a_confirmed_picture_without_a_line_has_no_regions(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=False)
    append(job / "fileState.txt", "D:\\old\\job\\empty.jpg\t1\n")
    samples = read(job, "det", "ppocrlabel")
    assert as_det(samples) == [*expected_det(), ("empty.jpg", ())]
    assert samples[-1].place == f"{job}/fileState.txt:3"
    assert as_rec(read(job, "rec", "ppocrlabel")) == expected_rec()


def test_crops_that_disagree_with_the_regions_are_named(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=True)
    edit(job / "rec_gt.txt", "全角　空格", "全角 空格")
    samples = read(job, "rec", "ppocrlabel")
    assert kinds(samples) == {"label_disagreement": 1}
    said = sentence(samples, "label_disagreement")
    assert "'全角 空格' here, '全角\\u3000空格' at" in said
    assert f"{job}/Label.txt:1#3; export the recognition results again" in said
    assert [s.text for s in samples] == [text.replace("全角　", "全角 ") for _, text in CROPS]


def test_crops_without_regions_and_regions_without_crops_are_named(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=True)
    edit(job / "rec_gt.txt", "第1页_crop_1.jpg", "第1页_crop_9.jpg")
    append(job / "rec_gt.txt", "crop_img/gone_crop_0.jpg\tA\ncrop_img/own.jpg\tB\n")
    samples = read(job, "rec", "ppocrlabel")
    assert kinds(samples) == {"label_disagreement": 3}
    said = [s.fault[1] for s in samples if s.fault is not None]
    assert "第1页_crop_9.jpg: Label.txt has no region for this crop; export the" in said[0]
    assert "gone_crop_0.jpg: Label.txt has no region for this crop" in said[1]
    assert "发票 第1页.jpg: the region with 'said \"no\", twice,' is not in rec_gt.txt" in said[2]
    assert [s.text for s in samples[-3:]] == ["A", "B", PAGES[0].regions[1].text]
    assert samples[-1].crop == PAGES[0].regions[1].points


def test_two_pictures_whose_crops_share_names_are_named(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=True)
    append(job / "Label.txt", f"job/b c.png\t{paddle_label(PAGES[1])}")
    append(job / "fileState.txt", "job/b c.png\t1\n")
    samples = read(job, "rec", "ppocrlabel")
    assert kinds(samples) == {"label_disagreement": 2}
    assert "two pictures are called 'b c'" in str(samples[-1].fault)


def test_the_tools_own_words_are_no_text(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=False)
    edit(job / "Label.txt", "全角　空格", "待识别")
    samples = read(job, "rec", "ppocrlabel")
    assert kinds(samples) == {"empty_label": 1}
    assert "'待识别' is PPOCRLabel's word for a region" in sentence(samples, "empty_label")
    assert faults(read(job, "det", "ppocrlabel")) == []


def test_broken_lines_of_each_file_are_named(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=True)
    for name in ("Label.txt", "fileState.txt", "rec_gt.txt"):
        append(job / name, b"no tab\n\xff\tx\n")
    append(job / "Label.txt", "job/x.jpg\t[{\n")
    append(job / "fileState.txt", "job/x.jpg\t1\n")
    samples = read(job, "rec", "ppocrlabel")
    assert kinds(samples) == {"format": 4, "not_utf8": 3}
    places = [s.place.rpartition("/")[2] for s in samples if s.fault is not None]
    assert places == [
        "fileState.txt:3",
        "fileState.txt:4",
        "Label.txt:3",
        "Label.txt:4",
        "Label.txt:5",
        "rec_gt.txt:7",
        "rec_gt.txt:8",
    ]
    assert [s.text for s in samples if s.fault is None] == [text for _, text in CROPS]


def test_without_a_state_file_all_pictures_are_used(tmp_path: Path) -> None:
    write_ppocrlabel(tmp_path / "job", crops=False)
    (tmp_path / "job/fileState.txt").unlink()
    assert as_det(read(tmp_path / "job", "det", "ppocrlabel")) == expected_det()


def test_crops_of_regions_to_ignore_are_left_out(tmp_path: Path) -> None:
    job = tmp_path / "job"
    write_ppocrlabel(job, crops=True)
    text = (job / "Label.txt").read_text(encoding="utf-8")
    (job / "Label.txt").write_text(text.replace("false", "true", 1), encoding="utf-8")
    samples = read(job, "rec", "ppocrlabel")
    assert as_rec(samples) == [(f"crop_img/{name}", text, None) for name, text in CROPS[1:]]
