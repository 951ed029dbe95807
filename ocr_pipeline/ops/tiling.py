"""Huge pictures in tiles of one size, and the maps of the tiles in one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import cv2
import numpy as np

from ocr_pipeline.config.tiling import TilingConfig
from ocr_pipeline.ops.decode import BGRImage


@dataclass(frozen=True)
class Stretch:
    """A tile along one axis, px.

    Attributes:
        start: of the tile in the picture.
        own_start, own_end: part of the picture that is taken from this tile and from no other.
    """

    start: int
    own_start: int
    own_end: int


@dataclass(frozen=True)
class Tile:
    """Part of a picture; ``rows`` and ``columns`` say which."""

    rows: Stretch
    columns: Stretch

    @property
    def place(self) -> tuple[slice, slice]:
        """What the tile owns, in the picture."""
        return (
            slice(self.rows.own_start, self.rows.own_end),
            slice(self.columns.own_start, self.columns.own_end),
        )

    @property
    def within(self) -> tuple[slice, slice]:
        """The same, in the tile."""
        top, left = self.rows.start, self.columns.start
        return (
            slice(self.rows.own_start - top, self.rows.own_end - top),
            slice(self.columns.own_start - left, self.columns.own_end - left),
        )


def tile_size(height: int, width: int, config: TilingConfig, *, multiple: int) -> tuple[int, int]:
    """(height, width) in px of all tiles of a picture: as few as do, and no larger than needed."""
    rows, columns = (_tile_side(side, config, multiple) for side in (height, width))
    return rows, columns


def _tile_side(side: int, config: TilingConfig, multiple: int) -> int:
    count = _count(side, config.tile, config.overlap)
    return ceil((side + (count - 1) * config.overlap) / count / multiple) * multiple


def _count(side: int, tile: int, overlap: int) -> int:
    return 1 if side <= tile else ceil((side - overlap) / (tile - overlap))


def stretches(side: int, tile: int, overlap: int) -> list[Stretch]:
    """Cover a side with tiles that lie evenly; each border is in the middle of what two share.

    Args:
        side: of the picture, px.
        tile: px; where it is longer than ``side``, one tile reaches beyond it.
        overlap: that neighbours share at least, px; less than ``tile``.
    """
    count = _count(side, tile, overlap)
    last = max(0, side - tile)
    starts = [round(number * last / max(1, count - 1)) for number in range(count)]
    borders = [0, *((after + before + tile) // 2 for before, after in pairwise(starts)), side]
    return [
        Stretch(start, own_start, own_end)
        for start, (own_start, own_end) in zip(starts, pairwise(borders), strict=True)
    ]


def tiles(height: int, width: int, size: tuple[int, int], overlap: int) -> Iterator[Tile]:
    """Tiles of a picture, row by row; what they own covers each pixel once."""
    columns = stretches(width, size[1], overlap)
    for row in stretches(height, size[0], overlap):
        for column in columns:
            yield Tile(row, column)


def cut(image: BGRImage, tile: Tile, size: tuple[int, int]) -> BGRImage:
    """Cut out a tile of ``size``; where it reaches beyond the picture, the last pixels repeat."""
    top, left = tile.rows.start, tile.columns.start
    part = image[top : top + size[0], left : left + size[1]]
    missing = (size[0] - part.shape[0], size[1] - part.shape[1])
    if missing == (0, 0):
        return part
    return np.asarray(
        cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE), np.uint8
    )
