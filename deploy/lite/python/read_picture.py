"""Picture to text with Paddle Lite in this process.

``read_picture.py DETECTOR RECOGNIZER PICTURE``

For a board whose Python has ``paddlelite`` (built with LITE_BUILD_PYTHON, v2.13-rc) and numpy 1,
OpenCV, pydantic, PyYAML and Pillow; no Paddle. DETECTOR and RECOGNIZER are folders made by
``scripts/export.py`` with lite; the project's own folder is on PYTHONPATH.
"""

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddlelite import lite

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference.load import detector_of, recognizer_of
from ocr_pipeline.inference.reader import OcrReader

RUNTIME = "v2.13-rc"
ON_ARM = platform.machine().startswith(("aarch64", "arm"))


class InProcess:
    """One network; pictures of a batch are run one by one."""

    lanes = 1

    def __init__(self, folder: Path) -> None:
        self._config = lite.MobileConfig()
        self._config.set_model_from_file(str(folder / ("arm.nb" if ON_ARM else "x86.nb")))
        self._predictor: Any = lite.create_paddle_predictor(self._config)
        self._shape: tuple[int, ...] | None = None
        if self._predictor.get_version() != RUNTIME:
            sys.exit(f"paddlelite is {self._predictor.get_version()}; the models need {RUNTIME}")

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``ocr_pipeline.inference.engine.Engine``."""
        return np.concatenate([self._one(image[None]) for image in images])

    def _one(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        # On x86 a second size of picture would write outside the predictor's memory.
        if not ON_ARM and self._shape not in (None, image.shape):
            self._predictor = lite.create_paddle_predictor(self._config)
        self._shape = image.shape
        self._predictor.get_input(0).from_numpy(np.ascontiguousarray(image))
        self._predictor.run()
        return np.array(self._predictor.get_output(0).numpy(), dtype=np.float32)


def main() -> None:
    """Print what the picture says."""
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    if np.__version__.split(".")[0] != "1":
        sys.exit(f"numpy is {np.__version__}; with numpy 2 paddlelite computes garbage")
    det, rec = ExportedModel.load(Path(sys.argv[1])), ExportedModel.load(Path(sys.argv[2]))
    config = EngineConfig()
    reader = OcrReader(
        detector_of(det, InProcess(det.folder / "lite"), config),
        recognizer_of(rec, InProcess(rec.folder / "lite"), config),
    )
    sys.stdout.write(reader.read(Path(sys.argv[3])).text + "\n")


if __name__ == "__main__":
    main()
