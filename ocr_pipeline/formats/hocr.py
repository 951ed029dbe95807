"""hOCR 1.2: pages as XHTML whose ``title`` attributes say where the text stands.

The specification: http://kba.github.io/hocr-spec/1.2/.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ocr_pipeline.formats.parts import (
    Box,
    box_of,
    is_slanted,
    legal_text,
    outline,
    words_of,
)
from ocr_pipeline.inference.reader import PageText, ReadLine

_PROLOGUE = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
"""
_CAPABILITIES = "ocr_page ocr_line ocrx_word ocrp_poly ocrp_wconf"
"""All that this module can write: a reader takes what is listed and not there as not on the page,
so a blank page lists them, too."""


def hocr(pages: Sequence[PageText], *, title: str = "", system: str) -> str:
    """Write pages as one hOCR document.

    Lines stand in reading order. ``bbox`` holds whole px of the picture, rounded outward and
    clipped to the page; a slanted line also has the ``poly`` of its four points. A confidence is
    the ``x_wconf`` of a word, in whole percent: hOCR has none for lines. Where words were not
    read, the whole line is one ``ocrx_word``, with the confidence of the line.

    White space between the words of a line is text; all other is between lines.

    Args:
        pages: in the order of the document; none are allowed.
        title: of the document; without one it is ``system``.
        system: name and version of what read the pages.

    Returns:
        An XHTML document with its XML declaration, to be stored as UTF-8. The same pages give the
        same text. Characters that XML does not allow are U+FFFD.
    """
    root = ET.Element("html", {"xmlns": "http://www.w3.org/1999/xhtml"})
    _add_head(root, legal_text(title or system), legal_text(system), len(pages))
    body = ET.SubElement(root, "body")
    spans = []
    for number, page in enumerate(pages):
        frame = f"{_bbox(Box(0, 0, page.width, page.height))}; ppageno {number}"
        division = _add(body, "div", "ocr_page", f"page_{number + 1}", frame)
        # Never an empty tag: read as HTML, it would not close the page.
        division.text = "\n    "
        for place, line in enumerate(page.lines, start=1):
            name = f"{number + 1}_{place}"
            span = _add(division, "span", "ocr_line", f"line_{name}", _line_place(line, page))
            spans.append((span, line, page, name))
    # Words are added to the indented document: more white space would be spaces between them.
    ET.indent(root)
    for span, line, page, name in spans:
        _add_words(span, line, page, name)
    return f"{_PROLOGUE}{ET.tostring(root, encoding='unicode')}\n"


def _add_head(root: ET.Element, title: str, system: str, pages: int) -> None:
    head = ET.SubElement(root, "head")
    ET.SubElement(head, "title").text = title
    kind = {"http-equiv": "Content-Type", "content": "text/html; charset=utf-8"}
    ET.SubElement(head, "meta", kind)
    for name, content in (
        ("ocr-system", system),
        ("ocr-capabilities", _CAPABILITIES),
        ("ocr-number-of-pages", str(pages)),
    ):
        ET.SubElement(head, "meta", {"name": name, "content": content})


def _add(parent: ET.Element, tag: str, kind: str, name: str, properties: str) -> ET.Element:
    return ET.SubElement(parent, tag, {"class": kind, "id": name, "title": properties})


def _line_place(line: ReadLine, page: PageText) -> str:
    place = _bbox(box_of(line.points, page))
    if is_slanted(line.points, page):
        place += f"; poly {outline(line.points, page)}"
    return place


def _add_words(span: ET.Element, line: ReadLine, page: PageText, name: str) -> None:
    before = span
    for number, word in enumerate(words_of(line, page), start=1):
        if word.spaced:
            before.tail = " "
        properties = f"{_bbox(word.box)}; x_wconf {round(100 * word.confidence)}"
        before = _add(span, "span", "ocrx_word", f"word_{name}_{number}", properties)
        before.text = word.text


def _bbox(box: Box) -> str:
    return f"bbox {box.left} {box.top} {box.right} {box.bottom}"
