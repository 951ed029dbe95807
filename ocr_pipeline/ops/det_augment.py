"""Changes of pages for training a detector.

Mirroring, turning, perspective, crop and fit are one matrix, so that each pixel of the result is
computed once, from the source, and no picture larger than the source is made.
"""

from collections.abc import Sequence
from math import ceil, cos, floor, log2, pi, sin, sqrt
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.det_augment import ColourConfig, DetAugmentConfig
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_copy_paste import Paste, paste, pixel_middles, place_donors
from ocr_pipeline.ops.det_geometry import Matrix, Placement, move_regions, place_page
from ocr_pipeline.ops.polygons import Polygon

_LUMA = np.array([0.114, 0.587, 0.299])
"""Weights of blue, green, red in the grey of a pixel (ITU-R BT.601)."""
_TO_YIQ = np.array([[0.114, 0.587, 0.299], [-0.3213, -0.2744, 0.5957], [0.3111, -0.5226, 0.2115]])
"""Blue, green, red to grey and two colour axes (NTSC)."""
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_CONTRAST = 3
"""Index of the step of :func:`change_colours` that keeps the mean grey."""
_MARGIN = 2
"""Pixels of the source around what the picture shows, for the interpolation."""


class RegionLike(Protocol):
    """What is needed of a labelled region: its outline, px, and whether it is left out."""

    @property
    def points(self) -> Sequence[Sequence[float]] | NDArray[np.floating]: ...

    @property
    def ignore(self) -> bool: ...


class AugmentedPage(NamedTuple):
    """A page as the network sees it in training.

    Attributes:
        image: ``[S, S, 3]`` uint8 BGR; black where the page does not reach.
        points: ``[P, 2]`` float32 px of each region in it, clockwise where it was before.
        ignore: one flag a region.
    """

    image: BGRImage
    points: list[Polygon]
    ignore: list[bool]


def augment_page(
    image: BGRImage,
    regions: Sequence[RegionLike],
    config: DetAugmentConfig,
    random: np.random.Generator,
    donors: Sequence[BGRImage] = (),
) -> AugmentedPage:
    """Change one page as pages in the field differ, and bring it to the network's input size.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; left as it is.
        regions: its regions; outlines in px of ``image``.
        config: kinds and strengths.
        random: all chance comes from here.
        donors: texts of another page, see ``ops.det_copy_paste.cut_donors``.
    """
    points = [np.asarray(region.points, dtype=np.float32).reshape(-1, 2) for region in regions]
    ignore = [bool(region.ignore) for region in regions]
    size = (int(image.shape[0]), int(image.shape[1]))
    pastes: list[Paste] = []
    if random.random() < config.copy_paste.probability and donors:
        pastes = place_donors(size, points, donors, config.copy_paste, random)
        points += [one.points for one in pastes]
        ignore += [False] * len(pastes)
    change_colour = random.random() < config.colour.probability
    texts = [outline for outline, skip in zip(points, ignore, strict=True) if not skip]
    placement = place_page(size, texts, config, random)
    part, matrix = _shown_part(image, placement, pastes)
    if change_colour:
        part = change_colours(part, config.colour, random)
    picture = _drawn(part, matrix, placement, config.size)
    return AugmentedPage(picture, *move_regions(points, ignore, placement, config.min_visible))


def fit_page(image: BGRImage, regions: Sequence[RegionLike], size: int) -> AugmentedPage:
    """Bring a page to the network's input size, and change nothing else.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; left as it is.
        regions: its regions; outlines in px of ``image``.
        size: sides of the result, px.
    """
    height, width = image.shape[:2]
    scale = min(size / width, size / height)
    placement = Placement(
        np.diag([scale, scale, 1.0]),
        width=max(1, min(size, round(scale * width))),
        height=max(1, min(size, round(scale * height))),
        detail=1.0,
    )
    points = [np.asarray(region.points, dtype=np.float32).reshape(-1, 2) for region in regions]
    ignore = [bool(region.ignore) for region in regions]
    part, matrix = _shown_part(image, placement, ())
    picture = _drawn(part, matrix, placement, size)
    return AugmentedPage(picture, *move_regions(points, ignore, placement, 0.0))


def change_colours(image: BGRImage, config: ColourConfig, random: np.random.Generator) -> BGRImage:
    """Change brightness, contrast, saturation and hue, in random order.

    All four are linear in blue, green and red, so that they are one matrix: the hue is turned about
    the grey axis, which keeps the grey of each pixel.

    Args:
        image: ``[H, W, 3]`` uint8 BGR; left as it is.
        config: strengths.
        random: all chance comes from here.

    Returns:
        ``[H, W, 3]`` uint8 BGR; what leaves 0 to 255 is cut off at the end only.
    """
    strengths = np.array([config.brightness, config.contrast, config.saturation])
    brightness, contrast, saturation = (1 + strengths * random.uniform(-1, 1, 3)).tolist()
    angle = 2 * pi * config.hue * random.uniform(-1, 1)
    turn = np.array([[1, 0, 0], [0, cos(angle), -sin(angle)], [0, sin(angle), cos(angle)]])
    steps = [
        brightness * np.eye(3),
        saturation * np.eye(3) + (1 - saturation) * _LUMA,
        _FROM_YIQ @ turn @ _TO_YIQ,
        contrast * np.eye(3),
    ]
    mean = np.array(cv2.mean(image)[:3])
    matrix, offset = np.eye(3), np.zeros(3)
    for index in random.permutation(len(steps)).tolist():
        grey = float(_LUMA @ (matrix @ mean + offset))
        matrix, offset = steps[index] @ matrix, steps[index] @ offset
        if index == _CONTRAST:
            offset += (1 - contrast) * grey
    changed = cv2.transform(image, np.column_stack([matrix, offset]))
    return np.asarray(changed, dtype=np.uint8)


def _shown_part(
    image: BGRImage, placement: Placement, pastes: Sequence[Paste]
) -> tuple[BGRImage, Matrix]:
    """Cut out what the picture shows, shrink it if it is shown much smaller, and add the pastes.

    Returns:
        ``[h, w, 3]`` uint8 BGR, a view of ``image`` where nothing was changed; and the matrix that
        takes it to the picture.
    """
    height, width = image.shape[:2]
    factor = _shrink_factor(placement, width / 2, height / 2)
    left, top, right, bottom = _shown_box(placement, width, height, ceil(_MARGIN / factor))
    shown = image[top:bottom, left:right]
    part, scale_x, scale_y = _shrunk(shown, factor)
    to_part = np.array([[scale_x, 0, -scale_x * left], [0, scale_y, -scale_y * top], [0, 0, 1]])
    if pastes:
        if part is shown:
            part = part.copy()
        paste(part, pastes, to_part)
    return part, placement.matrix @ np.linalg.inv(to_part)


def _shrink_factor(placement: Placement, x: float, y: float) -> float:
    """How much the source is shrunk before it is drawn, in (0, 1].

    Down to the detail that is wanted; else, as drawing looks at four pixels only, in halves as long
    as the picture, around (x, y) of the page, is at most half as large as the source.
    """
    matrix = placement.matrix
    depth = float(matrix[2] @ (x, y, 1))
    scale = sqrt(abs(float(np.linalg.det(matrix)) / depth**3))
    if placement.detail < min(1.0, scale):
        return placement.detail
    return 1.0 if scale > 1 / 2 else 0.5 ** floor(-log2(scale))


def _shown_box(
    placement: Placement, width: int, height: int, margin: int
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of the page that is shown, at least one pixel."""
    corners = np.array(
        [[0, placement.width, placement.width, 0], [0, 0, placement.height, placement.height]]
    )
    seen = np.linalg.inv(placement.matrix) @ np.vstack([corners, np.ones(4)])
    if seen[2].min() <= 0:  # the picture shows the horizon
        return 0, 0, width, height
    xs, ys = seen[:2] / seen[2]
    left = min(max(0, floor(xs.min()) - margin), width - 1)
    top = min(max(0, floor(ys.min()) - margin), height - 1)
    right = max(min(width, ceil(xs.max()) + margin), left + 1)
    bottom = max(min(height, ceil(ys.max()) + margin), top + 1)
    return left, top, right, bottom


def _shrunk(image: BGRImage, factor: float) -> tuple[BGRImage, float, float]:
    """Shrink by about ``factor``; also returns what it came to, of width and height."""
    scale_x = scale_y = 1.0
    while factor <= 1 / 2 and min(image.shape[:2]) > 1:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        even = image[: 2 * half[1], : 2 * half[0]]
        image = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        scale_x, scale_y, factor = scale_x / 2, scale_y / 2, factor * 2
    if factor < 1:
        height, width = image.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        image = np.asarray(cv2.resize(image, size), dtype=np.uint8)
        scale_x, scale_y = scale_x * size[0] / width, scale_y * size[1] / height
    return image, scale_x, scale_y


def _drawn(part: BGRImage, matrix: Matrix, placement: Placement, size: int) -> BGRImage:
    """Draw a part of a page into the top-left of a black picture of ``size`` a side."""
    out = np.zeros((size, size, 3), dtype=np.uint8)
    target = out[: placement.height, : placement.width]
    shape = (placement.width, placement.height)
    middles = pixel_middles(matrix)
    if middles[2, 0] or middles[2, 1]:
        cv2.warpPerspective(part, middles, shape, dst=target)
    else:
        level = not (middles[0, 1] or middles[1, 0])  # the picture's edge is the page's
        border = cv2.BORDER_REPLICATE if level else cv2.BORDER_CONSTANT
        cv2.warpAffine(part, middles[:2], shape, dst=target, borderMode=border)
    return out
