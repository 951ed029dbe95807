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
    return normalised_page(scale_page(image, spec), spec)


def scale_page(image: BGRImage, spec: DetImageSpec) -> BGRImage:
    """Scale ``[H, W, 3]`` uint8 BGR to :func:`det_size`."""
    height, width = det_size(image.shape[0], image.shape[1], spec)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(cv2.resize(image, (width, height)), dtype=np.uint8)


def normalised_page(image: BGRImage, spec: DetImageSpec) -> NDArray[np.float32]:
    """Bring ``[H, W, 3]`` uint8 BGR to ``[1, 3, H, W]`` float32, without scaling the picture."""
    out = np.empty((1, 3, *image.shape[:2]), dtype=np.float32)
    normalise_page(image, spec, out=out[0])
    return out


def normalisation(spec: DetImageSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scale and shift a channel: the network's input is ``value * scale - shift``."""
    std = np.array(spec.std, dtype=np.float32)
    return np.float32(1 / 255) / std, np.array(spec.mean, dtype=np.float32) / std


def normalise_page(image: BGRImage, spec: DetImageSpec, *, out: NDArray[np.float32]) -> None:
    """Bring pixels to what the detector is fed with, without scaling the picture.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        out: ``[3, H, W]`` float32, written.

    Raises:
        ValueError: ``out`` of another size or type.
    """
    height, width = image.shape[:2]
    if out.shape != (3, height, width) or out.dtype != np.float32:
        raise ValueError(f"out is {out.dtype} {out.shape}; expected float32 {(3, height, width)}")
    scale, shift = normalisation(spec)
    for channel in range(3):
        np.multiply(cv2.extractChannel(image, channel), scale[channel], out=out[channel])
        out[channel] -= shift[channel]


def rec_width(height: int, width: int, spec: RecImageSpec) -> tuple[int, int]:
    """Return (scaled width, bucket width) in px of a line of ``height`` x ``width`` px.

    Both follow from the line alone.
    """
    scaled = min(max(1, ceil(spec.height * width / height)), spec.max_width)
    steps = max(0, ceil((scaled - spec.min_width) / spec.width_step))
    bucket = min(spec.min_width + steps * spec.width_step, spec.max_width)
    return scaled, bucket


def rec_widths(
    heights: NDArray[np.integer], widths: NDArray[np.integer], spec: RecImageSpec
) -> NDArray[np.int32]:
    """Bucket widths of many lines at once, px: the second value of :func:`rec_width`.

    Args:
        heights, widths: ``[N]``, px, at least 1.

    Returns:
        ``[N]`` int32.
    """
    sizes = widths.astype(np.int32) * np.int32(spec.height)  # of a million lines: 4 MB
    scaled = np.clip(-(-sizes // heights.astype(np.int32)), 1, spec.max_width)
    steps = np.maximum(0, -(-(scaled - spec.min_width) // spec.width_step))
    bucket = np.minimum(spec.min_width + steps * spec.width_step, spec.max_width)
    return np.asarray(bucket, dtype=np.int32)


def rec_input(image: BGRImage, spec: RecImageSpec) -> NDArray[np.float32]:
    """Scale, pad and normalise one text line.

    Args:
        image: ``[H, W, 3]`` uint8 BGR, one horizontal line.

    Returns:
        ``[3, spec.height, bucket]`` float32 in [-1, 1]; the padding on the right is 0.
    """
    bucket = rec_width(image.shape[0], image.shape[1], spec)[1]
    return fit_line(image, spec.height, bucket)


def fit_line(image: BGRImage, height: int, width: int) -> NDArray[np.float32]:
    """Scale one text line to ``height``, squeeze or pad it to ``width``, and normalise it.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        height, width: of the result, px.

    Returns:
        ``[3, height, width]`` float32 in [-1, 1]; the padding on the right is 0.
    """
    scaled = min(max(1, ceil(height * image.shape[1] / image.shape[0])), width)
    if image.shape[:2] != (height, scaled):
        image = np.asarray(cv2.resize(image, (scaled, height)), dtype=np.uint8)
    out = np.empty((3, height, width), dtype=np.float32)
    line = out[:, :, :scaled]
    np.divide(image.transpose(2, 0, 1), np.float32(127.5), out=line, dtype=np.float32)
    line -= 1.0
    out[:, :, scaled:] = 0.0
    return out


def _to_multiple(side: float, spec: DetImageSpec) -> int:
    most = spec.max_side // spec.multiple
    return max(1, min(most, round(int(side) / spec.multiple))) * spec.multiple
