"""What a picture shows of itself: fingerprints, emptiness, EXIF rotation."""

import hashlib
import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocr_pipeline.ops.decode import FORMATS, BGRImage

Point = tuple[float, float]
_ORIENTATION = 0x0112
_THUMB_HEIGHT = {"rec": 12, "det": 40}
_THUMB_MAX_WIDTH = {"rec": 240, "det": 80}
_EXIF_MARKS = (b"Exif", b"EXIF", b"eXIf", b"type exif", b"Orientation", b"adobe.xmp")
"""One of these stands in each JPEG, PNG and WebP file that tells an orientation."""
_TIFF = (b"II", b"MM")
_WIDE = 2.0
_FLAT = 2.0
"""Neighbours that differ by less are alike, of 255: else noise would set the bits."""


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints of decoded pixels.

    Attributes:
        pixels: 16 bytes; equal for equal pixels of equal shape.
        look: 64-bit difference hash; few bits differ between two encodings of one picture.
        thumb: grey thumbnail, ``thumb_width`` columns, row by row.
        thumb_width: its columns.
    """

    pixels: bytes
    look: int
    thumb: bytes
    thumb_width: int


def fingerprints(picture: BGRImage, task: str) -> Prints:
    """Fingerprints of one picture, ``[H, W, 3]`` uint8 BGR."""
    height, width = picture.shape[:2]
    digest = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16)
    digest.update(f"{height}x{width}".encode())
    rows = _THUMB_HEIGHT[task]
    columns = min(max(rows // 2, round(rows * width / height)), _THUMB_MAX_WIDTH[task])
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    thumb = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA)
    return Prints(digest.digest(), _difference_hash(grey), thumb.tobytes(), columns)


def grey_range(picture: BGRImage) -> int:
    """Difference of the brightest and the darkest grey, after a slight blur; 0 to 255."""
    grey = cv2.blur(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (3, 3))
    return int(grey.max()) - int(grey.min())


def exif_orientation(content: bytes) -> int:
    """EXIF orientation of a picture that was decoded without fault, 1 to 8; reads the header."""
    if content[:2] not in _TIFF and not any(mark in content for mark in _EXIF_MARKS):
        return 1
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        value = picture.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turn_points(
    points: tuple[Point, ...], orientation: int, raw_size: tuple[int, int]
) -> tuple[Point, ...]:
    """Points of a picture as it is stored, moved to the picture as EXIF shows it.

    Args:
        points: (x, y) px of the stored picture.
        orientation: EXIF value, 1 to 8.
        raw_size: (height, width) of the stored picture, px.
    """
    height, width = raw_size

    def turn(x: float, y: float) -> Point:
        if orientation in (2, 3, 7, 8):
            x = width - x
        if orientation in (3, 4, 6, 7):
            y = height - y
        return (y, x) if orientation >= 5 else (x, y)

    return tuple(turn(x, y) for x, y in points)


def _difference_hash(grey: NDArray[np.uint8]) -> int:
    """Which of 64 spots are brighter than their right neighbour; a wide picture has wide rows."""
    height, width = grey.shape
    columns, rows = (17, 4) if width >= _WIDE * height else (9, 8)
    small = cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    bits = (small[:, :-1] > small[:, 1:] + _FLAT).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
