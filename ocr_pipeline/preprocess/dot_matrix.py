"""Render text as a worn 24-pin printer leaves it on a slip: dots, missing pins, faint ribbon."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ocr_pipeline.ops.decode import BGRImage

DOT_SCALE = 4
"""Picture pixels per dot while drawing."""


@dataclass(frozen=True)
class Wear:
    """How worn the printer is.

    Attributes:
        dots: height of a character, dots.
        fade: ink left, 0 to 1.
        missing: share of single dots that did not print.
        dead_rows: rows of dots that no pin prints.
        slip: sideways shift of every other row, dots.
        blur: sigma of the scan's blur, px of the result.
        noise: standard deviation of the scan's noise, of 255.
        height: of the result, px.
    """

    dots: int
    fade: float
    missing: float
    dead_rows: int
    slip: float
    blur: float
    noise: float
    height: int


def random_wear(random: np.random.Generator) -> Wear:
    """Draw the state of one printer."""
    return Wear(
        dots=int(random.integers(14, 18)),
        fade=float(random.uniform(0.55, 0.95)),
        missing=float(random.uniform(0.05, 0.25)),
        dead_rows=int(random.integers(1, 4)),
        slip=float(random.uniform(0.2, 1.0)),
        blur=float(random.uniform(0.3, 0.8)),
        noise=float(random.uniform(3, 8)),
        height=int(random.integers(22, 32)),
    )


def typical_wear() -> Wear:
    """The middle of what :func:`random_wear` draws from."""
    return Wear(
        dots=16,
        fade=0.75,
        missing=0.12,
        dead_rows=2,
        slip=0.5,
        blur=0.5,
        noise=5.0,
        height=28,
    )


def render_line(text: str, font: Path, wear: Wear, random: np.random.Generator) -> BGRImage:
    """Render one line.

    Returns:
        ``[wear.height, W, 3]`` uint8 BGR, dark on light paper.
    """
    ink = print_dots(_dot_mask(text, font, wear.dots), wear, random)
    width = max(8, round(ink.shape[1] * wear.height / ink.shape[0]))
    ink = np.asarray(
        cv2.resize(ink, (width, wear.height), interpolation=cv2.INTER_AREA), np.float32
    )
    return _on_paper(ink, wear, random)


def render_page(
    lines: list[str], font: Path, wear: Wear, random: np.random.Generator
) -> tuple[BGRImage, list[NDArray[np.float32]]]:
    """Render a slip, one line below the other.

    Returns:
        ``[H, W, 3]`` uint8 BGR, and the box of each line, ``[4, 2]`` float32 (x, y) px.
    """
    pitch, margin = round(wear.height * 1.7), wear.height
    strips = []
    for text in lines:
        ink = print_dots(_dot_mask(text, font, wear.dots), wear, random)
        width = max(8, round(ink.shape[1] * wear.height / ink.shape[0]))
        resized = cv2.resize(ink, (width, wear.height), interpolation=cv2.INTER_AREA)
        strips.append(np.asarray(resized, np.float32))
    page = np.zeros(
        (2 * margin + pitch * len(lines), 2 * margin + max(s.shape[1] for s in strips)),
        np.float32,
    )
    boxes = []
    for number, strip in enumerate(strips):
        top, (height, width) = margin + number * pitch, strip.shape
        page[top : top + height, margin : margin + width] = strip
        left, right, bottom = margin, margin + width, top + height
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        boxes.append(np.array(corners, dtype=np.float32))
    return _on_paper(page, wear, random), boxes


def _dot_mask(text: str, font: Path, dots: int) -> NDArray[np.bool_]:
    """Which dots the characters consist of: ``[dots + 4, W]``."""
    face = ImageFont.truetype(str(font), dots)
    left, top, right, bottom = face.getbbox(text)
    canvas = Image.new("L", (int(right - left) + 6, dots + 4), 0)
    draw = ImageDraw.Draw(canvas)
    draw.text((3 - left, (dots + 4 - (bottom - top)) / 2 - top), text, 255, face)
    return np.asarray(canvas) > 110


def print_dots(
    mask: NDArray[np.bool_], wear: Wear, random: np.random.Generator
) -> NDArray[np.float32]:
    """Ink of each dot as a soft disc, ``DOT_SCALE`` px wide, in [0, 1]."""
    strength = random.uniform(0.55, 1.0, mask.shape)
    strength *= random.random(mask.shape) >= wear.missing
    dead = random.choice(mask.shape[0], wear.dead_rows, replace=False)
    strength[dead] *= 0.15
    # The ribbon fades and recovers along the line.
    columns = np.linspace(0, random.uniform(2, 9), mask.shape[1])
    strength *= 0.75 + 0.25 * np.sin(columns + random.uniform(0, 6.3))
    dots = (mask * strength).astype(np.float32)
    s = DOT_SCALE
    y, x = np.mgrid[0:s, 0:s] - (s - 1) / 2
    disc = np.clip(1.3 - np.hypot(y, x) / (s / 2), 0, 1).astype(np.float32)
    big = np.kron(dots, disc)
    shift = round(wear.slip * s)
    for row in range(1, mask.shape[0], 2):
        big[row * s : (row + 1) * s] = np.roll(big[row * s : (row + 1) * s], shift, axis=1)
    return big


def _on_paper(ink: NDArray[np.float32], wear: Wear, random: np.random.Generator) -> BGRImage:
    """Paper with grain and tint, ink of one colour, then the scan's blur and noise."""
    height, width = ink.shape
    grain = random.normal(0, 1, (height // 6 + 2, width // 6 + 2)).astype(np.float32)
    cloud = np.asarray(cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC))
    tint = random.uniform(214, 240) + np.array(random.uniform((-9, -2, 0), (2, 3, 6)))
    paper = tint.astype(np.float32) + 2.5 * cloud[:, :, None]
    colour = np.array(random.uniform((50, 40, 40), (130, 70, 70)), np.float32)
    cover = np.clip(ink * wear.fade, 0, 1)[:, :, None]
    picture = paper * (1 - cover) + colour * cover
    picture = cv2.GaussianBlur(picture, (0, 0), wear.blur)
    picture += random.normal(0, wear.noise, picture.shape)
    return np.asarray(picture.clip(0, 255), dtype=np.uint8)
