"""Plain printed documents: a headline, running text in one or two columns, or vertical columns."""

import numpy as np

from ocr_pipeline.preprocess.synthesis.grounds import paper, paper_colour
from ocr_pipeline.preprocess.synthesis.kit import Box, Kit, Pen, dark, line_sheet, put
from ocr_pipeline.preprocess.synthesis.sheet import Sheet
from ocr_pipeline.preprocess.synthesis.stamps import press_across, random_seal

_STAMP_OWNER = "档案管理处"


def draw_line(text: str, vertical: bool, kit: Kit, random: np.random.Generator) -> Sheet:
    """One printed line; its mark is the first one of the sheet."""
    pen = _pen(kit, random)
    size = int(random.integers(20, 52))
    if vertical:
        ink = pen.column(text, size, kit.fonts, random)
    else:
        ink = pen.ink(text, size, kit.fonts, random)
    colour = paper_colour(random, tinted=True)
    sheet, left, top = line_sheet(
        ink, lambda h, w: kit.ground(paper(h, w, colour, random), random), random
    )
    sheet.write(ink, left, top, pen.colour, text)
    if random.random() < 0.3 * kit.degrade.stamp:
        seal = random_seal(_STAMP_OWNER, kit.fonts, int(random.integers(60, 120)), random)
        press_across(sheet, seal, kit.worn(random), random)
    return sheet


def _pen(kit: Kit, random: np.random.Generator) -> Pen:
    chance = random.random()
    kind = "needle" if chance < 0.08 else "hand" if chance < 0.16 else "print"
    return Pen(
        kind, kit.fonts.pick(random), kit.worn(random) * 0.7, dark(random),
        is_bold=bool(random.random() < 0.2), tracking=float(random.uniform(0, 0.06)),
        seed=int(random.integers(2**32)),
    )  # fmt: skip


def draw_page(kit: Kit, random: np.random.Generator) -> Sheet:
    """One page, about 850 x 1100 px."""
    width, height = int(random.integers(800, 900)), int(random.integers(1000, 1180))
    colour = paper_colour(random, tinted=False)
    sheet = Sheet(kit.ground(paper(height, width, colour, random), random))
    pen = _pen(kit, random)
    size = int(random.integers(20, 28))
    title = kit.texts(random)
    ink = pen.ink(title, size + 12, kit.fonts, random)
    put(sheet, ink, Box(80, 50, width - 80, 120), pen.colour, title, place=0.5)
    if random.random() < 0.2:
        _vertical(sheet, pen, size, kit, random)
        return sheet
    columns = 2 if random.random() < 0.35 else 1
    wide = (width - 120 - 30 * (columns - 1)) // columns
    for number in range(columns):
        left = 60 + number * (wide + 30)
        _lines(sheet, pen, size, Box(left, 150, left + wide, height - 70), kit, random)
    return sheet


def _lines(
    sheet: Sheet, pen: Pen, size: int, box: Box, kit: Kit, random: np.random.Generator
) -> None:
    """Lines one below the other, with gaps between paragraphs."""
    top, pitch = box.top, round(size * float(random.uniform(1.5, 1.9)))
    while top + pitch < box.bottom:
        text = kit.texts(random)
        # A line that is too long for the column ends earlier; one size serves the whole page.
        most = max(2, int((box.width - 16) / (size * (1.02 + pen.tracking))))
        text = text[:most].rstrip()
        ink = pen.ink(text, size, kit.fonts, random)
        put(sheet, ink, Box(box.left, top, box.right, top + pitch), pen.colour, text)
        top += pitch + (pitch // 2 if random.random() < 0.15 else 0)


def _vertical(sheet: Sheet, pen: Pen, size: int, kit: Kit, random: np.random.Generator) -> None:
    """Columns from right to left."""
    pitch = round(size * float(random.uniform(1.7, 2.2)))
    right = sheet.width - 70
    while right - pitch > 60:
        text = kit.texts(random)
        ink = pen.column(text, size, kit.fonts, random)
        if ink.shape[0] >= 2 * ink.shape[1]:
            box = Box(right - pitch, 150, right, sheet.height - 70)
            width, height = ink.shape[1], ink.shape[0]
            if height <= box.height:
                left = box.left + (pitch - width) // 2
                sheet.write(ink, left, box.top, pen.colour, text)
        right -= pitch
