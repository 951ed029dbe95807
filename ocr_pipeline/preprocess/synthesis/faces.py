"""Draw text with several fonts: what one font lacks is drawn with the next, never as a box."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from ocr_pipeline.errors import AssetError, DataError
from ocr_pipeline.fonts import characters_of

Mask = NDArray[np.uint8]
"""``[H, W]`` uint8, 255 where there is ink."""

_PROBE_SIZE = 24
_NO_CHARACTER = "\uffff"
"""A code point that no font may give a glyph: it shows the font's sign for a missing one."""
_TURNED = frozenset("()[]{}<>（）［］｛｝〈〉《》「」『』【】〔〕—–-－~～…:：;；|｜_＿=＝")
"""Drawn turned by a quarter in a vertical line."""
_CORNER = frozenset("，。、．")
"""Drawn in the upper right of its cell in a vertical line."""


@dataclass(frozen=True)
class Hand:
    """How far a line is from level print; all 0: print.

    Attributes:
        turn: standard deviation of a character's angle, degrees.
        shift: standard deviation of its height on the line, share of the size.
        scale: standard deviation of its size, share.
        slant: sideways shift per height, of all characters.
    """

    turn: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    slant: float = 0.0


PRINT = Hand()


@dataclass(frozen=True)
class _Glyph:
    mask: Mask
    left: int
    """Of the mask from the pen, px."""
    top: int
    """Of the mask from the base line, px, negative above it."""
    advance: float


@lru_cache(maxsize=256)
def _face(path: Path, size: int) -> ImageFont.FreeTypeFont:
    # Basic layout: what is drawn does not depend on whether Pillow was built with Raqm.
    try:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise AssetError(f"{path}: not a font that can be drawn with ({error})") from None


@lru_cache(maxsize=8192)
def _glyph(path: Path, size: int, char: str) -> _Glyph:
    face = _face(path, size)
    drawn, offset = face.getmask2(char, mode="L", anchor="ls")
    width, height = drawn.size
    mask = np.frombuffer(bytes(drawn), np.uint8).reshape(height, width)
    return _Glyph(mask, int(offset[0]), int(offset[1]), float(face.getlength(char)))


def _has_ink(path: Path, char: str) -> bool:
    """Whether the glyph shows something, and something else than the sign for a missing one."""
    mask = _glyph(path, _PROBE_SIZE, char).mask
    return bool(mask.any()) and not np.array_equal(mask, _missing_sign(path))


@lru_cache(maxsize=64)
def _missing_sign(path: Path) -> Mask:
    return _glyph(path, _PROBE_SIZE, _NO_CHARACTER).mask


class FontSet:
    """Fonts in order; each text has a first one, the others help out.

    Args:
        paths: font files, at least one.

    Raises:
        AssetError: a file is no font that can be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise AssetError("no font to draw with; give at least one .ttf, .otf or .ttc file")
        self.paths = tuple(paths)
        self._covered = [characters_of(path) for path in paths]
        self._chosen: dict[tuple[str, int], int | None] = {}
        for path in paths:
            _missing_sign(path)

    def pick(self, random: np.random.Generator) -> int:
        """Return the number of one font."""
        return int(random.integers(len(self.paths)))

    def can_draw(self, entry: str) -> bool:
        """Whether one font at least draws this single character as it is read.

        Not so: characters of several code points, blanks but the ASCII space, marks that join the
        character before, and scripts written from right to left, whose letters change their form.
        """
        if entry == " ":
            return True
        if len(entry) != 1 or unicodedata.category(entry)[0] in "CZM":
            return False
        if unicodedata.bidirectional(entry) in ("R", "AL", "AN"):
            return False
        return self._font_for(entry, 0) is not None

    def missing(self, text: str) -> list[str]:
        """Return the characters of ``text`` that cannot be drawn, each once."""
        return [char for char in dict.fromkeys(text) if not self.can_draw(char)]

    def _font_for(self, char: str, first: int) -> int | None:
        key = (char, first)
        if key not in self._chosen:
            order = [first, *(n for n in range(len(self.paths)) if n != first)]
            able = (n for n in order if self._draws(n, char))
            self._chosen[key] = next(able, None)
        return self._chosen[key]

    def _draws(self, number: int, char: str) -> bool:
        return ord(char) in self._covered[number] and _has_ink(self.paths[number], char)

    def _glyph(self, char: str, first: int, size: int) -> _Glyph:
        number = self._font_for(char, first)
        if number is None:
            raise DataError(
                f"{char!r} (U+{ord(char):04X}): none of the {len(self.paths)} fonts draws it; add "
                "a font that has it (fonts), or leave the character out"
            )
        return _glyph(self.paths[number], size, char)

    def line(
        self,
        text: str,
        size: int,
        *,
        first: int = 0,
        tracking: float = 0.0,
        hand: Hand = PRINT,
        random: np.random.Generator | None = None,
    ) -> Mask:
        """Draw one level line.

        Args:
            text: without outer blanks.
            size: of the font, px.
            first: number of the font to be taken where it has the character.
            tracking: additional space between characters, share of ``size``.
            hand: unsteadiness, as of handwriting; needs ``random``.
            random: chance of the hand.

        Returns:
            The ink with no empty columns or rows around it, but at least about three quarters of
            ``size`` high, so that a dash is a line of text too.

        Raises:
            DataError: no font has one of the characters.
        """
        canvas = np.zeros((size * 2, round(size * (len(text) + 1) * (1.6 + tracking))), np.uint8)
        pen, base = size * 0.5, round(size * 1.35)
        for char in text:
            if char == " ":
                pen += size * (0.3 + tracking)
                continue
            glyph = self._glyph(char, first, size)
            mask, lift = glyph.mask, 0
            if hand is not PRINT and random is not None:
                mask = _unsteady(mask, hand, random)
                lift = round(random.normal(0, hand.shift) * size)
            _stamp_in(canvas, mask, round(pen) + glyph.left, base + glyph.top + lift)
            pen += glyph.advance + tracking * size
        if hand.slant:
            canvas = _slanted(canvas, hand.slant)
        middle = base - 0.36 * size
        return _trimmed(canvas, round(middle - 0.38 * size), round(middle + 0.38 * size))

    def column(self, text: str, size: int, *, first: int = 0, tracking: float = 0.0) -> Mask:
        """Draw one vertical line, top to bottom, characters upright; brackets are turned.

        Returns:
            As :meth:`line`; at least about three quarters of ``size`` wide.
        """
        pitch = size * (1.04 + tracking)
        canvas = np.zeros((round(pitch * (len(text) + 1)), size * 2), np.uint8)
        for number, char in enumerate(text):
            if char == " ":
                continue
            mask = self._glyph(char, first, size).mask
            x, y = size, size * 0.55 + pitch * number
            if char in _TURNED:
                mask = np.asarray(cv2.rotate(mask, cv2.ROTATE_90_CLOCKWISE), np.uint8)
            elif char in _CORNER:
                x, y = round(size * 1.3), y - size * 0.3
            top, left = round(y - mask.shape[0] / 2), round(x - mask.shape[1] / 2)
            _stamp_in(canvas, mask, left, top)
        wide = _trimmed(canvas.T, round(size * 0.62), round(size * 1.38))
        return np.ascontiguousarray(wide.T)


def _unsteady(mask: Mask, hand: Hand, random: np.random.Generator) -> Mask:
    """The same glyph turned and scaled a little about its middle; as large as before, plus 2 px."""
    height, width = mask.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    angle, scale = random.normal(0, hand.turn), 1 + random.normal(0, hand.scale)
    matrix = np.asarray(
        cv2.getRotationMatrix2D(centre, float(angle), float(np.clip(scale, 0.8, 1.1))), np.float64
    )
    matrix[:, 2] += 1
    return np.asarray(cv2.warpAffine(mask, matrix, (width + 2, height + 2)), np.uint8)


def _slanted(canvas: Mask, slant: float) -> Mask:
    height, width = canvas.shape
    matrix = np.array([[1, -slant, max(slant, 0) * height], [0, 1, 0]], np.float64)
    return np.asarray(cv2.warpAffine(canvas, matrix, (width + height, height)), np.uint8)


def _stamp_in(canvas: Mask, mask: Mask, left: int, top: int) -> None:
    """Put a glyph into the canvas, keeping the darker of both; what stands over is cut."""
    x0, y0 = max(left, 0), max(top, 0)
    x1 = min(left + mask.shape[1], canvas.shape[1])
    y1 = min(top + mask.shape[0], canvas.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part = canvas[y0:y1, x0:x1]
    np.maximum(part, mask[y0 - top : y1 - top, x0 - left : x1 - left], out=part)


def _trimmed(canvas: Mask, top: int, bottom: int) -> Mask:
    """Cut empty columns and rows away, but none between ``top`` and ``bottom``."""
    columns = np.flatnonzero(canvas.any(axis=0))
    rows = np.flatnonzero(canvas.any(axis=1))
    if not len(columns):
        return canvas[max(top, 0) : bottom, :1].copy()
    top, bottom = min(top, int(rows[0])), max(bottom, int(rows[-1]) + 1)
    return canvas[max(top, 0) : bottom, columns[0] : columns[-1] + 1].copy()
