"""Searchable PDF, read back with PDFium: text, boxes of characters, and what is seen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pypdfium2 as pdfium
import pytest
from numpy.typing import NDArray

from ocr_pipeline.formats import PdfPage, searchable_pdf
from ocr_pipeline.inference.reader import LinePart, PageText, ReadLine
from ocr_pipeline.ops.decode import BGRImage, decode_image
from ocr_pipeline.ops.encode import encode_jpeg
from ocr_pipeline.ops.geometry import Points
from ocr_pipeline.ops.golden import golden_pages
from tests.formats.pages import CLEANED, CONTROLLED, box, line, mixed_line, page, part, three_cells

DPI = 100.0
CREATED = datetime(2020, 1, 1, tzinfo=UTC)
Bounds = tuple[float, float, float, float]


def paper(text: PageText, grey: int = 255) -> BGRImage:
    return np.full((text.height, text.width, 3), grey, dtype=np.uint8)


def written(*texts: PageText, dpi: float | None = DPI) -> bytes:
    pages = [PdfPage(text, encode_jpeg(paper(text)), dpi) for text in texts]
    return searchable_pdf(pages, created=CREATED)


@contextmanager
def opened(content: bytes, number: int = 0) -> Iterator[pdfium.PdfPage]:
    with pdfium.PdfDocument(content) as document:
        yield document[number]


def extracted(content: bytes, number: int = 0) -> str:
    with opened(content, number) as sheet:
        return str(sheet.get_textpage().get_text_range()).replace("\r\n", "\n")


def characters(content: bytes, dpi: float = DPI) -> list[tuple[str, Bounds]]:
    """Each character that was written and its upright box, px of the picture."""
    with opened(content) as sheet:
        scale, height = dpi / 72, sheet.get_height()
        text = sheet.get_textpage()
        found = []
        for place in range(text.count_chars()):
            left, bottom, right, top = text.get_charbox(place)
            bounds = (
                left * scale,
                (height - top) * scale,
                right * scale,
                (height - bottom) * scale,
            )
            # Spaces and line ends that PDFium makes up have no height.
            if top > bottom:
                found.append((text.get_text_range(place, 1), bounds))
        return found


def bounds_of(points: Points) -> Bounds:
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def joined(parts: Sequence[Bounds]) -> Bounds:
    low, high = np.array(parts)[:, :2].min(axis=0), np.array(parts)[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def overlap(one: Bounds, other: Bounds) -> float:
    """Intersection over union."""

    def area(left: float, top: float, right: float, bottom: float) -> float:
        return max(0.0, right - left) * max(0.0, bottom - top)

    shared = area(*np.maximum(one, other)[:2], *np.minimum(one, other)[2:])
    return shared / (area(*one) + area(*other) - shared)


def turned(points: Points, degrees: float) -> Points:
    """The points turned clockwise, as seen, about their middle."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = points.mean(axis=0)
    return np.asarray((points - middle) @ turn + middle, dtype=np.float32)


def full_width(text: str, left: float, top: float, side: float, gap: float = 0) -> ReadLine:
    """A line of full-width characters, each a word of its own."""
    parts = []
    for sign in text:
        parts.append(part(sign, 0.9, box(left, top, left + side, top + side)))
        left += side + gap
    points = box(float(parts[0].points[0, 0]), top, left - gap, top + side)
    return line(text, points, words=tuple(parts))


def test_lines_are_given_back_in_reading_order() -> None:
    text = page(
        full_width("中国人民银行，￥１２３", 10, 10, 20),
        line("右 margin", box(300, 60, 390, 80), row=1),
        line("左 下", box(10, 120, 100, 140), row=2),
        line("last", box(200, 170, 260, 190), row=3),
        width=400,
        height=200,
    )
    assert extracted(written(text)) == "中国人民银行，￥１２３\n右 margin\n左 下\nlast"
    # Parts of a row are on one line.
    assert extracted(written(three_cells())) == "left right\nbelow"


def test_any_character_survives() -> None:
    signs = (
        "汉繁體カナ한글ＡＢｃ！？（）【】《》“”‘’、。…—℃㎡①⑩ⅣⅦ★→×÷±≥∞√αБжÄéñß¥€£§𠀀𪚥😀|\\()<>&\"'"
    )
    assert extracted(written(page(line(signs, box(0, 40, 200, 60))))) == signs
    parts = tuple(part(sign, 1.0, box(4 * n, 0, 4 * n + 4, 9)) for n, sign in enumerate(signs))
    assert extracted(written(page(line(signs, box(0, 0, 400, 9), words=parts), width=400))) == signs
    # U+0085 is legal in XML, and no reader of PDF gives it back.
    assert "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf" in extracted(
        written(page(line(CONTROLLED, box(0, 0, 200, 20))))
    )
    assert CLEANED.startswith("a\ufffdb")


def test_thousands_of_characters_survive_in_a_small_file() -> None:
    signs = [chr(code) for code in range(0x4E00, 0x9FA6, 5)]
    lines = [
        line("".join(signs[at : at + 100]), box(0, at / 5, 1000, at / 5 + 16))
        for at in range(0, len(signs), 100)
    ]
    content = written(page(*lines, width=1000, height=900))
    assert extracted(content).split("\n") == [part.text for part in lines]
    assert len(content) < 120_000
    assert len(written(three_cells())) < 8_000


def test_each_word_lies_over_its_box() -> None:
    mixed = mixed_line()
    found = characters(written(page(mixed)))
    assert "".join(sign for sign, _ in found) == "No. 金额 12"
    assert mixed.words is not None
    for word, (first, last) in zip(mixed.words, [(0, 3), (4, 5), (5, 6), (7, 9)], strict=True):
        box_found = joined([bounds for _, bounds in found[first:last]])
        assert overlap(box_found, bounds_of(word.points)) > 0.95, word.text


def test_characters_without_words_share_their_line_by_their_widths() -> None:
    found = characters(written(page(line("金额12", box(10, 20, 130, 50)))))
    assert [sign for sign, _ in found] == list("金额12")
    expected = [(10, 50), (50, 90), (90, 110), (110, 130)]
    for (_, bounds), (left, right) in zip(found, expected, strict=True):
        assert overlap(bounds, (left, 20, right, 50)) > 0.95


@pytest.mark.parametrize("degrees", [-175, -140, -90, -30, -5, 5, 45, 95, 130, 160, 180])
def test_a_slanted_line_lies_along_its_corners(degrees: float) -> None:
    points = turned(box(100, 180, 300, 220), degrees)
    words = tuple(
        LinePart(sign, 1.0, turned_part(points, place / 5, (place + 1) / 5))
        for place, sign in enumerate("斜着的文字")
    )
    for slanted in (line("斜着的文字", points, words=words), line("斜着的文字", points)):
        content = written(page(slanted, width=400, height=400))
        assert extracted(content) == "斜着的文字"
        found = characters(content)
        assert [sign for sign, _ in found] == list("斜着的文字")
        for (_, bounds), word in zip(found, words, strict=True):
            assert overlap(bounds, bounds_of(word.points)) > 0.9


def turned_part(points: Points, start: float, end: float) -> Points:
    """A part of a level line's corners, along the direction in which it is read."""
    top, bottom = points[1] - points[0], points[2] - points[3]
    corners = [points[0] + start * top, points[0] + end * top]
    corners += [points[3] + end * bottom, points[3] + start * bottom]
    return np.array(corners, dtype=np.float32)


def test_a_vertical_line_runs_downwards() -> None:
    found = characters(written(page(line("竖排文字", box(60, 10, 80, 90)))))
    for place, (sign, bounds) in enumerate(found):
        assert sign == "竖排文字"[place]
        assert overlap(bounds, (60, 10 + 20 * place, 80, 30 + 20 * place)) > 0.9


def test_an_upside_down_line_begins_at_its_right() -> None:
    points = np.roll(box(20, 10, 180, 30), 2, axis=0)
    upside = ReadLine("倒立 text", 1.0, points, 0.9, 0, turned=True)
    content = written(page(upside))
    assert extracted(content) == "倒立 text"
    middles = [(left + right) / 2 for _, (left, _, right, _) in characters(content)]
    assert middles == sorted(middles, reverse=True)
    assert overlap(joined([b for _, b in characters(content)]), (20, 10, 180, 30)) > 0.95


def test_a_gap_without_a_space_is_none_and_a_narrow_space_is_one() -> None:
    spread = full_width("姓名年龄", 10, 10, 12, gap=30)
    content = written(page(spread))
    assert extracted(content) == "姓名年龄"
    assert spread.words is not None
    for (_, (left, _, right, _)), word in zip(characters(content), spread.words, strict=True):
        assert left <= word.points[0, 0] + 0.1
        assert right >= word.points[1, 0] - 0.1
    touching = (part("a", 1.0, box(10, 10, 20, 30)), part("b", 1.0, box(19, 10, 30, 30)))
    close = line("a b", box(10, 10, 30, 30), words=touching)
    assert extracted(written(page(close))) == "a b"


def test_nothing_of_the_text_is_seen() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (100, 200, 3), dtype=np.uint8)
    blank, full = page(), page(mixed_line(), line("竖排", box(150, 10, 170, 90)))
    seen = []
    for text in (blank, full):
        content = searchable_pdf([PdfPage(text, encode_jpeg(picture), DPI)])
        with opened(content) as sheet:
            seen.append(sheet.render(scale=DPI / 72).to_numpy().copy())
    np.testing.assert_array_equal(*seen)
    assert seen[0].shape == (100, 200, 3)
    shown: NDArray[np.int16] = decode_image(encode_jpeg(picture)).astype(np.int16)
    assert np.abs(shown - seen[0]).mean() < 3


@pytest.mark.parametrize(
    ("dpi", "size", "expected"),
    [
        (100, (200, 100), (144, 72)),
        (None, (1240, 1754), (595.2, 841.92)),
        (300.0, (2480, 3508), (595.2, 841.92)),
        (150, (16_000, 8_000), (7680, 3840)),
        (1.0, (400, 200), (14_400, 7_200)),  # the greatest page
        (300.0, (4, 2), (6, 3)),  # the least one
    ],
)
def test_a_page_has_the_size_of_its_picture(
    dpi: float | None, size: tuple[int, int], expected: tuple[float, float]
) -> None:
    text = page(line("x", box(0, 0, 1, 1)), width=size[0], height=size[1])
    small = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    content = searchable_pdf([PdfPage(text, small, dpi)])
    with opened(content) as sheet:
        assert sheet.get_size() == pytest.approx(expected, abs=0.01)
        assert sheet.get_textpage().get_text_range() == "x"


def test_pages_follow_each_other_and_share_a_font() -> None:
    texts = [page(line(f"第{number}页", box(10, 10, 90, 40))) for number in range(5)]
    content = written(texts[0], page(), *texts[1:])
    assert [extracted(content, number) for number in range(6)] == [
        "第0页",
        "",
        *[f"第{number}页" for number in range(1, 5)],
    ]
    assert content.count(b"/FontFile2") == 1


def test_the_same_pages_and_time_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(three_cells())
    monkeypatch.setattr("fontTools.fontBuilder.timestampNow", lambda: 4_000_000_000)
    assert written(three_cells()) == first
    assert b"ocr_pipeline" in first


def test_lines_without_a_size_do_no_harm() -> None:
    point = line("点", box(50, 50, 50, 50))
    content = written(page(point, line("后", box(10, 80, 30, 99), row=1)))
    assert "后" in extracted(content)


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(ValueError, match="no page: a PDF has at least one"):
        searchable_pdf([])
    signs = "".join(chr(code) for code in range(0x10000, 0x10000 + 65_001))
    with pytest.raises(ValueError, match="65,001 different characters; allowed in one PDF: 65,000"):
        written(page(line(signs, box(0, 0, 100, 20))))


def test_a_page_that_was_read_is_found_again(golden_text: PageText) -> None:
    picture = golden_pages()[0]
    content = searchable_pdf([PdfPage(golden_text, encode_jpeg(picture), DPI)])
    assert extracted(content).split() == golden_text.text.split()
    found = characters(content)
    said = "".join(sign for sign, _ in found if sign.strip())
    words = [word for row in golden_text.lines for word in row.words or ()]
    assert said == "".join(word.text for word in words)
    places = iter([bounds for sign, bounds in found if sign.strip()])
    for word in words:
        whole = joined([next(places) for _ in word.text])
        assert overlap(whole, bounds_of(word.points)) > 0.8, word.text
