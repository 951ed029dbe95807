"""Released models, ready to be served."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import ocr_pipeline
from ocr_pipeline.assets import cache_dir
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.weights.catalog import RELEASED_NAMES


def exported_folder(source: str, on_export: Callable[[str], None] | None = None) -> Path:
    """Folder of an exported model: ``source`` itself, or a released model, exported into the cache.

    Args:
        source: folder made by ``scripts/export.py``, or a released model's name.
        on_export: called with the name before a released model is exported for the first time.

    Raises:
        ArtifactError: neither; or the extra ``train`` is not installed.
        AssetError: a released file cannot be fetched.
        ExportError: the released model does not pass the parity gate on this machine.
    """
    if source not in RELEASED_NAMES:
        if not Path(source).is_dir():
            raise ArtifactError(
                f"{source!r}: neither a folder nor a released model ({', '.join(RELEASED_NAMES)}); "
                "make a folder with scripts/export.py"
            )
        return Path(source)
    if importlib.util.find_spec("onnx") is None:
        raise ArtifactError(
            f"{source}: a released model is exported here first, which needs the extra 'train'; "
            "install ocr_pipeline[train], or give a folder made by scripts/export.py"
        )
    folder = cache_dir() / "exported" / ocr_pipeline.__version__ / source
    if not folder.exists():
        if on_export is not None:
            on_export(source)
        # Not at the top: a service that is given folders needs neither networks nor onnx.
        from ocr_pipeline.export import export_static
        from ocr_pipeline.weights.source import load_trainable

        export_static(load_trainable(source), folder, ExportConfig())
    return folder
