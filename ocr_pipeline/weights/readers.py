"""One door to every file format of a released model."""

from collections.abc import Callable
from pathlib import Path

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.onnx_reader import read_onnx
from ocr_pipeline.weights.pdmodel_reader import read_pdmodel
from ocr_pipeline.weights.pir_reader import DEFAULT_NAME, read_pir
from ocr_pipeline.weights.records import Record

_READERS: dict[str, Callable[[Path], list[Record]]] = {
    ".json": read_pir,
    ".pdmodel": read_pdmodel,
    ".onnx": read_onnx,
}
_TENSORS, _CHECKPOINT = ".pdiparams", ".pdparams"
_LOOKED_FOR = f"{DEFAULT_NAME}, one .pdmodel or one .onnx file"
_HEAD_BYTES = 64


def read_records(path: Path) -> list[Record]:
    """Return the weight-carrying layers of a released model, in graph order.

    Args:
        path: an ``.onnx``, ``.json`` (PIR), ``.pdmodel`` or ``.pdiparams`` file, or a folder that
            holds one model (``inference.json`` first, then ``.pdmodel``, then ``.onnx``).

    Raises:
        WeightsError: nothing there, more than one model, another kind of file (said which), or a
            model that cannot be read.
    """
    model = find_model(path)
    _refuse_foreign(model)
    tensors = model.with_suffix(_TENSORS)
    if model.suffix.lower() != ".onnx" and tensors.is_file():
        _refuse_foreign(tensors)
    return _READERS[model.suffix.lower()](model)


def find_model(path: Path) -> Path:
    """Return the file that holds the graph of the model at ``path``.

    Raises:
        WeightsError: see :func:`read_records`.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: does not exist; give a folder or file of a released model")
    suffix = path.suffix.lower()
    if suffix == _CHECKPOINT:
        raise WeightsError(
            f"{path}: a training checkpoint of PaddleOCR, not an inference model: its tensors have "
            "names but no order; name this file itself as the start of a training or an export, or "
            "give the exported inference model"
        )
    if suffix == _TENSORS:
        beside = [path.with_suffix(other) for other in (".json", ".pdmodel")]
        model = next((file for file in beside if file.is_file()), None)
        if model is None:
            raise WeightsError(
                f"{path}: holds tensors but no graph; {beside[0].name} or {beside[1].name} has to "
                "stand beside it"
            )
        return model
    if suffix not in _READERS:
        _refuse_foreign(path)
        raise WeightsError(
            f"{path}: a file of the kind {suffix or 'without ending'!r}; allowed: "
            f"{', '.join([*_READERS, _TENSORS])}, or a folder"
        )
    return path


def describe_content(head: bytes) -> str | None:
    """Say what a file is that is no model, by its first bytes (64 are enough); None: no idea."""
    for start, description in (
        (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run 'git lfs pull'"),
        (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint, or a packed model: unpack it)"),
        (b"\x1f\x8b", "a gzip archive; unpack it"),
        (b"\x89HDF", "an HDF5 file"),
    ):
        if head.startswith(start):
            return description
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1:
        return "a Python pickle (a training checkpoint .pdparams under another name?)"
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html", b"<?xml"):
        return "a web page: the download gave an answer in HTML; download it again"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file, which holds no graph"
    return None


def _refuse_foreign(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise WeightsError(f"{path}: is empty (0 bytes); get it again")
    description = describe_content(head)
    if description is not None:
        raise WeightsError(
            f"{path}: not the {path.suffix or 'model'} file of a released model but {description} "
            f"(first bytes {head[:8]!r})"
        )


def _in_folder(folder: Path) -> Path:
    if (folder / DEFAULT_NAME).is_file():
        return folder / DEFAULT_NAME
    files = sorted(file for file in folder.iterdir() if file.is_file())
    for suffix in (".pdmodel", ".onnx"):
        models = [file for file in files if file.suffix.lower() == suffix]
        if len(models) == 1:
            return models[0]
        if models:
            raise WeightsError(
                f"{folder}: holds {len(models)} {suffix} files "
                f"({', '.join(file.name for file in models[:5])}); name the one you mean"
            )
    names = ", ".join(file.name for file in files[:5]) or "no files"
    if any(file.suffix.lower() == _CHECKPOINT for file in files):
        names += f"; name the {_CHECKPOINT} file itself"
    raise WeightsError(f"{folder}: no model in it; looked for {_LOOKED_FOR}, found {names}")
