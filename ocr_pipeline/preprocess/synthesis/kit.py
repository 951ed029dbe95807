"""What every domain draws with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ocr_pipeline.config.render import DegradeConfig
from ocr_pipeline.preprocess.synthesis.faces import FontSet, Hand
from ocr_pipeline.preprocess.synthesis.grounds import Ground, cut_ground
from ocr_pipeline.preprocess.synthesis.inks import (
    bold,
    needle_printed,
    needle_wear,
    penned,
    printed,
)
from ocr_pipeline.preprocess.synthesis.sheet import Alpha, Colour, Sheet

Texts = Callable[[np.random.Generator], str]


@dataclass(frozen=True)
class Kit:
    """What every domain draws with.

    Attributes:
        fonts: all fonts.
        grounds: pictures of the user to draw on; empty: made up.
        degrade: shares of wear and stamps are used while drawing.
        texts: lines of text, for pages of running text.
    """

    fonts: FontSet
    grounds: Sequence[Path]
    degrade: DegradeConfig
    texts: Texts

    def worn(self, random: np.random.Generator) -> float:
        """How worn one printer is, 0 to 1."""
        if random.random() >= self.degrade.worn:
            return 0.0
        return float(random.uniform(0.2, 0.3 + 0.7 * self.degrade.strength))

    def ground(self, made_up: Ground, random: np.random.Generator) -> Ground:
        """The user's picture where there are some, else what was made up."""
        if not self.grounds:
            return made_up
        height, width = made_up.shape[:2]
        return cut_ground(self.grounds, height, width, random)


@dataclass(frozen=True)
class Pen:
    """One way of writing, the same for all values of a page.

    Attributes:
        kind: print, needle (24-pin dot matrix) or hand.
        first: number of the font.
        worn: 0 to 1.
        colour: of the ink.
        is_bold: thicker strokes.
        tracking: additional space between characters, share of the size.
        seed: of the printer's state.
    """

    kind: str
    first: int
    worn: float
    colour: Colour
    is_bold: bool = False
    tracking: float = 0.0
    seed: int = 0

    def ink(self, text: str, size: int, fonts: FontSet, random: np.random.Generator) -> Alpha:
        """Ink of a level line whose characters are about ``size`` px high."""
        if self.kind == "needle":
            return self._needles(text, size, fonts, random)
        if self.kind == "hand":
            unsteady = Hand(
                turn=2.5, shift=0.025, scale=0.05, slant=float(random.normal(0.05, 0.05))
            )
            mask = fonts.line(
                text, size, first=self.first, tracking=self.tracking, hand=unsteady, random=random
            )
            return penned(mask, random)
        mask = fonts.line(text, size, first=self.first, tracking=self.tracking)
        return printed(bold(mask, random) if self.is_bold else mask, self.worn, random)

    def column(self, text: str, size: int, fonts: FontSet, random: np.random.Generator) -> Alpha:
        """Ink of a vertical line."""
        mask = fonts.column(text, size, first=self.first, tracking=self.tracking)
        if self.kind == "hand":
            return penned(mask, random)
        return printed(bold(mask, random) if self.is_bold else mask, self.worn, random)

    def _needles(self, text: str, size: int, fonts: FontSet, random: np.random.Generator) -> Alpha:
        # The wear of a printer is the same on all its lines; where it strikes is not.
        wear = needle_wear(self.worn, np.random.default_rng(self.seed))
        mask = fonts.line(text, wear.dots, first=self.first, tracking=self.tracking)
        framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        height = max(10, round(framed.shape[0] / wear.dots * size))
        return trim_alpha(needle_printed(np.asarray(framed, np.uint8), height, wear, random))


def trim_alpha(alpha: Alpha) -> Alpha:
    """Cut the columns without ink at both ends away."""
    columns = np.flatnonzero(alpha.max(axis=0) > 0.05)
    if not len(columns):
        return alpha
    return alpha[:, columns[0] : columns[-1] + 1]


def line_sheet(
    ink: Alpha, ground: Callable[[int, int], Ground], random: np.random.Generator
) -> tuple[Sheet, int, int]:
    """A sheet just large enough for one line and what surrounds it.

    Returns:
        The sheet, and where the ink shall be laid (left, top).
    """
    height, width = ink.shape
    side = min(height, width)
    left, right, top, bottom = (
        round(side * share) + 8 for share in random.uniform(0.35, 0.9, 4).tolist()
    )
    sheet = Sheet(ground(height + top + bottom, width + left + right))
    return sheet, left, top


@dataclass(frozen=True)
class Box:
    """A cell of a form, px; right and bottom stand outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def fitted(ink: Alpha, width: int, height: int) -> Alpha:
    """The ink made smaller where it is wider or higher than said; its shape stays."""
    scale = min(1.0, width / ink.shape[1], height / ink.shape[0])
    if scale == 1.0:
        return ink
    size = (max(1, int(ink.shape[1] * scale)), max(1, int(ink.shape[0] * scale)))
    return np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.float32)


def put(
    sheet: Sheet,
    ink: Alpha,
    box: Box,
    colour: Colour,
    text: str,
    *,
    place: float = 0.0,
    angle: float = 0.0,
    shift: tuple[int, int] = (0, 0),
) -> bool:
    """Write into a cell, in the middle of its height, made smaller where that is needed.

    Args:
        sheet: what is written on.
        ink: of the text.
        box: the cell.
        colour: of the ink.
        text: what the ink says.
        place: 0 left, 0.5 middle, 1 right.
        angle: degrees counter-clockwise.
        shift: (x, y) px that the whole page is out of place.

    Returns:
        Whether it stands on the sheet; see :meth:`Sheet.write`.
    """
    gap = 6
    ink = fitted(ink, max(4, box.width - 2 * gap), max(4, box.height - 4))
    left = box.left + gap + round((box.width - 2 * gap - ink.shape[1]) * place)
    top = box.top + (box.height - ink.shape[0]) // 2
    return sheet.write(ink, left + shift[0], top + shift[1], colour, text, angle=angle)


def dark(random: np.random.Generator) -> Colour:
    """Black, dark grey or dark blue of printers."""
    level = float(random.uniform(10, 75))
    return level + float(random.uniform(0, 35)), level, level - float(random.uniform(0, 9))


def blue_pen(random: np.random.Generator) -> Colour:
    """Ink of a pen: blue, blue-black or black."""
    kinds = ((150.0, 60.0, 30.0), (110.0, 50.0, 35.0), (45.0, 42.0, 40.0))
    base = kinds[int(random.integers(len(kinds)))]
    off = random.uniform(-18, 25, 3)
    return base[0] + float(off[0]), base[1] + float(off[1]), base[2] + float(off[2])
