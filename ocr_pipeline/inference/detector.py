"""Find the text regions of a picture."""

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.tiling import TilingConfig
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.ops.blank import whole_window, written_window
from ocr_pipeline.ops.db_decode import DetectedText, decode_polygons
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import normalise_page, normalised_page, scale_page
from ocr_pipeline.ops.tiling import cut, tile_size, tiles

_MARGIN = 96
"""Blank paper that the network sees around what is written, px of its input."""


class Detector:
    """An engine with the rules of a DB detector around it.

    Args:
        engine: of the exported network.
        spec: input rules, and from the map to polygons.
        tiling: of huge pictures; the defaults where it is not given.
        skip_blank: do not look at the blank borders of a page.
    """

    def __init__(
        self,
        engine: Engine,
        spec: DetModelSpec,
        tiling: TilingConfig | None = None,
        *,
        skip_blank: bool = True,
    ) -> None:
        self.engine = engine
        self.spec = spec
        self.tiling = tiling or TilingConfig()
        self.skip_blank = skip_blank

    def detect(self, image: BGRImage) -> DetectedText:
        """Return the text polygons of ``[H, W, 3]`` uint8 BGR, in px of that picture."""
        if self.tiling.enabled and max(image.shape[:2]) > self.tiling.above:
            probs = self._map_of_tiles(image)
        else:
            probs = self._map_of_written_part(scale_page(image, self.spec.image))
        # Rounding may leave a sigmoid a hair above 1.
        np.clip(probs, 0.0, 1.0, out=probs)
        return decode_polygons(probs, source_size=image.shape[:2], spec=self.spec.decode)

    def _map_of_written_part(self, image: BGRImage) -> NDArray[np.float32]:
        """The probability map of a scaled page, ``[H, W]``; 0 where its borders are blank.

        The network's grid stays where it is on the whole page.
        """
        spec = self.spec.image
        window = whole_window(image)
        if self.skip_blank:
            window = written_window(image, margin=_MARGIN, multiple=spec.multiple)
        if window.size == image.shape[:2]:
            return np.asarray(self.engine.run(normalised_page(image, spec))[0, 0])
        probs = np.zeros(image.shape[:2], dtype=np.float32)
        if not window.is_empty:
            part = np.ascontiguousarray(image[window.place])
            probs[window.place] = self.engine.run(normalised_page(part, spec))[0, 0]
        return probs

    def _map_of_tiles(self, image: BGRImage) -> NDArray[np.float32]:
        """The probability map of a huge picture, ``[H, W]``, put together from those of its tiles.

        Regions are looked for on the whole map, so that none is cut by a border or found twice.
        """
        height, width = image.shape[:2]
        spec = self.spec.image
        size = tile_size(height, width, self.tiling, multiple=spec.multiple)
        probs = np.empty((height, width), dtype=np.float32)
        pixels = np.empty((1, 3, *size), dtype=np.float32)
        for tile in tiles(height, width, size, self.tiling.overlap):
            normalise_page(cut(image, tile, size), spec, out=pixels[0])
            probs[tile.place] = self.engine.run(pixels)[0, 0][tile.within]
        return probs
