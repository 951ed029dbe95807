import json
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.evaluation.pages import TruthLine, load_truth, score_page, score_pages
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.ops.geometry import Points
from ocr_pipeline.stock import exported_folder

MAX_PAGE_CER = 0.3


def box(left: float, top: float, right: float, bottom: float) -> Points:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array(corners, dtype=np.float32)


def page(*lines: tuple[str, Points]) -> PageText:
    read = [ReadLine(text, 1.0, points, 1.0, row) for row, (text, points) in enumerate(lines)]
    return PageText(read, 100, 100, {}, {})


TRUTH = [TruthLine(box(0, 0, 100, 10), "甲乙 丙丁"), TruthLine(box(0, 20, 100, 30), "12345")]


def test_a_perfect_page_has_no_edits_however_it_is_cut() -> None:
    halves = page(
        ("丙丁", box(55, 1, 99, 9)), ("甲乙", box(1, 1, 45, 9)), ("123 45", box(1, 21, 90, 29))
    )
    score = score_page("p", halves, TRUTH)
    assert (score.characters, score.edits) == (9, 0)
    assert score.edits_in_order == 4  # the halves were given in the wrong order


def test_missed_invented_and_wrong_characters_all_count() -> None:
    score = score_page(
        "p", page(("甲乙丙X", box(0, 0, 100, 10)), ("zz", box(0, 60, 50, 70))), TRUTH
    )
    assert score.edits == 1 + 2 + 5


def test_truth_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    path.write_text(json.dumps([[[[0, 0], [1, 0], [1, 1]], "three corners"]]))
    with pytest.raises(DataError, match="four corner points"):
        load_truth(path)
    with pytest.raises(DataError, match="no picture with a truth file"):
        list(score_pages(tmp_path, lambda _: page()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stock_small_reads_the_shared_pages(
    shared_pages: list[Path], released_weights: None
) -> None:
    reader = OcrReader.load(
        exported_folder("ppocrv6_small_det"), exported_folder("ppocrv6_small_rec")
    )
    scores = list(score_pages(shared_pages[0].parent, reader.read))
    characters = sum(score.characters for score in scores)
    cer = 100 * sum(score.edits for score in scores) / characters
    in_order = 100 * sum(score.edits_in_order for score in scores) / characters
    print(f"{len(scores)} pages: CER {cer:.3f} %, in reading order {in_order:.3f} %")
    assert cer <= MAX_PAGE_CER
    assert in_order <= MAX_PAGE_CER
