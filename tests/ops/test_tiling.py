"""Tiles of a picture: each pixel once, each border in the middle of what two tiles share."""

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

from ocr_pipeline.config.tiling import TilingConfig
from ocr_pipeline.ops.tiling import cut, stretches, tile_size, tiles

CONFIG = TilingConfig(tile=512, overlap=128)


@pytest.mark.parametrize("size", [(100, 90), (513, 512), (2000, 1311), (512, 5000), (1, 4001)])
def test_tiles_own_each_pixel_once_and_hold_what_they_own(size: tuple[int, int]) -> None:
    height, width = size
    side = tile_size(height, width, CONFIG, multiple=32)
    assert side[0] % 32 == side[1] % 32 == 0
    assert max(side) <= CONFIG.tile
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    seen = np.zeros((height, width), dtype=int)
    joined = np.zeros_like(picture)
    for tile in tiles(height, width, side, CONFIG.overlap):
        part = cut(picture, tile, side)
        assert part.shape == (*side, 3)
        seen[tile.place] += 1
        joined[tile.place] = part[tile.within]
    assert (seen == 1).all()
    np.testing.assert_array_equal(joined, picture)


@pytest.mark.parametrize("side", [513, 700, 896, 897, 1280, 4999])
def test_neighbours_share_enough_on_both_sides_of_their_border(side: int) -> None:
    tile = tile_size(side, side, CONFIG, multiple=32)[0]
    cover = stretches(side, tile, CONFIG.overlap)
    for before, after in pairwise(cover):
        assert before.own_end == after.own_start
        assert before.start + tile - before.own_end >= CONFIG.overlap // 2
        assert after.own_start - after.start >= CONFIG.overlap // 2
    assert cover[0].start == 0
    assert cover[-1].start + tile >= side


def test_tiles_are_no_larger_than_their_number_asks_for() -> None:
    # Two of 512 would do for 600 px; two of 384 do as well.
    assert tile_size(600, 512, CONFIG, multiple=32) == (384, 512)
    assert tile_size(600, 40, CONFIG, multiple=32) == (384, 64)


def test_what_reaches_beyond_the_picture_repeats_its_last_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    [tile] = tiles(40, 50, (64, 64), 16)
    part = cut(picture, tile, (64, 64))
    np.testing.assert_array_equal(part[:40, :50], picture)
    assert (part[40:, :50] == picture[-1]).all()
    assert (part[:40, 50:] == picture[:, -1:]).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"tile": 500}, "multiple of 32"), ({"tile": 512, "overlap": 257}, "up to 256")],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, int], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TilingConfig.model_validate(values)
