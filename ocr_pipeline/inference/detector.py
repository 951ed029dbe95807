"""Find the text regions of a picture."""

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.tiling import TilingConfig
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.ops.db_decode import DetectedText, decode_polygons
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import det_input, normalise_page
from ocr_pipeline.ops.tiling import cut, tile_size, tiles


class Detector:
    """An engine with the rules of a DB detector around it.

    Args:
        engine: of the exported network.
        spec: input rules, and from the map to polygons.
        tiling: of huge pictures; the defaults where it is not given.
    """

    def __init__(
        self, engine: Engine, spec: DetModelSpec, tiling: TilingConfig | None = None
    ) -> None:
        self.engine = engine
        self.spec = spec
        self.tiling = tiling or TilingConfig()

    def detect(self, image: BGRImage) -> DetectedText:
        """Return the text polygons of ``[H, W, 3]`` uint8 BGR, in px of that picture."""
        if self.tiling.enabled and max(image.shape[:2]) > self.tiling.above:
            probs = self._map_of_tiles(image)
        else:
            probs = self.engine.run(det_input(image, self.spec.image))[0, 0]
        # Rounding may leave a sigmoid a hair above 1.
        np.clip(probs, 0.0, 1.0, out=probs)
        return decode_polygons(probs, source_size=image.shape[:2], spec=self.spec.decode)

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
