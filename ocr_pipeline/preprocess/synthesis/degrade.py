"""What scanners, cameras and wear do to a picture.

Each function takes ``[H, W, 3]`` uint8 BGR, a strength in [0, 1] and the chance, and returns a new
picture of the same shape; the same chance gives the same bytes. At strength 0 an effect is at its
weakest, which is not always none.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.preprocess.synthesis.inks import cloud

_LEVELS = np.float32(255)


def blur(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    """Out of focus (sigma 0.5 to 1.6 px) or moved (3 to 7 px)."""
    if random.random() < 0.65:
        sigma = float(random.uniform(0.5, 0.7 + 0.9 * strength))
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    length = 3 + 2 * int(random.integers(0, 1 + round(2 * strength)))
    kernel = np.zeros((length, length), np.float32)
    angle = random.uniform(0, np.pi)
    reach = (length - 1) / 2
    way = np.array([np.cos(angle), np.sin(angle)]) * reach
    middle = np.array([reach, reach])
    start, end = np.round(middle - way).astype(int), np.round(middle + way).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0, 1)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)


def perspective(
    picture: BGRImage, strength: float, random: np.random.Generator
) -> tuple[BGRImage, NDArray[np.float64]]:
    """Seen from the side, on a table of one colour; nothing of the picture is cut off.

    Returns:
        The picture, and the matrix ``[3, 3]`` float64 that takes old points to new ones.
    """
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    reach = (0.01 + 0.06 * strength) * min(height, width)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    moved = corners + inwards * random.uniform(0.5, 0.5 + reach, (4, 2))
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    table = tuple(float(value) for value in random.uniform(30, 190) + random.uniform(-18, 18, 3))
    result = cv2.warpPerspective(
        picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=table
    )
    return np.asarray(result, np.uint8), np.asarray(matrix, np.float64)


def jpeg(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    """Stored as JPEG of quality 75 down to 20."""
    quality = int(random.uniform(75 - 55 * strength, 76))
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def uneven_light(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    """Darker to one side, and in half of the cases a soft-edged shadow."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (x / width - 0.5) + np.sin(angle) * (y / height - 0.5)
    light = 1 - (0.08 + 0.3 * strength) * random.uniform(0.5, 1) * (along + 0.5)
    if random.random() < 0.5:
        angle, place = random.uniform(0, 2 * np.pi), random.uniform(-0.3, 0.3)
        across = np.cos(angle) * (x / width - 0.5) + np.sin(angle) * (y / height - 0.5) - place
        edge = 1 / (1 + np.exp(-across * random.uniform(15, 60)))
        light *= 1 - (0.06 + 0.25 * strength) * random.uniform(0.5, 1) * edge
    return _as_picture(picture * light[:, :, None].astype(np.float32))


def noise(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    """Grain of a sensor: standard deviation 3 to 15 of 255, part of it in brightness alone."""
    deviation = np.float32(random.uniform(3, 4 + 11 * strength))
    grey = random.standard_normal((*picture.shape[:2], 1), np.float32)
    if random.random() < 0.5:
        return _as_picture(picture + deviation * grey)
    colour = random.standard_normal(picture.shape, np.float32)
    return _as_picture(picture + deviation * (np.float32(0.6) * grey + np.float32(0.8) * colour))


def fold(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    """One to three folds: a pale crease with worn spots, one side in the shade of it."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    result = picture.astype(np.float32)
    for _ in range(int(random.integers(1, 4))):
        angle = random.choice((0, np.pi / 2)) + random.normal(0, 0.05)
        middle = random.uniform(0.15, 0.85, 2) * (width, height)
        across = np.cos(angle) * (x - middle[0]) + np.sin(angle) * (y - middle[1])
        wavy = across + 2 * (cloud((height, width), 24, random) - 0.5)
        reach = max(4.0, min(height, width) * 0.05)
        shade = np.exp(-np.abs(wavy) / reach) * (wavy > 0)
        crease = np.exp(-((wavy / random.uniform(0.8, 1.4)) ** 2))
        crease *= 0.4 + 0.6 * cloud((height, width), 5, random)
        result *= (1 - (0.08 + 0.2 * strength) * shade)[:, :, None]
        result += (235 - result) * ((0.35 + 0.4 * strength) * crease)[:, :, None]
    return _as_picture(result)


def low_resolution(picture: BGRImage, strength: float, random: np.random.Generator) -> BGRImage:
    """Made smaller (to 80 % down to 45 %) and larger again."""
    height, width = picture.shape[:2]
    scale = float(random.uniform(0.8 - 0.35 * strength, 0.85))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    way = cv2.INTER_LINEAR if random.random() < 0.5 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (width, height), interpolation=way), np.uint8)


def _as_picture(values: NDArray[np.floating]) -> BGRImage:
    return np.asarray(np.clip(values, 0, _LEVELS) + np.float32(0.5), np.uint8)
