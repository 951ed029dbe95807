"""Changes of text lines for training."""

import cv2
import numpy as np

from ocr_pipeline.config.train import RecAugmentConfig
from ocr_pipeline.ops.decode import BGRImage

_MIN_SIDE_FOR_GEOMETRY = 8


def augment_line(
    image: BGRImage, config: RecAugmentConfig, random: np.random.Generator
) -> BGRImage:
    """Change one line as pictures in the field differ; the text stays readable.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        config: kinds and strengths.
        random: all chance comes from here.

    Returns:
        ``[h, w, 3]`` uint8 BGR, a little smaller where it was cropped.
    """

    def chosen() -> bool:
        return bool(random.random() < config.probability)

    if min(image.shape[:2]) >= _MIN_SIDE_FOR_GEOMETRY:
        if chosen():
            image = _move_corners(image, config.perspective, random)
        if chosen():
            image = _crop_rows(image, config.crop, random)
    if chosen():
        image = _blur(image, config.blur * image.shape[0] / 48, random)
    if chosen():
        image = _light(image, config.light, random)
    if chosen():
        image = _noise(image, config.noise, random)
    if config.invert and chosen():
        image = np.asarray(255 - image, dtype=np.uint8)
    return image


def _move_corners(image: BGRImage, share: float, random: np.random.Generator) -> BGRImage:
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    moved = corners + random.uniform(-share, share, (4, 2)).astype(np.float32) * height
    transform = cv2.getPerspectiveTransform(moved, corners)
    warped = cv2.warpPerspective(image, transform, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, dtype=np.uint8)


def _crop_rows(image: BGRImage, share: float, random: np.random.Generator) -> BGRImage:
    top, bottom = (random.uniform(0, share, 2) * image.shape[0]).astype(int)
    return image[top : image.shape[0] - bottom]


def _blur(image: BGRImage, sigma: float, random: np.random.Generator) -> BGRImage:
    chosen = random.uniform(0, sigma)
    if chosen < 0.1:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), chosen), dtype=np.uint8)


def _light(image: BGRImage, share: float, random: np.random.Generator) -> BGRImage:
    contrast, brightness = 1 + random.uniform(-share, share, 2)
    levels = np.arange(256, dtype=np.float32)
    table = ((levels - 127.5) * contrast + 127.5 * brightness).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def _noise(image: BGRImage, deviation: float, random: np.random.Generator) -> BGRImage:
    noise = random.normal(0, random.uniform(0, deviation), image.shape)
    return np.asarray((image + noise).clip(0, 255), dtype=np.uint8)
