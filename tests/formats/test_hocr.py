"""hOCR, read back with a parser."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ocr_pipeline.formats import hocr
from ocr_pipeline.inference.reader import PageText
from tests.formats.pages import (
    CLEANED,
    CONTROLLED,
    HOSTILE,
    box,
    line,
    mixed_line,
    page,
    part,
    three_cells,
)

HTML = "{http://www.w3.org/1999/xhtml}"
SYSTEM = "ocr_pipeline 1.2.3"


def parsed(*pages: PageText, title: str = "") -> ET.Element:
    return ET.XML(hocr(pages, title=title, system=SYSTEM).encode())


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if element.get("class") == name]


def properties(element: ET.Element) -> dict[str, list[int]]:
    """The ``title`` attribute: numbers by the name of their property."""
    pairs = (item.split(" ", 1) for item in element.get("title", "").split("; "))
    return {name: [int(value) for value in values.split(" ")] for name, values in pairs}


def text(element: ET.Element) -> str:
    return "".join(element.itertext())


def texts(elements: Sequence[ET.Element]) -> list[str]:
    return [text(element) for element in elements]


def test_document_begins_as_xhtml_and_names_its_system_and_what_it_can_hold() -> None:
    written = hocr([three_cells()], title="Slips <2026>", system=SYSTEM)
    assert written.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html PUBLIC ')
    root = ET.XML(written.encode())
    assert [child.tag for child in root] == [f"{HTML}head", f"{HTML}body"]
    assert root.findtext(f"{HTML}head/{HTML}title") == "Slips <2026>"
    metas = {meta.get("name"): meta.get("content") for meta in root.iter(f"{HTML}meta")}
    assert metas["ocr-system"] == SYSTEM
    assert metas["ocr-capabilities"] == "ocr_page ocr_line ocrx_word ocrp_poly ocrp_wconf"
    assert metas["ocr-number-of-pages"] == "1"
    assert parsed(page()).findtext(f"{HTML}head/{HTML}title") == SYSTEM


def test_words_have_their_boxes_confidences_and_spaces() -> None:
    root = parsed(page(mixed_line()))
    (span,) = of_class(root, "ocr_line")
    assert text(span) == "No. 金额 12"
    assert properties(span) == {"bbox": [10, 20, 120, 40]}
    words = of_class(span, "ocrx_word")
    assert texts(words) == ["No.", "金", "额", "12"]
    assert [properties(word)["x_wconf"] for word in words] == [[88], [100], [50], [0]]
    assert properties(words[1])["bbox"] == [50, 20, 70, 40]


def test_line_without_words_is_one_word() -> None:
    (word,) = of_class(parsed(page(line("two words", box(1, 2, 30, 9)))), "ocrx_word")
    assert text(word) == "two words"
    assert properties(word) == {"bbox": [1, 2, 30, 9], "x_wconf": [50]}


@pytest.mark.parametrize("missing", ["", "　", "else"])
def test_no_text_of_a_line_is_lost_where_its_words_say_less(missing: str) -> None:
    words = (part(missing, 0.9, box(0, 0, 5, 5)),)
    root = parsed(page(line("kept text", box(0, 0, 50, 10), words=words)))
    assert texts(of_class(root, "ocrx_word")) == ["kept text"]


def test_full_width_space_is_a_space_and_no_word() -> None:
    words = tuple(
        part(said, 0.9, box(10 * place, 0, 10 * place + 10, 10))
        for place, said in enumerate("甲　乙")
    )
    (span,) = of_class(parsed(page(line("甲　乙", box(0, 0, 30, 10), words=words))), "ocr_line")
    assert texts(of_class(span, "ocrx_word")) == ["甲", "乙"]
    assert text(span) == "甲 乙"


def test_reading_order_and_boxes_of_several_pages_with_ids_of_their_own() -> None:
    root = parsed(three_cells(), page(width=30, height=40), page(mixed_line()))
    divisions = of_class(root, "ocr_page")
    assert [properties(division) for division in divisions] == [
        {"bbox": [0, 0, 200, 100], "ppageno": [0]},
        {"bbox": [0, 0, 30, 40], "ppageno": [1]},
        {"bbox": [0, 0, 200, 100], "ppageno": [2]},
    ]
    assert [texts(of_class(division, "ocr_line")) for division in divisions] == [
        ["left", "right", "below"],
        [],
        ["No. 金额 12"],
    ]
    marked = [element for element in root.iter() if (element.get("class") or "").startswith("ocr")]
    ids = [element.get("id") for element in marked]
    assert len(set(ids)) == len(ids) == 3 + 4 + 3 + 4
    assert all(re.fullmatch(r"(page|line|word)(_\d+)+", name or "") for name in ids)


def test_blank_page_is_a_page_whose_tag_is_closed() -> None:
    written = hocr([page(), page()], system=SYSTEM)
    # Read as HTML, <div /> would stay open and hold the next page.
    assert written.count("</div>") == 2
    assert not of_class(ET.XML(written.encode()), "ocr_line")


def test_boxes_are_rounded_outward_and_clipped_to_the_page() -> None:
    lines = [
        line("inside", box(10.6, 10.6, 20.4, 20.4)),
        line("outside", box(-7.5, -3, 230, 108)),
        line("noise", box(30.0001, 9.9999, 59.9999, 20.0001)),
    ]
    spans = of_class(parsed(page(*lines)), "ocr_line")
    assert [properties(span) for span in spans] == [
        {"bbox": [10, 10, 21, 21]},
        {"bbox": [0, 0, 200, 100]},
        {"bbox": [30, 10, 60, 20]},
    ]


def test_slanted_line_has_its_four_points_on_the_page() -> None:
    slanted = np.array([[-4.0, 30.2], [150.3, 10], [152, 25.5], [2, 45]], dtype=np.float32)
    level = np.array([[10, 10], [60, 10.8], [60, 20.8], [10, 20]], dtype=np.float32)
    spans = of_class(parsed(page(line("up", slanted), line("level", level))), "ocr_line")
    assert properties(spans[0]) == {
        "bbox": [0, 10, 152, 45],
        "poly": [0, 30, 150, 10, 152, 26, 2, 45],
    }
    assert properties(spans[1]) == {"bbox": [10, 10, 60, 21]}


@pytest.mark.parametrize(("given", "kept"), [(HOSTILE, HOSTILE), (CONTROLLED, CLEANED)])
def test_any_text_gives_a_document_that_can_be_parsed(given: str, kept: str) -> None:
    words = tuple(
        part(piece, 0.9, box(10 * place, 0, 10 * place + 9, 9))
        for place, piece in enumerate(given.split(" "))
    )
    whole, cut = line(given, box(0, 0, 90, 9)), line(given, box(0, 0, 90, 9), words=words)
    root = ET.XML(hocr([page(whole, cut)], title=given, system=given).encode())
    assert texts(of_class(root, "ocr_line")) == [kept, kept]
    assert len(of_class(root, "ocrx_word")) == 1 + len(words)
    assert root.findtext(f"{HTML}head/{HTML}title") == kept


def test_line_breaks_inside_a_line_become_spaces() -> None:
    (span,) = of_class(parsed(page(line("a\tb\r\nc", box(0, 0, 9, 9)))), "ocr_line")
    assert text(span) == "a b  c"


def test_confidence_out_of_range_stays_a_percentage() -> None:
    lines = [line("x", box(0, 0, 9, 9), confidence=value) for value in (1.001, -0.1, float("nan"))]
    words = of_class(parsed(page(*lines)), "ocrx_word")
    assert [properties(word)["x_wconf"] for word in words] == [[100], [0], [0]]


def test_document_is_the_same_each_time_and_has_a_line_of_its_own_for_each_line() -> None:
    written = hocr([three_cells(), page(mixed_line())], system=SYSTEM)
    assert written == hocr([three_cells(), page(mixed_line())], system=SYSTEM)
    rows = [row.strip() for row in written.splitlines() if 'class="ocr_line"' in row]
    assert len(rows) == 4
    assert all(row.startswith("<span ") and row.endswith("</span>") for row in rows)


def test_golden_page_says_what_was_read_on_it(golden_text: PageText) -> None:
    root = parsed(golden_text)
    assert texts(of_class(root, "ocr_line")) == [found.text for found in golden_text.lines]
    words = [word for found in golden_text.lines for word in found.words or ()]
    assert texts(of_class(root, "ocrx_word")) == [word.text for word in words]
    assert len(words) > len(golden_text.lines) > 0
    for element, word in zip(of_class(root, "ocrx_word"), words, strict=True):
        left, top, right, bottom = properties(element)["bbox"]
        corners = np.array([(left, top), (right, bottom)])
        extent = np.clip(
            [word.points.min(axis=0), word.points.max(axis=0)],
            0,
            (golden_text.width, golden_text.height),
        )
        assert np.abs(corners - extent).max() < 1
