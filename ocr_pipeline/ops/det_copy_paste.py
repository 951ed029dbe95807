"""Text of other pages, put where a page has none."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.det_augment import CopyPasteConfig
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_geometry import Matrix, move_points
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.polygons import Polygon

_MIN_DONOR_SIDE = 4
"""A cut-out with a shorter side below this is not worth pasting, px."""


@dataclass(frozen=True)
class Paste:
    """One text that is put on a page.

    Attributes:
        image: ``[h, w, 3]`` uint8 BGR, the text as it was cut out.
        matrix: ``[3, 3]`` cut-out to page; (0, 0) is the outer corner of the first pixel.
        points: ``[4, 2]`` float32 corners on the page, px, clockwise from the text's top-left.
    """

    image: BGRImage
    matrix: Matrix
    points: Polygon


def cut_donors(
    image: BGRImage,
    regions: Sequence[Polygon],
    ignore: Sequence[bool],
    config: CopyPasteConfig,
    random: np.random.Generator,
) -> list[BGRImage]:
    """Cut some texts out of a page, for others.

    Only quadrilaterals that are not ignored: what is beside another outline may be other text.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        regions: ``[P, 2]`` float32 px each.
        ignore: one flag a region.
        config: how many.
        random: all chance comes from here.

    Returns:
        ``[h, w, 3]`` uint8 BGR each, straightened; none where the page has no such text.
    """
    usable = [
        points
        for points, skip in zip(regions, ignore, strict=True)
        if len(points) == 4 and not skip
    ]
    count = min(config.max_count, len(usable), max(1, round(config.ratio * len(usable))))
    chosen = random.permutation(len(usable))[:count]
    crops = [crop_line(image, np.asarray(usable[index], dtype=np.float32)) for index in chosen]
    return [crop for crop in crops if min(crop.shape[:2]) >= _MIN_DONOR_SIDE]


def place_donors(
    size: tuple[int, int],
    taken: Sequence[Polygon],
    donors: Sequence[BGRImage],
    config: CopyPasteConfig,
    random: np.random.Generator,
) -> list[Paste]:
    """Choose a place and an angle for each text; upright boxes do not overlap.

    Args:
        size: (height, width) of the page, px.
        taken: ``[P, 2]`` all regions of the page, ignored ones too.
        donors: texts of another page.
        config: angle, tries.
        random: all chance comes from here.

    Returns:
        The texts for which a free place was found.
    """
    height, width = size
    boxes = np.array(
        [[*points.min(axis=0), *points.max(axis=0)] for points in taken], dtype=np.float64
    ).reshape(-1, 4)
    pastes: list[Paste] = []
    for donor in donors[: config.max_count]:
        turn = _turn(donor.shape[0], donor.shape[1], random.uniform(-1, 1) * config.max_angle)
        (corners,) = move_points([_corners(donor)], turn)
        room = np.array([width, height]) - corners.max(axis=0)
        places = random.random((config.tries, 2)) * room.clip(0)
        box = _first_free(places, corners.max(axis=0), boxes)
        if room.min() < 0 or box is None:
            continue
        boxes = np.concatenate([boxes, box[None]])
        shift = np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]])
        pastes.append(Paste(donor, shift @ turn, corners + box[:2].astype(np.float32)))
    return pastes


def paste(image: BGRImage, pastes: Sequence[Paste], page_to_image: Matrix) -> None:
    """Draw texts into a picture, in place; nothing but the texts themselves is touched.

    Args:
        image: ``[h, w, 3]`` uint8 BGR.
        pastes: where they go on the page.
        page_to_image: ``[3, 3]`` without perspective: the picture is this part of the page, and of
            this scale.
    """
    height, width = image.shape[:2]
    for one in pastes:
        matrix = page_to_image @ one.matrix
        source = one.image
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
        if scale < 1 / 2:  # many pixels of the text become one
            shape = (max(1, round(source.shape[1] * scale)), max(1, round(source.shape[0] * scale)))
            smaller = cv2.resize(source, shape, interpolation=cv2.INTER_AREA)
            back = np.diag([source.shape[1] / shape[0], source.shape[0] / shape[1], 1.0])
            source, matrix = np.asarray(smaller, dtype=np.uint8), matrix @ back
        (corners,) = move_points([_corners(source)], matrix)
        left, top = np.floor(corners.min(axis=0)).astype(int).clip(0).tolist()
        right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
        right, bottom = min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            continue
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]])
        cv2.warpAffine(
            source,
            pixel_middles(shift @ matrix)[:2],
            (right - left, bottom - top),
            dst=image[top:bottom, left:right],
            borderMode=cv2.BORDER_TRANSPARENT,
        )


def pixel_middles(matrix: Matrix) -> Matrix:
    """The same map for OpenCV, where (0, 0) is the middle of the first pixel."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    back = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    return np.asarray(back @ matrix @ half)


def _corners(image: BGRImage) -> Polygon:
    height, width = image.shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)


def _turn(height: int, width: int, degrees: float) -> Matrix:
    """Turn a cut-out and shift it so that its upright box starts at (0, 0)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ [[c, s], [-s, c]]
    left, top = corners.min(axis=0)
    return np.array([[c, -s, -left], [s, c, -top], [0, 0, 1]])


def _first_free(
    places: NDArray[np.float64], extent: NDArray[np.float32], boxes: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The first upright box ``[4]`` at one of the places that meets none of ``boxes``."""
    tries = np.concatenate([places, places + extent], axis=1)  # [T, 4]
    apart = (tries[:, None, 2:] <= boxes[None, :, :2]) | (tries[:, None, :2] >= boxes[None, :, 2:])
    free = np.flatnonzero(np.all(np.any(apart, axis=2), axis=1))
    first: NDArray[np.float64] | None = tries[free[0]] if len(free) else None
    return first
