"""The annotated picture: boxes on the page, the text beside it at the same place."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.geometry import Points

_SURE = (34, 139, 84)
_UNSURE = (208, 92, 20)
_SURE_FROM = 0.85
_INK = (28, 32, 38)
_PAPER = (250, 250, 248)
_MAX_SIDE = 2000
"""A larger page is drawn smaller, px."""


@dataclass(frozen=True)
class Annotation:
    """One line to draw: its corners, text and confidence."""

    points: Points
    text: str
    confidence: float


def annotate(image: BGRImage, lines: list[Annotation], font: Path | None) -> BGRImage:
    """Draw boxes (green: sure, orange: confidence below 0.85), and with a font the text beside.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        lines: in px of ``image``.
        font: with the characters of the texts; None draws the boxes only.

    Returns:
        ``[H', W', 3]`` uint8 BGR: the page, and with a font a second page of the same size.
    """
    scale = min(1.0, _MAX_SIDE / max(image.shape[:2]))
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image.shape[:2]
    left = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    right = Image.new("RGB", (width, height), _PAPER)
    veil = Image.new("RGBA", left.size, (0, 0, 0, 0))
    on_left, on_right = ImageDraw.Draw(veil), ImageDraw.Draw(right)
    stroke = max(1, round(max(height, width) / 700))
    for line in lines:
        color = _SURE if line.confidence >= _SURE_FROM else _UNSURE
        points = line.points * scale
        corners = [(float(x), float(y)) for x, y in points]
        on_left.polygon(corners, fill=(*color, 20), outline=(*color, 255), width=stroke)
        if font is not None:
            on_right.polygon(corners, outline=(222, 226, 222))
            _write(on_right, points, line.text, font, _INK if color == _SURE else color)
    left = Image.alpha_composite(left.convert("RGBA"), veil).convert("RGB")
    sides = [np.asarray(left)] if font is None else [np.asarray(left), np.asarray(right)]
    return np.ascontiguousarray(np.hstack(sides)[:, :, ::-1])


def _write(
    draw: ImageDraw.ImageDraw, points: Points, text: str, font: Path, color: tuple[int, int, int]
) -> None:
    """Write text into a box: as high as the box, no wider than it."""
    width = float(np.hypot(*(points[1] - points[0])))
    height = float(np.hypot(*(points[3] - points[0])))
    size = max(6, int(height * 0.78))
    face = ImageFont.truetype(str(font), size)
    needed = draw.textlength(text, font=face)
    if needed > width:
        face = ImageFont.truetype(str(font), max(6, int(size * width / needed)))
    middle = points.mean(axis=0)
    draw.text((float(points[:, 0].min()), float(middle[1])), text, color, face, anchor="lm")
