"""Models that no wheel carries: ``paddleocr`` itself is asked to download them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from ocr_pipeline.errors import AssetError, WeightsError
from ocr_pipeline.weights.catalog import RELEASED_NAMES, official_caches
from ocr_pipeline.weights.fresh import FRESH_NAMES
from ocr_pipeline.weights.readers import find_model

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,80}")
_TIMEOUT_S = 900
_PROGRAM = """
import sys
from paddlex.inference.utils.official_models import official_models
print(official_models[sys.argv[1]])
"""


def fetch_official(name: str) -> Path:
    """Have ``paddleocr`` download one of its models, and return the model's folder.

    Its own settings count (``PADDLE_PDX_MODEL_SOURCE``, ``PADDLE_PDX_CACHE_HOME``).

    Args:
        name: official name, e.g. ``PP-OCRv6_medium_rec``.

    Raises:
        WeightsError: not a name at all.
        AssetError: the extra ``official`` is not installed, or the download failed.
    """
    if not _NAME.fullmatch(name):
        raise WeightsError(f"model name {name!r}; allowed: letters, digits, dot, dash, underscore")
    if name in FRESH_NAMES:
        raise WeightsError(f"{name}: is trained from scratch; there is nothing to fetch")
    for cache in official_caches():
        if _is_complete(cache / name):
            return cache / name
    if importlib.util.find_spec("paddlex") is None:
        raise AssetError(
            f"{name}: not one of {', '.join(RELEASED_NAMES)}; models that no wheel carries are "
            "downloaded by paddleocr: pip install --requirement requirements/official.txt, or give "
            "the folder of an inference model instead of a name"
        )
    try:
        result = subprocess.run(
            [sys.executable, "-c", _PROGRAM, name],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
    except subprocess.TimeoutExpired:
        raise AssetError(f"{name}: no answer from paddleocr within {_TIMEOUT_S} s") from None
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    found = [Path(line) for line in lines if Path(line).is_dir()]
    if result.returncode != 0 or not found:
        raise AssetError(
            f"{name}: paddleocr could not download it ({reason}); check the name and the network, "
            "or set PADDLE_PDX_MODEL_SOURCE to another source"
        )
    return found[-1]


def _is_complete(folder: Path) -> bool:
    """Whether a download that may have been broken off has left a model."""
    try:
        model = find_model(folder)
    except WeightsError:
        return False
    return model.suffix == ".onnx" or model.with_suffix(".pdiparams").is_file()
