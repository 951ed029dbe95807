"""Find the text regions of a picture."""

import numpy as np

from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.ops.db_decode import DetectedText, decode_polygons
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import det_input


class Detector:
    """An engine with the rules of a DB detector around it."""

    def __init__(self, engine: Engine, spec: DetModelSpec) -> None:
        self.engine = engine
        self.spec = spec

    def detect(self, image: BGRImage) -> DetectedText:
        """Return the text polygons of ``[H, W, 3]`` uint8 BGR, in px of that picture."""
        probs = self.engine.run(det_input(image, self.spec.image))[0, 0]
        # Rounding may leave a sigmoid a hair above 1.
        probs = np.clip(probs, 0.0, 1.0)
        return decode_polygons(probs, source_size=image.shape[:2], spec=self.spec.decode)
