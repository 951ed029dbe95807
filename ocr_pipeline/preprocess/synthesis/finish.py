"""From a drawn sheet to what a camera or a scanner made of it, and to cut lines."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.render import DegradeConfig
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.preprocess.synthesis import degrade
from ocr_pipeline.preprocess.synthesis.sheet import Mark, Sheet


def finish(
    sheet: Sheet, config: DegradeConfig, random: np.random.Generator, *, on_paper: bool
) -> tuple[BGRImage, list[Mark]]:
    """Put the effects on a sheet, in the order in which they happen to a picture.

    Args:
        sheet: all text drawn.
        config: share of each effect, and how strong they become.
        random: chance.
        on_paper: whether it can be folded.

    Returns:
        ``[H, W, 3]`` uint8 BGR, and the marks where they stand now.
    """
    picture, marks = sheet.finished(), list(sheet.marks)

    def happens(share: float) -> bool:
        return bool(random.random() < share)

    def strength() -> float:
        return float(random.uniform(0, config.strength))

    if on_paper and happens(config.fold):
        picture = degrade.fold(picture, strength(), random)
    if happens(config.light):
        picture = degrade.uneven_light(picture, strength(), random)
    if happens(config.perspective):
        picture, matrix = degrade.perspective(picture, strength(), random)
        marks = [replace(mark, points=_moved(mark.points, matrix)) for mark in marks]
    if happens(config.low_resolution):
        picture = degrade.low_resolution(picture, strength(), random)
    if happens(config.blur):
        picture = degrade.blur(picture, strength(), random)
    if happens(config.noise):
        picture = degrade.noise(picture, strength(), random)
    if happens(config.jpeg):
        picture = degrade.jpeg(picture, strength(), random)
    return picture, marks


def cut_line(picture: BGRImage, mark: Mark, random: np.random.Generator) -> BGRImage:
    """Cut a text out as the reader does, a little looser or tighter, as boxes of a detector are.

    Returns:
        ``[h, w, 3]`` uint8 BGR; a vertical line turned by 90 degrees counter-clockwise.
    """
    points = mark.points.astype(np.float64)
    right, down = points[1] - points[0], points[3] - points[0]
    width, height = float(np.hypot(*right)), float(np.hypot(*down))
    along, across = right / max(width, 1e-6), down / max(height, 1e-6)
    side = min(width, height)
    off = random.uniform(-0.02, 0.12, 4) * side  # left, top, right, bottom
    moved = np.stack([
        points[0] - along * off[0] - across * off[1],
        points[1] + along * off[2] - across * off[1],
        points[2] + along * off[2] + across * off[3],
        points[3] - along * off[0] + across * off[3],
    ])  # fmt: skip
    limit = np.array([picture.shape[1] - 1, picture.shape[0] - 1])
    return crop_line(picture, np.clip(moved, 0, limit).astype(np.float32))


def plain_points(mark: Mark) -> list[list[float]]:
    """Points of a mark as a label list has them, to a tenth of a px."""
    return [[round(float(x), 1), round(float(y), 1)] for x, y in mark.points]


def readable_marks(marks: Sequence[Mark]) -> list[Mark]:
    """The marks that can be cut out and read: text of four corners, no stamp over other text."""
    texts = [mark for mark in marks if not mark.ignored and len(mark.points) == 4]
    return [
        mark
        for mark in texts
        if not mark.over or not any(_overlap(mark, other) for other in texts if other is not mark)
    ]


def _overlap(one: Mark, other: Mark) -> bool:
    low = np.maximum(one.points.min(axis=0), other.points.min(axis=0))
    high = np.minimum(one.points.max(axis=0), other.points.max(axis=0))
    return bool((low < high).all())


def _moved(points: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(cv2.perspectiveTransform(points[None], matrix)[0], np.float32)
