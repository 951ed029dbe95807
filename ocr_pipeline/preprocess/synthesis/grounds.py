"""What text stands on: made-up paper, plates and displays, or pictures of the user."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.errors import DataError, ImageError
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.preprocess.synthesis.inks import cloud
from ocr_pipeline.preprocess.synthesis.sheet import Colour

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
Ground = NDArray[np.float32]
"""``[H, W, 3]`` float32 BGR, 0 to 255."""


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures below a folder, sorted.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    if not found:
        raise DataError(
            f"{folder}: no picture to draw on ({', '.join(_PICTURES)}); name a folder with some, "
            "or leave backgrounds out"
        )
    return found


def cut_ground(
    pictures: Sequence[Path], height: int, width: int, random: np.random.Generator
) -> Ground:
    """Cut a piece of one picture, as large as asked for; small pictures are enlarged.

    Raises:
        DataError: the picture cannot be read.
    """
    source = _read(pictures[int(random.integers(len(pictures)))])
    scale = max(height / source.shape[0], width / source.shape[1], 1.0)
    if scale > 1:
        size = (int(np.ceil(source.shape[1] * scale)), int(np.ceil(source.shape[0] * scale)))
        source = np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    top = int(random.integers(source.shape[0] - height + 1))
    left = int(random.integers(source.shape[1] - width + 1))
    return source[top : top + height, left : left + width].astype(np.float32)


@lru_cache(maxsize=16)
def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_image(path)
    except ImageError as error:
        raise DataError(
            f"{path}: cannot be drawn on ({error}); take it out of the folder"
        ) from None


def paper(height: int, width: int, colour: Colour, random: np.random.Generator) -> Ground:
    """Paper with grain, soft stains and fibres."""
    ground = np.empty((height, width, 3), np.float32)
    ground[:] = np.asarray(colour, np.float32)
    spots = cloud((height, width), 60, random) + 0.5 * cloud((height, width), 14, random)
    grain = random.standard_normal((height, width), np.float32)
    ground += ((spots - 0.75) * np.float32(random.uniform(2, 10)))[:, :, None]
    ground += (grain * np.float32(random.uniform(0.5, 2.5)))[:, :, None]
    return np.clip(ground, 0, 255)


def paper_colour(random: np.random.Generator, *, tinted: bool) -> Colour:
    """White to yellowish; ``tinted`` also as carbon copies are: pink, yellow, green, blue."""
    light = float(random.uniform(222, 252))
    if tinted and random.random() < 0.45:
        tints = ((12, 26, 0), (40, 8, 0), (14, 0, 22), (0, 8, 22))
        off = tints[int(random.integers(len(tints)))]
        share = float(random.uniform(0.4, 1.1))
        return light - off[0] * share, light - off[1] * share, light - off[2] * share
    return light - float(random.uniform(0, 16)), light - float(random.uniform(0, 5)), light


def plate(height: int, width: int, colour: Colour, random: np.random.Generator) -> Ground:
    """Painted metal or plastic: a soft change of light and fine grain."""
    ground = np.empty((height, width, 3), np.float32)
    ground[:] = np.asarray(colour, np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x / width - 0.5) + np.sin(angle) * (y / height - 0.5)
    ground *= (1 + np.float32(random.uniform(0.05, 0.25)) * along)[:, :, None]
    ground += 4 * (cloud((height, width), 30, random) - 0.5)[:, :, None]
    ground += random.standard_normal((height, width, 1), np.float32) * np.float32(1.2)
    return np.clip(ground, 0, 255)
