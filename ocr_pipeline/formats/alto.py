"""ALTO 4.4: pages as the XML that libraries keep beside their scans.

The schema: http://www.loc.gov/standards/alto/v4/alto-4-4.xsd.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ocr_pipeline.formats.parts import Box, box_around, box_of, legal_text, outline, words_of
from ocr_pipeline.inference.reader import PageText, ReadLine

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONFIDENCE_DIGITS = 4


def alto(pages: Sequence[PageText], *, system: str, version: str) -> str:
    """Write pages as one ALTO document.

    All lines of a page are one ``TextBlock``, in reading order. That is what writers without an
    analysis of the layout usually do: to readers of ALTO a block is a paragraph or a column, and
    neither was looked for; a block per row would cut running text after every line. A blank page
    has no block.

    Places are whole px of the picture, rounded outward and clipped to the page; the ``Polygon`` of
    a line holds its four points. ``SP`` stands where the text has white space, so there is none
    between Chinese characters. Where words were not read, the whole line is one ``String``, with
    the spaces and the confidence of the line.

    Args:
        pages: in the order of the document, counted from 1; at least one.
        system: name of what read the pages.
        version: of ``system``.

    Returns:
        An XML document with its declaration, to be stored as UTF-8. The same pages give the same
        text. Characters that XML does not allow are U+FFFD.

    Raises:
        ValueError: no page; ALTO has no document without one.
    """
    if not pages:
        raise ValueError(
            "no page: an ALTO document has at least one; give the pages that were read"
        )
    root = ET.Element(
        "alto",
        {
            "xmlns": _NAMESPACE,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": f"{_NAMESPACE} {_SCHEMA}",
            "SCHEMAVERSION": "4.4",
        },
    )
    _add_description(root, legal_text(system), legal_text(version))
    layout = ET.SubElement(root, "Layout")
    for number, page in enumerate(pages, start=1):
        _add_page(layout, page, number)
    ET.indent(root)
    return f"{_DECLARATION}{ET.tostring(root, encoding='unicode')}\n"


def _add_description(root: ET.Element, system: str, version: str) -> None:
    description = ET.SubElement(root, "Description")
    ET.SubElement(description, "MeasurementUnit").text = "pixel"
    processing = ET.SubElement(description, "OCRProcessing", {"ID": "ocr_1"})
    step = ET.SubElement(processing, "ocrProcessingStep")
    software = ET.SubElement(step, "processingSoftware")
    ET.SubElement(software, "softwareName").text = system
    ET.SubElement(software, "softwareVersion").text = version


def _add_page(layout: ET.Element, page: PageText, number: int) -> None:
    frame = Box(0, 0, page.width, page.height)
    attributes = {
        "ID": f"page_{number}",
        "PHYSICAL_IMG_NR": str(number),
        "WIDTH": str(page.width),
        "HEIGHT": str(page.height),
    }
    element = ET.SubElement(layout, "Page", attributes)
    space = ET.SubElement(element, "PrintSpace", _placed(f"space_{number}", frame))
    if not page.lines:
        return
    boxes = [box_of(line.points, page) for line in page.lines]
    block = ET.SubElement(space, "TextBlock", _placed(f"block_{number}", box_around(boxes)))
    for place, (line, box) in enumerate(zip(page.lines, boxes, strict=True), start=1):
        name = f"{number}_{place}"
        element = ET.SubElement(block, "TextLine", _placed(f"line_{name}", box))
        shape = ET.SubElement(element, "Shape")
        ET.SubElement(shape, "Polygon", {"POINTS": outline(line.points, page)})
        _add_words(element, line, page, name)


def _add_words(element: ET.Element, line: ReadLine, page: PageText, name: str) -> None:
    for number, word in enumerate(words_of(line, page), start=1):
        if word.spaced:
            ET.SubElement(element, "SP")
        attributes = _placed(f"string_{name}_{number}", word.box)
        attributes["WC"] = str(round(word.confidence, _CONFIDENCE_DIGITS))
        attributes["CONTENT"] = word.text
        ET.SubElement(element, "String", attributes)


def _placed(name: str, box: Box) -> dict[str, str]:
    return {
        "ID": name,
        "HPOS": str(box.left),
        "VPOS": str(box.top),
        "WIDTH": str(box.right - box.left),
        "HEIGHT": str(box.bottom - box.top),
    }
