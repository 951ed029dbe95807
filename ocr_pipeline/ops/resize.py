"""Pictures to network input, for the detector and the recognizer."""

from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.image import DetImageSpec, RecImageSpec
from ocr_pipeline.ops.decode import BGRImage


def det_size(height: int, width: int, spec: DetImageSpec) -> tuple[int, int]:
    """Return the (height, width) in px that a picture is scaled to for the detector.

    The aspect ratio is kept up to the rounding to ``spec.multiple``.
    """
    scale = max(1.0, spec.min_side / min(height, width))
    if max(height, width) * scale > spec.max_side:
        scale = spec.max_side / max(height, width)
    return (_to_multiple(height * scale, spec), _to_multiple(width * scale, spec))


def det_input(image: BGRImage, spec: DetImageSpec) -> NDArray[np.float32]:
    """Scale and normalise one picture.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.

    Returns:
        ``[1, 3, h, w]`` float32, about -2.2 to 2.7; h and w are multiples of ``spec.multiple``.
    """
    height, width = det_size(image.shape[0], image.shape[1], spec)
    if (height, width) != image.shape[:2]:
        image = np.asarray(cv2.resize(image, (width, height)), dtype=np.uint8)
    scale = np.float32(1 / 255) / np.array(spec.std, dtype=np.float32)
    shift = np.array(spec.mean, dtype=np.float32) / np.array(spec.std, dtype=np.float32)
    out = np.empty((1, 3, height, width), dtype=np.float32)
    for channel in range(3):
        np.multiply(image[:, :, channel], scale[channel], out=out[0, channel])
        out[0, channel] -= shift[channel]
    return out


def rec_width(height: int, width: int, spec: RecImageSpec) -> tuple[int, int]:
    """Return (scaled width, bucket width) in px of a line of ``height`` x ``width`` px.

    Both follow from the line alone.
    """
    scaled = min(max(1, ceil(spec.height * width / height)), spec.max_width)
    steps = max(0, ceil((scaled - spec.min_width) / spec.width_step))
    bucket = min(spec.min_width + steps * spec.width_step, spec.max_width)
    return scaled, bucket


def rec_input(image: BGRImage, spec: RecImageSpec) -> NDArray[np.float32]:
    """Scale, pad and normalise one text line.

    Args:
        image: ``[H, W, 3]`` uint8 BGR, one horizontal line.

    Returns:
        ``[3, spec.height, bucket]`` float32 in [-1, 1]; the padding on the right is 0.
    """
    scaled, bucket = rec_width(image.shape[0], image.shape[1], spec)
    resized = np.asarray(cv2.resize(image, (scaled, spec.height)), dtype=np.float32)
    out = np.zeros((3, spec.height, bucket), dtype=np.float32)
    out[:, :, :scaled] = resized.transpose(2, 0, 1) / 127.5 - 1.0
    return out


def _to_multiple(side: float, spec: DetImageSpec) -> int:
    most = spec.max_side // spec.multiple
    return max(1, min(most, round(int(side) / spec.multiple))) * spec.multiple
