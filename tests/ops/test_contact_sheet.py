from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from ocr_pipeline.ops.contact_sheet import (
    NO_FONT,
    SHEET_WIDTH,
    DetCell,
    DetPanel,
    RecCell,
    _Pen,
    det_sheet,
    rec_sheet,
    target_overlay,
)
from ocr_pipeline.ops.decode import BGRImage

GREEN = (80, 140, 22)
GREY = (136, 128, 128)
BLUE = (200, 60, 20)


@dataclass(frozen=True)
class Region:
    points: tuple[tuple[float, float], ...]
    text: str = "text"
    ignore: bool = False


@pytest.fixture
def font(tmp_path: Path) -> Path:
    """Pillow's own font: Latin letters are enough here."""
    path = tmp_path / "font.ttf"
    built_in = ImageFont.load_default(12)
    assert isinstance(built_in, ImageFont.FreeTypeFont)
    path.write_bytes(built_in.font_bytes)
    return path


def picture(height: int = 32, width: int = 100, colour: tuple[int, int, int] = BLUE) -> BGRImage:
    return np.full((height, width, 3), colour, np.uint8)


def line(number: int = 0, text: str = "label", height: int = 32, width: int = 100) -> RecCell:
    return RecCell((picture(height, width),), text, number)


def box(left: float, top: float, right: float, bottom: float) -> tuple[tuple[float, float], ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def where(sheet: BGRImage, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that hold exactly this colour."""
    found = (sheet == colour).all(axis=2)
    return np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))


def groups(numbers: np.ndarray) -> int:
    """How many runs of neighbouring numbers there are."""
    return int((np.diff(numbers) > 1).sum()) + 1 if len(numbers) else 0


def ink(sheet: BGRImage) -> np.ndarray:
    """Rows with dark grey pixels: written text."""
    dark = sheet.max(axis=2) < 120
    return np.flatnonzero(dark.any(axis=1))


# --- text lines


def test_lines_stand_in_a_grid_on_white(font: Path) -> None:
    sheet = rec_sheet([line(number) for number in range(13)], font, title="some lines")
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (SHEET_WIDTH, 3)
    rows, columns = where(sheet, BLUE)
    assert (groups(rows), groups(columns)) == (3, 6)
    for edge in (sheet[:10], sheet[-10:], sheet[:, :20], sheet[:, -20:]):
        assert (edge == 255).all()


@pytest.mark.parametrize(("width", "columns"), [(100, 6), (190, 4), (280, 3), (420, 2), (900, 1)])
def test_long_lines_get_fewer_columns(font: Path, width: int, columns: int) -> None:
    sheet = rec_sheet([line(number, width=width) for number in range(12)], font)
    assert groups(where(sheet, BLUE)[1]) == columns


def test_few_long_lines_do_not_decide_for_all(font: Path) -> None:
    cells = [line(number) for number in range(20)] + [line(20, width=2000)]
    assert groups(where(rec_sheet(cells, font), BLUE)[1]) == 6


def test_picture_keeps_its_shape(font: Path) -> None:
    sheet = rec_sheet([line(width=80, height=20)], font)
    rows, columns = where(sheet, BLUE)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(4, rel=0.06)


def test_augmented_picture_stands_below_the_labelled_one(font: Path) -> None:
    cell = RecCell((picture(colour=BLUE), picture(colour=(0, 0, 255))), "label", 7)
    sheet = rec_sheet([cell], font)
    first, second = where(sheet, BLUE), where(sheet, (0, 0, 255))
    assert first[0].max() < second[0].min()
    assert first[1].tolist() == second[1].tolist()


def test_picture_is_shown_the_right_way_up_and_in_its_colours(font: Path) -> None:
    image = picture(40, 80)
    image[:20, :40] = (0, 0, 250)
    sheet = rec_sheet([RecCell((image,), "", 0)], font)
    rows, columns = where(sheet, (0, 0, 250))
    all_rows, all_columns = where(sheet, BLUE)
    assert rows.max() < np.mean(all_rows) + 5
    assert columns.max() < np.mean(all_columns) + 20
    assert rows.min() <= all_rows.min()


def test_label_is_written_below_its_picture(font: Path) -> None:
    sheet = rec_sheet([line(text="HHH")], font)
    last = where(sheet, BLUE)[0].max()
    below = ink(sheet)[ink(sheet) > last]
    assert 10 <= np.ptp(below) <= 20
    blank = rec_sheet([line(text="")], font)
    assert not (ink(blank) > last).any()


def test_tall_line_is_larger_than_a_row(font: Path) -> None:
    sheet = rec_sheet([line(height=300, width=40)], font)
    assert np.ptp(where(sheet, BLUE)[0]) > 120


@pytest.mark.parametrize("shape", [(1, 4000), (4000, 1), (1, 1)])
def test_extreme_picture_is_drawn(font: Path, shape: tuple[int, int]) -> None:
    assert where(rec_sheet([line(height=shape[0], width=shape[1])], font), BLUE)[0].size
    panel = DetPanel(picture(*shape), [Region(box(0, 0, 5000, 5000))])
    det_sheet([DetCell((panel,), 0)], font)


def test_sheet_without_samples_is_white(font: Path) -> None:
    assert (rec_sheet([], font) == 255).all()
    assert (det_sheet([], font) == 255).all()


def test_given_pictures_are_left_as_they_were(font: Path) -> None:
    given = picture()
    rec_sheet([RecCell((given,), "label", 0)], font)
    det_sheet([DetCell((DetPanel(given, [Region(box(5, 5, 50, 20))]),), 0)], font)
    np.testing.assert_array_equal(given, picture())


def test_cell_without_a_picture_is_refused(font: Path) -> None:
    with pytest.raises(ValueError, match="sample 3: no picture to show; give at least one"):
        rec_sheet([RecCell((), "label", 3)], font)


# --- writing


def test_long_label_is_wrapped_then_cut(font: Path) -> None:
    pen = _Pen(font)
    lines = pen.lines("abc " * 60, 20, 200, 2)
    assert len(lines) == 2
    assert "".join(lines).startswith("abc abc")
    assert lines[1].endswith("…")
    assert all(pen.length(text, 20) <= 200 for text in lines)


def test_label_that_fits_is_not_cut(font: Path) -> None:
    pen = _Pen(font)
    text = "abcdefghij"
    assert pen.lines(text, 20, pen.length(text, 20), 1) == [text]
    wrapped = pen.lines(text, 20, pen.length(text, 20) - 1, 2)
    assert len(wrapped) == 2
    assert "".join(wrapped) == text


def test_width_for_less_than_a_character_ends(font: Path) -> None:
    assert len(_Pen(font).lines("WWW", 20, 1, 2)) == 2


def test_characters_that_cannot_be_seen_are_written_as_escapes(font: Path) -> None:
    assert _Pen(font).lines("a\tb\u200bc", 20, 1000, 1) == [r"a\tb\u200bc"]


def test_without_a_font_labels_are_escaped_and_the_sheet_says_so() -> None:
    pen = _Pen(None)
    assert pen.lines("皖A😀", 20, 1000, 1) == [r"\u7696A\U0001f600"]
    cut = pen.lines("皖" * 50, 20, 200, 1)[0]
    assert cut.endswith("...")
    assert cut.isascii()
    assert cut.removesuffix("...").replace(r"\u7696", "") == ""
    assert NO_FONT.isascii()
    plain, said = rec_sheet([line()], None, title="t"), pen.height(15)
    assert (plain[28 + pen.height(22) :][:said] != 255).any()


# --- pages


def one(*regions: Region, size: tuple[int, int] = (200, 700), name: str = "") -> DetCell:
    return DetCell((DetPanel(picture(*size, (255, 255, 255)), regions, name),), 0)


def test_region_is_outlined_where_it_is(font: Path) -> None:
    image = picture(200, 700, (255, 255, 255))
    image[50:100, 100:300] = BLUE
    panel = DetPanel(image, [Region(box(90, 40, 310, 110))])
    sheet = det_sheet([DetCell((panel,), 0)], font)
    (rows, columns), (green_rows, green_columns) = where(sheet, BLUE), where(sheet, GREEN)
    ten = 10 * np.ptp(columns) / 200
    assert green_columns.max() - columns.max() == pytest.approx(ten, abs=6)
    assert rows.min() - green_rows.min() == pytest.approx(ten, abs=6)
    assert green_rows.max() - rows.max() == pytest.approx(ten, abs=6)


def test_ignored_region_is_grey_and_dashed(font: Path) -> None:
    whole = det_sheet([one(Region(box(100, 50, 600, 150)))], font)
    dashed = det_sheet([one(Region(box(100, 50, 600, 150), ignore=True))], font)
    assert not where(dashed, GREEN)[0].size
    full = (whole == GREEN).all(axis=2).sum(axis=1).max()
    part = (dashed == GREY).all(axis=2).sum(axis=1).max()
    assert 0.3 * full < part < 0.7 * full


def test_first_point_has_a_dot(font: Path) -> None:
    corners = box(100, 50, 600, 150)
    counts = []
    for shift in range(4):
        sheet = det_sheet([one(Region(corners[shift:] + corners[:shift]))], font)
        counts.append(np.argwhere((sheet == GREEN).all(axis=2)))
    assert len({points.tobytes() for points in counts}) == 4


def test_number_hides_no_text(font: Path) -> None:
    image = picture(60, 400, (255, 255, 255))
    image[5:55] = 0
    regions = [Region(box(60, top, 340, top + 15)) for top in (5, 22, 39)]
    sheet = det_sheet([DetCell((DetPanel(image, regions),), 0)], font)
    inside = (sheet == GREEN).all(axis=2)
    # Tags are the only filled green: rows of many green pixels stand left of the regions.
    filled = np.flatnonzero(inside.sum(axis=0) > 30)
    scale = np.ptp(where(sheet, (0, 0, 0))[1]) / 400
    assert filled.size
    assert filled.min() < 28 + 60 * scale


def test_texts_are_listed_and_the_rest_is_counted(font: Path) -> None:
    def height(count: int) -> int:
        regions = [Region(box(0, 0, 50, 20), f"text {n}") for n in range(count)]
        return det_sheet([one(*regions)], font).shape[0]

    one_line = height(2) - height(1)
    assert one_line > 0
    assert height(8) == height(1) + 7 * one_line
    assert height(9) == height(100) == height(8) + one_line


@pytest.mark.parametrize(
    ("panels", "width", "columns"),
    [(1, 300, 4), (1, 2000, 2), (2, 300, 2), (2, 2000, 1), (3, 9, 1)],
)
def test_panels_stand_side_by_side(font: Path, panels: int, width: int, columns: int) -> None:
    cell = DetCell(tuple(DetPanel(picture(100, width)) for _ in range(panels)), 0)
    sheet = det_sheet([cell] * 8, font)
    assert sheet.shape[1] == SHEET_WIDTH
    assert groups(where(sheet, BLUE)[1]) == panels * columns


def test_upright_page_fills_its_panel_and_no_more(font: Path) -> None:
    sheet = det_sheet([DetCell((DetPanel(picture(4000, 1000)),), 0)] * 2, font)
    rows, _ = where(sheet, BLUE)
    assert 1.3 * 761 < np.ptp(rows) <= 1.42 * 761


def test_sheet_of_unequal_cells_is_refused(font: Path) -> None:
    panel = DetPanel(picture())
    with pytest.raises(ValueError, match="cells with 1 and 2 panels on one sheet; give every cell"):
        det_sheet([DetCell((panel,), 0), DetCell((panel, panel), 1)], font)
    with pytest.raises(ValueError, match="cells with 0 panels on one sheet"):
        det_sheet([DetCell((), 0)], font)


def test_regions_of_arrays_and_outside_the_picture_are_drawn(font: Path) -> None:
    @dataclass(frozen=True)
    class Augmented:
        points: np.ndarray
        text: str = "text"
        ignore: bool = True

    far = Augmented(np.array([[-1e6, 5], [1e6, 5], [1e6, 20]], np.float32))
    assert det_sheet([DetCell((DetPanel(picture(), [far]),), 0)], font).size


# --- targets


def maps() -> tuple[np.ndarray, np.ndarray]:
    shrink, band = np.zeros((20, 40), np.float32), np.full((20, 40), 0.3, np.float32)
    shrink[8:12, 10:30] = 1
    band[5:15, 5:8] = 0.7
    return shrink, band


def test_targets_are_tinted_on_the_picture() -> None:
    image = picture(20, 40, (200, 200, 200))
    shown = target_overlay(image, *maps())
    assert shown.shape == image.shape
    assert shown.dtype == np.uint8
    assert tuple(shown[1, 1]) == (200, 200, 200)
    blue, green, red = shown[10, 20].astype(int)
    assert green > blue + 30
    assert green > red + 60
    blue, green, red = shown[10, 6].astype(int)
    assert red > green > blue
    np.testing.assert_array_equal(image, picture(20, 40, (200, 200, 200)))


def test_maps_of_another_size_cover_the_whole_picture() -> None:
    shown = target_overlay(picture(200, 400, (200, 200, 200)), *maps())
    small = target_overlay(picture(20, 40, (200, 200, 200)), *maps())
    np.testing.assert_array_equal(shown[5::10, 5::10], small)


def test_what_the_loss_does_not_look_at_is_faded() -> None:
    mask = np.ones((20, 40), np.float32)
    mask[:, 35:] = 0
    image = picture(20, 40, (30, 30, 30))
    shown = target_overlay(image, *maps(), mask)
    assert shown[2, 38].min() > 130
    assert tuple(shown[2, 2]) == (30, 30, 30)


def test_map_without_text_changes_nothing_but_the_colours() -> None:
    flat = np.full((20, 40), 0.3, np.float32)
    shown = target_overlay(picture(20, 40, (90, 90, 90)), np.zeros_like(flat), flat)
    assert (shown == 90).all()
