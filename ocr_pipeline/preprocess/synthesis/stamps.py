"""Red stamps over print: round seals with a star, dated oval ones, framed words."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.preprocess.slips import pick
from ocr_pipeline.preprocess.synthesis.faces import FontSet, Mask
from ocr_pipeline.preprocess.synthesis.inks import bold, cloud
from ocr_pipeline.preprocess.synthesis.sheet import IGNORED, Alpha, Colour, Mark, Sheet

_WORDS = ("现金付讫", "转账收讫", "业务讫章", "已受理", "附件", "作废", "核对无误", "已审核")
_ROUND_WORDS = ("业务专用章", "财务专用章", "行政审批专用章", "受理专用章")
_ARC = 250.0
"""Degrees of the ring that the owner's name takes at most."""


@dataclass(frozen=True)
class Seal:
    """A stamp as it is cut.

    Attributes:
        mask: its ink.
        marks: its texts, and places on it to be ignored, px of ``mask``.
    """

    mask: Mask
    marks: tuple[Mark, ...]


def round_seal(owner: str, fonts: FontSet, radius: int, random: np.random.Generator) -> Seal:
    """A ring, the owner's name along it, a star, and a word below.

    The word is marked as text; the name along the ring is marked as a place to be ignored.
    """
    side = 2 * radius + 3
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (radius + 1, radius + 1), radius - 2, 255, max(2, radius // 22), cv2.LINE_AA)
    first = fonts.pick(random)
    step = min(24.0, _ARC / max(1, len(owner) - 1))
    _along_ring(mask, owner, fonts, first, radius, step)
    _star(mask, radius)
    ring = Mark(_ring_part(radius, step * len(owner) / 2), IGNORED)
    at = (radius + 1, round(radius * 1.52))
    word = _word(mask, pick(random, _ROUND_WORDS), fonts, first, at, radius)
    return Seal(mask, (ring, word))


def oval_seal(owner: str, fonts: FontSet, radius: int, random: np.random.Generator) -> Seal:
    """Three rows in an oval frame: who, when, what."""
    width, height = 2 * radius + 3, round(1.45 * radius) + 3
    mask = np.zeros((height, width), np.uint8)
    middle = (width // 2, height // 2)
    axes = (radius - 2, round(radius * 0.69))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, max(2, radius // 25), cv2.LINE_AA)
    first = fonts.pick(random)
    year, month, day = random.integers((2010, 1, 1), (2027, 13, 29))
    rows = (
        (owner[:8], 0.29, 1.1),
        (f"{year}.{month:02d}.{day:02d}", 0.52, 1.35),
        (pick(random, _WORDS), 0.75, 0.85),
    )
    marks = [
        _word(mask, text, fonts, first, (middle[0], round(height * share)), round(radius * reach))
        for text, share, reach in rows
    ]
    return Seal(mask, tuple(marks))


def framed_word(fonts: FontSet, height: int, random: np.random.Generator) -> Seal:
    """One word in a frame."""
    text = pick(random, _WORDS)
    ink = bold(fonts.line(text, height, first=fonts.pick(random), tracking=0.1), random)
    gap = max(6, height // 3)
    mask = cv2.copyMakeBorder(ink, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)
    rows, columns = mask.shape
    cv2.rectangle(mask, (2, 2), (columns - 3, rows - 3), 255, max(2, height // 14), cv2.LINE_AA)
    word = Mark(_box(gap - 1, gap - 1, columns - gap + 1, rows - gap + 1), text)
    return Seal(np.asarray(mask, np.uint8), (word,))


def random_seal(owner: str, fonts: FontSet, radius: int, random: np.random.Generator) -> Seal:
    """One of the three kinds."""
    kind = random.random()
    if kind < 0.45:
        return round_seal(owner, fonts, radius, random)
    if kind < 0.75:
        return oval_seal(owner, fonts, radius, random)
    return framed_word(fonts, max(16, radius // 3), random)


def press(
    sheet: Sheet, seal: Seal, middle: tuple[int, int], worn: float, random: np.random.Generator
) -> None:
    """Put a whole stamp onto a sheet, with its texts; a sheet too small for it gets none.

    Args:
        sheet: what is stamped.
        seal: the stamp; it is turned by up to 25 degrees.
        middle: (x, y) px of the stamp's middle; moved so that all of it stands on the sheet.
        worn: 0 evenly pressed; 1 half of it missing.
        random: chance.
    """
    ink, matrix = _pressed(seal, worn, random)
    reach = ink.shape[0] // 2
    if min(sheet.width, sheet.height) <= 2 * reach:
        return
    left = int(np.clip(middle[0], reach, sheet.width - reach - 1)) - reach
    top = int(np.clip(middle[1], reach, sheet.height - reach - 1)) - reach
    sheet.lay(ink, left, top, _red(random))
    for mark in seal.marks:
        points = cv2.transform(mark.points[None], matrix)[0] + (left, top)
        sheet.marks.append(Mark(points.astype(np.float32), mark.text, over=True))


def press_across(sheet: Sheet, seal: Seal, worn: float, random: np.random.Generator) -> None:
    """Put a stamp anywhere onto a single line, cut by its edges; its own texts are not marked."""
    ink, _ = _pressed(seal, worn, random)
    left = int(random.integers(-ink.shape[1] // 2, max(1, sheet.width - ink.shape[1] // 2)))
    top = int(random.integers(-ink.shape[0] * 2 // 3, max(1, sheet.height - ink.shape[0] // 3)))
    sheet.lay(ink, left, top, _red(random))


def _pressed(
    seal: Seal, worn: float, random: np.random.Generator
) -> tuple[Alpha, NDArray[np.float64]]:
    """Ink of a turned stamp on a square, and the matrix that takes the seal's points there."""
    height, width = seal.mask.shape
    reach = int(np.ceil(np.hypot(height, width) / 2)) + 2
    angle = float(np.clip(random.normal(0, 9), -25, 25))
    matrix = np.asarray(
        cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0), np.float64
    )
    matrix[:, 2] += (reach - (width - 1) / 2, reach - (height - 1) / 2)
    turned = cv2.warpAffine(seal.mask, matrix, (2 * reach, 2 * reach))
    ink = turned.astype(np.float32) / 255 * np.float32(random.uniform(0.55, 0.9))
    spots = cloud((2 * reach, 2 * reach), max(6, reach // 4), random)
    ink *= 1 - np.float32(worn * 0.8) * spots
    ink *= random.random(spots.shape, np.float32) > 0.12 * worn
    return np.asarray(cv2.GaussianBlur(ink, (0, 0), 0.6), np.float32), np.asarray(matrix)


def _red(random: np.random.Generator) -> Colour:
    return (
        float(random.uniform(30, 80)),
        float(random.uniform(20, 70)),
        float(random.uniform(185, 230)),
    )


def _word(
    mask: Mask, text: str, fonts: FontSet, first: int, middle: tuple[int, int], width: int
) -> Mark:
    """Draw a level word of a certain width about a point."""
    size = max(8, min(round(width / max(1, len(text)) * 1.02), round(mask.shape[0] * 0.17)))
    ink = fonts.line(text, size, first=first)
    if ink.shape[1] > width:
        ink = np.asarray(cv2.resize(ink, (width, ink.shape[0])), np.uint8)
    height, width = ink.shape
    left, top = middle[0] - width // 2, middle[1] - height // 2
    part = mask[top : top + height, left : left + width]
    np.maximum(part, ink, out=part)
    return Mark(_box(left - 1, top - 1, left + width + 1, top + height + 1), text)


def _along_ring(
    mask: Mask, text: str, fonts: FontSet, first: int, radius: int, step: float
) -> None:
    """Draw characters around the upper part of a ring, feet towards its middle."""
    size = max(8, round(min(radius * 0.3, radius * 0.76 * np.radians(step) * 0.98)))
    centre = radius + 1
    for number, char in enumerate(text):
        if char == " ":
            continue
        angle = (number - (len(text) - 1) / 2) * step
        ink = fonts.line(char, size, first=first)
        height, width = ink.shape
        spot = (
            centre + 0.76 * radius * np.sin(np.radians(angle)),
            centre - 0.76 * radius * np.cos(np.radians(angle)),
        )
        matrix = np.asarray(
            cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, 1.0), np.float64
        )
        matrix[:, 2] += (spot[0] - (width - 1) / 2, spot[1] - (height - 1) / 2)
        turned = cv2.warpAffine(ink, matrix, (mask.shape[1], mask.shape[0]))
        np.maximum(mask, turned, out=mask)


def _ring_part(radius: int, half: float) -> NDArray[np.float32]:
    """Outline of the band that the name takes: outer arc clockwise, inner arc back."""
    angles = np.radians(np.linspace(-half - 4, half + 4, 9))
    way = np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    outer, inner = way * (radius * 0.95), way[::-1] * (radius * 0.57)
    return (np.concatenate([outer, inner]) + radius + 1).astype(np.float32)


def _star(mask: Mask, radius: int) -> None:
    angles = np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2 == 0, 0.3, 0.115) * radius
    points = np.stack([np.sin(angles) * reach, -np.cos(angles) * reach], axis=1) + radius + 1
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)


def _box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
