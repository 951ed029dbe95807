"""How text gets onto a sheet: print, dot matrix, pen, seven segments, dots of light.

Each function takes a mask or a text and returns ink (or light) as ``Alpha``.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.dot_matrix import Wear, print_dots, random_wear
from ocr_pipeline.preprocess.synthesis.faces import Mask
from ocr_pipeline.preprocess.synthesis.sheet import Alpha

# Segments of a digit: top, upper right, lower right, bottom, lower left, upper left, middle.
_SEGMENTS = {
    "0": "abcdef", "1": "bc", "2": "abdeg", "3": "abcdg", "4": "bcfg", "5": "acdfg",
    "6": "acdefg", "7": "abc", "8": "abcdefg", "9": "abcdfg", "-": "g", " ": "",
    "A": "abcefg", "C": "adef", "E": "adefg", "F": "aefg", "H": "bcefg", "L": "def",
    "P": "abefg", "U": "bcdef",
}  # fmt: skip
_POINTS = {".": (0.0,), ":": (0.28, 0.72)}
"""Heights of the round points of a character, share of the digit, from the bottom."""
SEGMENT_CHARACTERS = frozenset(_SEGMENTS) | frozenset(_POINTS)
"""What seven segments can say without being mistaken for another character."""
_NEEDLE_INK = 0.95
"""Cover of the darkest dots of a new ribbon."""
_LOW_DOTS = 16
"""A Chinese character needs so many rows of dots at least."""


def printed(mask: Mask, worn: float, random: np.random.Generator) -> Alpha:
    """Ink of a printer.

    Args:
        mask: the text.
        worn: 0 even and black; 1 pale, uneven, with small gaps.
    """
    alpha = np.asarray(mask / np.float32(255), np.float32)
    if worn > 0:
        alpha *= 1 - np.float32(worn * 0.6) * cloud(
            alpha.shape, max(4, min(alpha.shape) // 3), random
        )
        alpha *= np.float32(1 - worn * 0.35 * random.random())
        gaps = random.random(alpha.shape, np.float32) < worn * 0.08
        alpha[gaps] *= 0.3
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.35 + 0.3 * worn), np.float32)
    return alpha


def bold(mask: Mask, random: np.random.Generator) -> Mask:
    """Thicker strokes, one or two px of a font of 48 px."""
    size = 2 if mask.shape[0] < 40 else int(random.integers(2, 4))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return np.asarray(cv2.dilate(padded, np.ones((size, size), np.uint8)), np.uint8)


def penned(mask: Mask, random: np.random.Generator) -> Alpha:
    """Ink of a ball pen: rounded strokes of even width, pressure that changes along the line."""
    side = min(mask.shape)
    thick = cv2.dilate(mask, np.ones((2, 2), np.uint8)) if side < 60 else mask
    sigma = float(random.uniform(0.5, 0.9)) * max(1.0, side / 40)
    soft = cv2.GaussianBlur(thick.astype(np.float32) / 255, (0, 0), sigma)
    alpha = np.clip((soft - 0.25) * 2.6, 0, 1)
    pressure = 1 - 0.35 * cloud((mask.shape[0], mask.shape[1]), side, random)
    return np.asarray(alpha * pressure, np.float32)


def needle_wear(worn: float, random: np.random.Generator) -> Wear:
    """State of a 24-pin printer: 0 as new, 1 as :func:`random_wear` draws it."""
    worst = random_wear(random)
    return replace(
        worst,
        dots=int(random.integers(16, 25)),
        fade=1 - worn * (1 - worst.fade),
        missing=worn * worst.missing,
        dead_rows=round(worn * worst.dead_rows),
        slip=worn * worst.slip,
    )


def needle_printed(mask: Mask, height: int, wear: Wear, random: np.random.Generator) -> Alpha:
    """Ink of a dot-matrix printer.

    Args:
        mask: the text drawn with a font of ``wear.dots`` px, a pixel for a dot.
        height: of the result, px.
        wear: state of the printer.
    """
    ink = print_dots(mask > 110, wear, random)
    width = max(4, round(ink.shape[1] * height / ink.shape[0]))
    small = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)
    # Made small, dots and gaps run together: the ink is brought back to what the ribbon gives.
    dark = float(np.percentile(small[small > 0.02], 96)) if small.max() > 0.02 else 1.0
    return np.asarray(np.clip(small / dark * wear.fade * _NEEDLE_INK, 0, 1), np.float32)


@dataclass(frozen=True)
class Lights:
    """A display: what is lit, and what could be lit.

    Attributes:
        lit: ``Alpha`` of the lit parts.
        ghost: ``Alpha`` of all parts, of the same size.
    """

    lit: Alpha
    ghost: Alpha


def seven_segments(text: str, height: int, random: np.random.Generator) -> Lights:
    """Draw a text in seven segments, slanted as displays are.

    Args:
        text: of ``SEGMENT_CHARACTERS``; a point takes no place of its own.
        height: of a digit, px.

    Raises:
        DataError: a character that seven segments cannot show (all named).
    """
    wrong = [char for char in dict.fromkeys(text) if char not in SEGMENT_CHARACTERS]
    if wrong:
        raise DataError(
            f"{text!r}: seven segments cannot show {', '.join(map(repr, wrong))}; allowed: "
            f"{''.join(sorted(SEGMENT_CHARACTERS))}"
        )
    digit = height * float(random.uniform(0.5, 0.62))
    stroke = height * float(random.uniform(0.1, 0.15))
    gap = height * float(random.uniform(0.2, 0.3))
    slant = float(random.choice((0.0, 0.08, 0.14)))
    width = round(len(text) * (digit + gap) + slant * height + 2 * gap)
    lit, ghost = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    pen = gap / 2
    for char in text:
        if char in _POINTS:
            # The point stands in the gap after a digit; a colon between two digits is wider.
            at = pen - gap / 2 if char == "." else pen + gap * 0.1
            _draw_points(lit, _POINTS[char], at, height, stroke)
            pen += 0.0 if char == "." else gap
            continue
        for name, outline in _outlines(digit, height, stroke).items():
            shape = np.round(outline + np.array([pen, 0.0])).astype(np.int32)
            cv2.fillPoly(ghost, [shape], 255, cv2.LINE_AA)
            if name in _SEGMENTS[char]:
                cv2.fillPoly(lit, [shape], 255, cv2.LINE_AA)
        pen += digit + gap
    end = round(pen + slant * height)
    return Lights(_leaned(lit, slant)[:, :end], _leaned(ghost, slant)[:, :end])


def _draw_points(
    lit: Mask, heights: tuple[float, ...], x: float, height: int, stroke: float
) -> None:
    radius = stroke * 0.7
    for share in heights:
        y = height - 1 - radius - share * (height - 2 * radius)
        centre = (round(x), round(y))
        cv2.circle(lit, centre, max(1, round(radius)), 255, -1, cv2.LINE_AA)


def _outlines(width: float, height: float, stroke: float) -> dict[str, NDArray[np.float64]]:
    """Outline of each segment of a digit, ``[6, 2]`` (x, y) px."""
    half, air = stroke / 2, max(0.6, stroke * 0.08)
    left, right, top, bottom = half, width - half, half, height - 1 - half
    middle = (top + bottom) / 2

    def level(y: float) -> NDArray[np.float64]:
        a, b = left + air, right - air
        return np.array(
            [(a, y), (a + half, y - half), (b - half, y - half),
             (b, y), (b - half, y + half), (a + half, y + half)]
        )  # fmt: skip

    def upright(x: float, y0: float, y1: float) -> NDArray[np.float64]:
        a, b = y0 + air, y1 - air
        return np.array(
            [(x, a), (x + half, a + half), (x + half, b - half),
             (x, b), (x - half, b - half), (x - half, a + half)]
        )  # fmt: skip

    return {
        "a": level(top), "g": level(middle), "d": level(bottom),
        "b": upright(right, top, middle), "c": upright(right, middle, bottom),
        "f": upright(left, top, middle), "e": upright(left, middle, bottom),
    }  # fmt: skip


def _leaned(mask: Mask, slant: float) -> Alpha:
    height, width = mask.shape
    matrix = np.array([[1, -slant, slant * height], [0, 1, 0]], np.float64)
    leaned = cv2.warpAffine(mask, matrix, (width, height))
    return np.asarray(leaned / np.float32(255), np.float32)


def dot_lights(mask: Mask, pitch: int, random: np.random.Generator) -> Lights:
    """Show a text by a matrix of round lights.

    Args:
        mask: the text drawn with a small font (16 px and more for Chinese), a pixel for a light.
        pitch: distance of the lights, px.
    """
    on = (mask > 100).astype(np.float32)
    on *= random.uniform(0.85, 1.0, on.shape).astype(np.float32)
    y, x = np.mgrid[0:pitch, 0:pitch] - (pitch - 1) / 2
    fill = float(random.uniform(0.75, 1.0))
    disc = np.clip((pitch / 2 * fill - np.hypot(y, x)) + 0.5, 0, 1).astype(np.float32)
    return Lights(np.kron(on, disc), np.kron(np.ones_like(on), disc))


def dot_rows(text: str, random: np.random.Generator) -> int:
    """Rows of lights that a text needs to be read: fewer for digits than for Chinese."""
    if all(ord(char) < 0x250 for char in text):
        return int(random.integers(12, 19))
    return int(random.integers(_LOW_DOTS, 25))


def cloud(shape: tuple[int, int], cell: int, random: np.random.Generator) -> Alpha:
    """Soft spots: smooth noise in [0, 1].

    Args:
        shape: (height, width) of the result, px.
        cell: typical size of a spot, px.
    """
    height, width = shape
    coarse = random.random((height // cell + 3, width // cell + 3), np.float32)
    grown = cv2.resize(
        coarse, (width + 2 * cell, height + 2 * cell), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(grown[cell : cell + height, cell : cell + width], np.float32)
