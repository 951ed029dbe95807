"""Models that nobody has exported by hand, ready to be served."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import ocr_pipeline
from ocr_pipeline.artifacts.checkpoint import CARD_NAME as CHECKPOINT_CARD
from ocr_pipeline.artifacts.checkpoint import step_folders
from ocr_pipeline.artifacts.exported import CARD_NAME
from ocr_pipeline.assets import cache_dir, sha256_of
from ocr_pipeline.config.export import ExportConfig, Target
from ocr_pipeline.config.variant import Precision
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.inference.openvino_engine import computes_bf16
from ocr_pipeline.weights.catalog import RELEASED_NAMES, official_caches, released_name

_MAKERS = ("artifacts", "config", "export", "inference", "models", "ops", "weights")
"""Sub-packages whose code decides what an export holds."""


def exported_folder(source: str, on_export: Callable[[str], None] | None = None) -> Path:
    """Folder of an exported model: ``source`` itself, or one that is exported into the cache first.

    Args:
        source: folder made by ``scripts/export.py``; a released model's name; the file or folder of
            an inference model.
        on_export: called with ``source`` before it is exported for the first time.

    Raises:
        ArtifactError: none of these; or the extra ``train`` is not installed.
        WeightsError: an inference model that is not known, or not complete.
        AssetError: a released file cannot be fetched.
        ExportError: the model does not pass the parity gate on this machine.
    """
    path = Path(source)
    if (path / CARD_NAME).is_file():
        return path
    name = released_name(source)
    if name is None and not path.exists():
        path = _downloaded(source)
    if (path / CHECKPOINT_CARD).exists() or (path.is_dir() and step_folders(path)):
        raise ArtifactError(
            f"{source}: a checkpoint; export it first: python scripts/export.py {source} <folder>"
        )
    if importlib.util.find_spec("onnx") is None:
        raise ArtifactError(
            f"{source}: has to be exported here first, which needs the extra 'train'; install "
            "ocr_pipeline[train], or give a folder made by scripts/export.py"
        )
    key = name or f"{path.resolve().name}-{_digest(path)[:16]}"
    forms = forms_here()
    kind = "-".join([ocr_pipeline.__version__, _code()[:8], *forms.to, *forms.precision])
    folder = cache_dir() / "exported" / kind / key
    if not folder.exists():
        # Not at the top: a service that is given folders needs neither networks nor onnx.
        from ocr_pipeline.export import export_model
        from ocr_pipeline.weights.source import load_trainable

        model = load_trainable(str(path) if name is None else name)
        if on_export is not None:
            on_export(source)
        try:
            export_model(model, folder, forms, name=name or path.resolve().name)
        except ArtifactError:
            # Another process may have been quicker; a folder appears whole or not at all.
            if not (folder / CARD_NAME).is_file():
                raise
    return folder


def _code() -> str:
    """Digest of the code that decides what an export holds: after a change it is made anew."""
    package = Path(ocr_pipeline.__file__).parent
    digest = hashlib.sha256()
    for part in _MAKERS:
        for file in sorted((package / part).rglob("*.py")):
            digest.update(f"{file.relative_to(package)} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def forms_here() -> ExportConfig:
    """Every form that can be made, checked and run with what is installed on this machine."""
    if importlib.util.find_spec("paddle2onnx") is None:
        return ExportConfig()
    to: list[Target] = ["static"]
    precision: list[Precision] = ["fp32"]
    if importlib.util.find_spec("onnxruntime") is not None:
        to.append("onnx")
    if importlib.util.find_spec("openvino") is not None:
        to.append("openvino")
        precision += ["bf16"] if computes_bf16() else []
    return ExportConfig(to=tuple(to), precision=tuple(precision))


def _downloaded(name: str) -> Path:
    """Folder of a model that ``paddleocr`` has downloaded."""
    for cache in official_caches():
        if (cache / name).is_dir() and Path(name).name == name:
            return cache / name
    raise ArtifactError(
        f"{name!r}: neither a folder nor a released model ({', '.join(RELEASED_NAMES)}); "
        "make a folder with scripts/export.py"
    )


def _digest(path: Path) -> str:
    """Of the files that an inference model is made of: its dictionary and rules count as well."""
    from ocr_pipeline.weights.readers import find_model

    model = path if path.suffix.lower() == ".pdparams" else find_model(path)
    files = [model, model.with_suffix(".pdiparams"), model.parent / "inference.yml"]
    digest = hashlib.sha256()
    for file in [*files, *sorted(model.parent.glob("*.txt"))]:
        if file.is_file():
            digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()
