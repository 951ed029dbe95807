"""Small pictures for a page."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.decode import BGRImage

_SIZE = (320, 200)
_AROUND = 1.5
"""A region is shown with so many times its longer side around it."""
_LARGEST = 4.0
"""Times that a small picture is enlarged at most."""
_BOX = (60, 60, 230)
_JPEG_QUALITY = 82
_FAR = 12_000

Outline = Sequence[tuple[float, float]]


class Drawn(NamedTuple):
    """An outline to draw.

    Attributes:
        points: (x, y) px of the picture.
        color: BGR.
        width: of the line, px of the small picture.
    """

    points: Outline
    color: tuple[int, int, int]
    width: int = 2


def thumbnail(picture: BGRImage, points: Outline | None) -> BGRImage:
    """The picture, or the part around an outline with the outline drawn, 320 x 200 px at most.

    Args:
        picture: ``[H, W, 3]`` uint8 BGR.
        points: (x, y) px; None or not finite: none is drawn.
    """
    outline = np.array(points or [], dtype=np.float64).reshape(-1, 2)
    if not len(outline) or not np.isfinite(outline).all():
        return _small(picture, _SIZE)[0]
    part, outline = _around(picture, outline)
    small, scale = _small(part, _SIZE)
    _draw(small, outline * scale, _BOX)
    return small


def page_thumbnail(
    picture: BGRImage, outlines: Sequence[Drawn], *, size: tuple[int, int] = (720, 600)
) -> BGRImage:
    """A whole page with outlines drawn on it.

    Args:
        picture: ``[H, W, 3]`` uint8 BGR.
        outlines: later ones are above earlier ones.
        size: largest width and height, px.
    """
    small, scale = _small(picture, size)
    for outline in outlines:
        points = np.array(outline.points, dtype=np.float64).reshape(-1, 2)
        if np.isfinite(points).all():
            _draw(small, points * scale, outline.color, outline.width)
    return small


def data_uri(picture: BGRImage) -> str | None:
    """A JPEG of the picture, as a data URI; None where it cannot be encoded."""
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _small(picture: BGRImage, most: tuple[int, int]) -> tuple[BGRImage, float]:
    height, width = picture.shape[:2]
    scale = min(most[0] / width, most[1] / height, _LARGEST)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.array(cv2.resize(picture, size, interpolation=way), dtype=np.uint8), scale


def _draw(
    picture: BGRImage,
    points: NDArray[np.float64],
    color: tuple[int, int, int],
    width: int = 2,
) -> None:
    if len(points) > 1:
        corners = np.rint(np.clip(points, -_FAR, _FAR)).astype(np.int32)
        cv2.polylines(picture, [corners], True, color, width, cv2.LINE_AA)


def _around(
    picture: BGRImage, outline: NDArray[np.float64]
) -> tuple[BGRImage, NDArray[np.float64]]:
    """The part of a picture around an outline, and the outline in it."""
    height, width = picture.shape[:2]
    low = np.clip(outline.min(axis=0), 0, (width, height))
    high = np.clip(outline.max(axis=0), 0, (width, height))
    margin = _AROUND * max(float((high - low).max()), 24.0)
    left, top = np.maximum(low - margin, 0).astype(int).tolist()
    right, bottom = np.minimum(high + margin, (width, height)).astype(int).tolist()
    part = picture[top : max(bottom, top + 1), left : max(right, left + 1)]
    if part.size == 0:
        return picture, outline
    return part, outline - (left, top)
