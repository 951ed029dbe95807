"""Changes of text lines for training. All chance comes from the generator that is passed in."""

from collections.abc import Sequence
from functools import cache
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.rec_augment import RecAugmentConfig, RecChances
from ocr_pipeline.ops.decode import BGRImage

KINDS = tuple(RecChances.model_fields)
"""Kinds of change, in the order in which they are applied."""
_REFERENCE_HEIGHT = 48
_MIN_SIDE_FOR_GEOMETRY = 8
_MOST_PX = 32_000
"""cv2.remap's limit of a side, nearly."""
_SEGMENTS = (3, 6)
_NOISE_POOL = 1 << 20


def augment_line(
    image: BGRImage,
    config: RecAugmentConfig,
    random: np.random.Generator,
    *,
    height: int | None = None,
    max_width: int | None = None,
) -> BGRImage:
    """Change one line as pictures in the field differ; the text stays readable.

    With ``height`` the line is scaled to it on the way, in one step with what bends it, and the
    slow kinds of change see few pixels: faster than scaling before or after.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; left as it is.
        config: kinds and strengths; joining lines is :func:`concat_lines`.
        random: all chance comes from here.
        height: of the result, px; None: as the picture, less what was cropped.
        max_width: a line that ``height`` would make wider is squeezed into this, px.

    Returns:
        ``[h, w, 3]`` uint8 BGR; with ``height`` the aspect ratio is the picture's, rounded up to a
        whole px of width.
    """
    chosen = {
        kind: draw < config.chance(kind)
        for kind, draw in zip(KINDS, random.random(len(KINDS)).tolist(), strict=True)
    }
    if config.turn and random.random() < config.turn:
        image = np.ascontiguousarray(image[::-1, ::-1])
    size = None if height is None else (height, line_width(image, height, max_width))
    image = _reshape(image, config, random, size=size, bend=chosen["bend"], crop=chosen["crop"])
    scale = image.shape[0] / _REFERENCE_HEIGHT
    if chosen["blur"]:
        image = _blur(image, config.blur * scale, random)
    if chosen["light"]:
        image = _light(image, config.light, random)
    if chosen["shift"]:
        image = _shift(image, config.shift * scale, random)
    if chosen["noise"]:
        image = _noise(image, config.noise, random)
    if chosen["invert"] and config.invert:
        image = np.asarray(cv2.bitwise_not(image), dtype=np.uint8)
    return image


def line_width(image: BGRImage, height: int, max_width: int | None = None) -> int:
    """Width of a line that is scaled to ``height``, px: at least 1, at most ``max_width``."""
    scaled: int = max(1, ceil(height * image.shape[1] / image.shape[0]))
    return scaled if max_width is None else min(scaled, max_width)


def concat_count(config: RecAugmentConfig, random: np.random.Generator) -> int:
    """Draw how many further lines shall be tried for one line: 0 or ``config.concat_lines``."""
    return config.concat_lines if random.random() < config.concat else 0


def plan_concat(
    widths: Sequence[int], label_lengths: Sequence[int], *, max_width: int, max_length: int
) -> list[int]:
    """Choose which lines are joined: the first one, and each further one that still fits.

    Args:
        widths: of the lines at one height, px; the first is the line that others are joined to.
        label_lengths: of their labels, in characters.
        max_width: of all together, px.
        max_length: of all labels together.

    Returns:
        Positions in ``widths``, rising; always with 0, whatever its size.
    """
    joined = [0]
    width, length = widths[0], label_lengths[0]
    for position in range(1, len(widths)):
        wider = width + widths[position]
        longer = length + label_lengths[position]
        if wider <= max_width and longer <= max_length:
            joined.append(position)
            width, length = wider, longer
    return joined


def concat_lines(images: Sequence[BGRImage], height: int) -> BGRImage:
    """Put lines side by side, left to right; their labels follow each other in the same order.

    Args:
        images: ``[H, W, 3]`` uint8 BGR each, at least one.
        height: that all are scaled to, px.

    Returns:
        ``[height, w, 3]`` uint8 BGR; w is the sum of :func:`line_width` of each.
    """
    scaled = [_resize(image, (height, line_width(image, height))) for image in images]
    return np.concatenate(scaled, axis=1)


def _reshape(
    image: BGRImage,
    config: RecAugmentConfig,
    random: np.random.Generator,
    *,
    size: tuple[int, int] | None,
    bend: bool,
    crop: bool,
) -> BGRImage:
    """Crop, bend and scale, with one interpolation for all."""
    large_enough = min(image.shape[:2]) >= _MIN_SIDE_FOR_GEOMETRY
    if crop and large_enough:
        top, bottom = (random.uniform(0, config.crop, 2) * image.shape[0]).astype(int)
        image = image[top : image.shape[0] - bottom]
    target = size or (image.shape[0], image.shape[1])
    strengths = (config.distort, config.stretch, config.perspective)
    if bend and large_enough and any(strengths) and max(*target, *image.shape) < _MOST_PX:
        return _bend(image, target, strengths, random)
    return _resize(image, target)


def _resize(image: BGRImage, size: tuple[int, int]) -> BGRImage:
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, (size[1], size[0])), dtype=np.uint8)


def _bend(
    image: BGRImage,
    size: tuple[int, int],
    strengths: tuple[float, float, float],
    random: np.random.Generator,
) -> BGRImage:
    """Distort, stretch and tilt; the whole picture stays inside the frame.

    Where each pixel comes from is computed on a coarse grid and interpolated between.
    """
    height, width = size
    distort, stretch, perspective = strengths
    held, moved = _controls(height, width, distort, stretch, random)
    to_flat = _tilt(height, width, perspective * height, random)
    cell = max(4, height // 4)
    nodes = _nodes(height, width, cell)
    flat = nodes if to_flat is None else _project(nodes, to_flat)
    came_from = _least_squares(flat, moved, held)
    x = _between(came_from.real * (image.shape[1] / width) - 0.5, size, cell)
    y = _between(came_from.imag * (image.shape[0] / height) - 0.5, size, cell)
    bent = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, dtype=np.uint8)


def _controls(
    height: int, width: int, distort: float, stretch: float, random: np.random.Generator
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Points x + iy on the upper and lower edge, and where they move to; ``[2 * (segments + 1)]``.

    Up and down they only move inwards, and so do the corners sideways: nothing is cut off.
    """
    drawn = int(random.integers(_SEGMENTS[0], _SEGMENTS[1] + 1))
    segments = max(1, min(drawn, 2 * width // height))  # a segment is wider than a narrow character
    segment = width / segments
    x = np.tile(np.arange(segments + 1) * segment, 2)
    y = np.repeat((0.0, float(height)), segments + 1)
    draws = random.random((5, segments + 1))
    along = stretch * segment * (2 * draws[0] - 1)
    along[[0, -1]] = 0.0
    sideways = min(distort * height, 0.2 * segment) * (draws[1:3] - 0.5)
    sideways[:, 0] = np.abs(sideways[:, 0])
    sideways[:, -1] = -np.abs(sideways[:, -1])
    inwards = distort * height * draws[3:5]
    moved_x = x + (sideways + along).ravel()
    moved_y = y + (inwards * ((1.0,), (-1.0,))).ravel()
    return x + 1j * y, moved_x + 1j * moved_y


def _tilt(
    height: int, width: int, most: float, random: np.random.Generator
) -> NDArray[np.float64] | None:
    """``[3, 3]`` matrix from the tilted frame back to the flat one; None: it is not tilted."""
    if most == 0:
        return None
    inwards = random.random((4, 2)) * (min(most, 0.1 * width), most)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    moved = corners + inwards * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    return np.asarray(cv2.getPerspectiveTransform(moved.astype(np.float32), corners))


def _nodes(height: int, width: int, cell: int) -> NDArray[np.complex128]:
    """Middles of grid cells as x + iy px, ``[rows, columns]``.

    Scaled up ``cell`` times, the part that begins at ``cell // 2`` is the frame: every pixel of it
    lies between four nodes.
    """
    offset = (cell - 1) / 2 + 0.5 - cell // 2
    x = np.arange(ceil(width / cell) + 1) * cell + offset
    y = np.arange(ceil(height / cell) + 1) * cell + offset
    return np.asarray(1j * y[:, None] + x)


def _between(grid: NDArray[np.float64], size: tuple[int, int], cell: int) -> NDArray[np.float32]:
    """Values at all pixels ``[height, width]`` from those at the nodes."""
    rows, columns = grid.shape
    fine = cv2.resize(grid.astype(np.float32), (columns * cell, rows * cell))
    start = cell // 2
    part = fine[start : start + size[0], start : start + size[1]]
    return np.asarray(part, dtype=np.float32)


def _project(points: NDArray[np.complex128], matrix: NDArray[np.float64]) -> NDArray[np.complex128]:
    x, y = points.real, points.imag
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    new_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    new_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    return np.asarray((new_x + 1j * new_y) / depth)


def _least_squares(
    points: NDArray[np.complex128],
    controls: NDArray[np.complex128],
    targets: NDArray[np.complex128],
) -> NDArray[np.complex128]:
    """Move points as the nearest controls move: similarity by moving least squares.

    Schaefer, McPhail, Warren: Image Deformation Using Moving Least Squares, 2006, section 2.2. On
    complex numbers a similarity is ``a * x + b``, so the fit at each point is a weighted line.

    Args:
        points: any shape, x + iy.
        controls: ``[C]``.
        targets: ``[C]``, where the controls go.

    Returns:
        Where the points go, in their shape.
    """
    away = points[..., None] - controls  # [..., C]
    weights = 1.0 / (away.real**2 + away.imag**2 + 1e-3)
    weights /= weights.sum(axis=-1, keepdims=True)
    control_mean = weights @ controls
    target_mean = weights @ targets
    weighted = weights * np.conj(controls - control_mean[..., None])
    # The deviations' own mean is 0: products with plain coordinates give the same sums.
    slope = (weighted @ targets) / (weighted @ controls).real
    moved: NDArray[np.complex128] = slope * (points - control_mean) + target_mean
    return moved


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


def _shift(image: BGRImage, most: float, random: np.random.Generator) -> BGRImage:
    whole = min(round(most), min(image.shape[:2]) // _MIN_SIDE_FOR_GEOMETRY)
    down, right = random.integers(-whole, whole + 1, 2).tolist()
    if not (down or right):
        return image
    height, width = image.shape[:2]
    kept = image[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    margins = (max(0, down), max(0, -down), max(0, right), max(0, -right))
    return np.asarray(cv2.copyMakeBorder(kept, *margins, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _noise(image: BGRImage, deviation: float, random: np.random.Generator) -> BGRImage:
    chosen = random.uniform(0, deviation)
    pool = _noise_pool()
    if image.size > len(pool):
        pool = np.tile(pool, image.size // len(pool) + 1)
    start = int(random.integers(len(pool) - image.size + 1))
    noise = pool[start : start + image.size].reshape(image.shape) * np.float32(chosen)
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)


@cache
def _noise_pool() -> NDArray[np.float32]:
    """Standard normal numbers, the same in every process: to draw them anew costs far more."""
    return np.random.default_rng(0).standard_normal(_NOISE_POOL, dtype=np.float32)
