import json
from pathlib import Path

import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.det_lists import ListedPage, ListedRegion, holds_regions, read_det_list

BOX = [[1, 2], [9, 2], [9, 6], [1, 6.5]]
POINTS = ((1.0, 2.0), (9.0, 2.0), (9.0, 6.0), (1.0, 6.5))


def write(folder: Path, *rows: str) -> Path:
    path = folder / "det.txt"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_list_comes_back_with_all_its_pictures(tmp_path: Path) -> None:
    label = [
        {"transcription": "合 计", "points": BOX, "difficult": False},
        {"transcription": "", "points": BOX[:3]},
        {"transcription": "###", "points": BOX},
        {"transcription": "A", "points": BOX, "difficult": True},
    ]
    regions = (
        ListedRegion(POINTS, "合 计", False),
        ListedRegion(POINTS[:3], "", False),
        ListedRegion(POINTS, "###", True),
        ListedRegion(POINTS, "A", True),
    )
    row = json.dumps(label, ensure_ascii=False)
    path = write(tmp_path, f"图 1.png\t{row}", "", "b.png\t[]", f'["c.png", "d.png"]\t{row}')
    assert list(read_det_list(path)) == [
        ListedPage(f"{path}:1", "图 1.png", regions),
        ListedPage(f"{path}:3", "b.png", ()),
        ListedPage(f"{path}:4", "c.png", regions),
        ListedPage(f"{path}:4", "d.png", regions),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("no tab", r"det\.txt:2: no tab or no image; expected image<TAB>\[regions\]"),
        (" \t[]", r"det\.txt:2: no tab or no image"),
        ("[7]\t[]", r"det\.txt:2: a name in the image column is 7; expected a text"),
        ("b.png\tplain text", r"det\.txt:2: broken JSON .*`prepare --check` finds all such labels"),
        ('b.png\t[{"points": [[0, 0]]}]', r"det\.txt:2: region 1: .* has no 'transcription'"),
        (
            'b.png\t[{"transcription": "A", "points": [[0, 0], [1, 1]]}]',
            r"det\.txt:2: region 1 has 2 points; expected at least 3",
        ),
    ],
)
def test_a_label_that_is_not_sound_is_named(tmp_path: Path, row: str, message: str) -> None:
    pages = read_det_list(write(tmp_path, "a.png\t[]", row))
    assert next(pages).image == "a.png"
    with pytest.raises(DataError, match=message):
        next(pages)


def test_labels_of_pages_are_told_from_texts() -> None:
    assert [holds_regions(x) for x in ("[]", ' [{"transcription"', "[1]", "", "A[{")] == [
        True,
        True,
        False,
        False,
        False,
    ]
