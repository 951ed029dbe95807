"""ALTO, read back with a parser and held against what its schema asks for."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from ocr_pipeline.formats import alto
from ocr_pipeline.inference.reader import LinePart, PageText
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

NAMESPACE = "{http://www.loc.gov/standards/alto/ns-v4#}"
LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"

CHILDREN: Mapping[str, str] = {
    "alto": "(Description )?(Styles )?(Tags )?(ReadingOrder )?Layout ",
    "Description": "MeasurementUnit (sourceImageInformation )?(OCRProcessing )*(Processing )*",
    "OCRProcessing": "(preProcessingStep )*ocrProcessingStep (postProcessingStep )*",
    "ocrProcessingStep": "(processingSoftware )?",
    "processingSoftware": "(softwareCreator )?(softwareName )?(softwareVersion )?",
    "Layout": "(Page )+",
    "Page": "(PrintSpace )?",
    "PrintSpace": "(Shape )?(TextBlock )*",
    "TextBlock": "(Shape )?(TextLine )*",
    "TextLine": "(Shape )?(String (SP )?)+(HYP )?",
    "Shape": "(Polygon |Ellipse |Circle )",
    "String": "(Shape )?",
}
"""Order of children by ALTO 4.4, as far as it concerns what is written here; else none."""
PLACE = {"HPOS", "VPOS", "WIDTH", "HEIGHT"}
REQUIRED: Mapping[str, set[str]] = {
    "OCRProcessing": {"ID"},
    "Page": {"ID", "PHYSICAL_IMG_NR"},
    "TextBlock": {"ID"},
    "Polygon": {"POINTS"},
    "String": {"CONTENT"},
}
ALLOWED: Mapping[str, set[str]] = {
    "alto": {"SCHEMAVERSION", LOCATION},
    "OCRProcessing": {"ID"},
    "Page": {"ID", "PHYSICAL_IMG_NR", "WIDTH", "HEIGHT"},
    "PrintSpace": {"ID", *PLACE},
    "TextBlock": {"ID", *PLACE},
    "TextLine": {"ID", *PLACE},
    "Polygon": {"POINTS"},
    "String": {"ID", "WC", "CONTENT", *PLACE},
    "SP": {"ID", *PLACE},
}


def check(root: ET.Element) -> None:
    """What the schema says of elements, attributes and identifiers."""
    for element in root.iter():
        name = tag(element)
        children = "".join(f"{tag(child)} " for child in element)
        assert re.fullmatch(CHILDREN.get(name, ""), children), (name, children)
        given = set(element.keys())
        assert REQUIRED.get(name, set()) <= given <= ALLOWED.get(name, set()), (name, given)
        for attribute in (PLACE | {"PHYSICAL_IMG_NR"}) & given:
            assert float(element.get(attribute, "")) >= 0
        if name == "String":
            assert 0 <= float(element.get("WC", "")) <= 1
    ids = [element.get("ID", "") for element in root.iter() if element.get("ID")]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII) for name in ids)


def tag(element: ET.Element) -> str:
    assert element.tag.startswith(NAMESPACE)
    return element.tag.removeprefix(NAMESPACE)


def parsed(*pages: PageText) -> ET.Element:
    root = ET.XML(alto(pages, system="ocr_pipeline", version="1.2.3").encode())
    check(root)
    return root


def all_of(root: ET.Element, name: str) -> list[ET.Element]:
    return list(root.iter(f"{NAMESPACE}{name}"))


def place(element: ET.Element) -> list[int]:
    """Left, top, width, height."""
    return [int(element.get(name, "")) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]


def text(element: ET.Element) -> str:
    """Of a line."""
    pieces = {"String": lambda child: child.get("CONTENT", ""), "SP": lambda child: " "}
    return "".join(pieces[tag(child)](child) for child in element if tag(child) != "Shape")


def test_document_names_its_schema_unit_and_software() -> None:
    written = alto([three_cells()], system="ocr_pipeline", version="1.2.3")
    assert written.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<alto ')
    root = ET.XML(written.encode())
    assert root.get("SCHEMAVERSION") == "4.4"
    assert (root.get(LOCATION) or "").split() == [
        "http://www.loc.gov/standards/alto/ns-v4#",
        "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd",
    ]
    said = {tag(element): element.text for element in root.iter()}
    assert said["MeasurementUnit"] == "pixel"
    assert (said["softwareName"], said["softwareVersion"]) == ("ocr_pipeline", "1.2.3")


def test_words_have_their_boxes_confidences_and_spaces() -> None:
    (element,) = all_of(parsed(page(mixed_line())), "TextLine")
    assert [tag(child) for child in element] == [
        *("Shape", "String", "SP", "String", "String", "SP", "String")
    ]
    assert text(element) == "No. 金额 12"
    assert place(element) == [10, 20, 110, 20]
    strings = all_of(element, "String")
    assert [string.get("CONTENT") for string in strings] == ["No.", "金", "额", "12"]
    assert [string.get("WC") for string in strings] == ["0.876", "1.0", "0.5", "0.0"]
    assert place(strings[1]) == [50, 20, 20, 20]


def test_line_without_words_is_one_string() -> None:
    (string,) = all_of(parsed(page(line("two  words", box(1, 2, 30, 9)))), "String")
    assert (string.get("CONTENT"), string.get("WC")) == ("two  words", "0.5")
    assert place(string) == [1, 2, 29, 7]


@pytest.mark.parametrize("words", [(), (part("　", 0.9, box(0, 0, 5, 5)),)])
def test_line_whose_words_say_nothing_is_one_string(words: tuple[LinePart, ...]) -> None:
    root = parsed(page(line("kept", box(0, 0, 9, 9), words=words), line("　", box(0, 9, 9, 19))))
    assert [string.get("CONTENT") for string in all_of(root, "String")] == ["kept", "　"]


def test_reading_order_and_boxes_of_several_pages() -> None:
    root = parsed(three_cells(), page(width=30, height=40), page(mixed_line()))
    pages = all_of(root, "Page")
    assert [
        [element.get(name) for name in ("PHYSICAL_IMG_NR", "WIDTH", "HEIGHT")] for element in pages
    ] == [["1", "200", "100"], ["2", "30", "40"], ["3", "200", "100"]]
    assert [place(space) for space in all_of(root, "PrintSpace")] == [
        [0, 0, 200, 100],
        [0, 0, 30, 40],
        [0, 0, 200, 100],
    ]
    assert [[text(element) for element in all_of(each, "TextLine")] for each in pages] == [
        ["left", "right", "below"],
        [],
        ["No. 金额 12"],
    ]


def test_lines_of_a_page_are_one_block_around_them_all() -> None:
    root = parsed(three_cells(), page())
    (block,) = all_of(root, "TextBlock")
    assert place(block) == [10, 8, 170, 42]


def test_boxes_are_rounded_outward_and_clipped_to_the_page() -> None:
    lines = [
        line("inside", box(10.6, 10.6, 20.4, 20.4)),
        line("outside", box(-7.5, -3, 230, 108)),
        line("beside", box(210, 10, 230, 20)),
    ]
    elements = all_of(parsed(page(*lines)), "TextLine")
    assert [place(element) for element in elements] == [
        [10, 10, 11, 11],
        [0, 0, 200, 100],
        [200, 10, 0, 10],
    ]


def test_line_has_the_polygon_of_its_four_points_on_the_page() -> None:
    slanted = np.array([[-4.0, 30.2], [150.3, 10], [152, 25.5], [2, 45]], dtype=np.float32)
    root = parsed(page(line("up", slanted), line("level", box(10, 60, 90, 80))))
    assert [polygon.get("POINTS") for polygon in all_of(root, "Polygon")] == [
        "0 30 150 10 152 26 2 45",
        "10 60 90 60 90 80 10 80",
    ]
    assert place(all_of(root, "TextLine")[0]) == [0, 10, 152, 35]


@pytest.mark.parametrize(("given", "kept"), [(HOSTILE, HOSTILE), (CONTROLLED, CLEANED)])
def test_any_text_gives_a_document_that_can_be_parsed(given: str, kept: str) -> None:
    words = tuple(
        part(piece, 0.9, box(10 * place, 0, 10 * place + 9, 9))
        for place, piece in enumerate(given.split(" "))
    )
    whole, cut = line(given, box(0, 0, 90, 9)), line(given, box(0, 0, 90, 9), words=words)
    root = ET.XML(alto([page(whole, cut)], system=given, version=given).encode())
    check(root)
    assert [text(element) for element in all_of(root, "TextLine")] == [kept, kept]
    assert len(all_of(root, "String")) == 1 + len(words)
    assert all_of(root, "softwareName")[0].text == kept


def test_confidence_out_of_range_is_brought_into_it() -> None:
    lines = [line("x", box(0, 0, 9, 9), confidence=value) for value in (1.001, -0.1, 0.00004)]
    strings = all_of(parsed(page(*lines)), "String")
    assert [string.get("WC") for string in strings] == ["1.0", "0.0", "0.0"]


def test_no_page_is_refused() -> None:
    with pytest.raises(ValueError, match="no page: an ALTO document has at least one"):
        alto([], system="ocr_pipeline", version="1.2.3")


def test_document_is_the_same_each_time_and_indented() -> None:
    pages = [three_cells(), page(mixed_line())]
    written = alto(pages, system="ocr_pipeline", version="1.2.3")
    assert written == alto(pages, system="ocr_pipeline", version="1.2.3")
    assert written.count("\n          <TextLine ") == 4
    assert written.endswith("</alto>\n")


def test_golden_page_says_what_was_read_on_it(golden_text: PageText) -> None:
    root = parsed(golden_text)
    assert [text(element) for element in all_of(root, "TextLine")] == [
        found.text for found in golden_text.lines
    ]
    words = [word for found in golden_text.lines for word in found.words or ()]
    strings = all_of(root, "String")
    assert [string.get("CONTENT") for string in strings] == [word.text for word in words]
    assert len(words) > len(golden_text.lines) > 0
    for string, word in zip(strings, words, strict=True):
        assert float(string.get("WC", "")) == pytest.approx(word.confidence, abs=5e-5)
