"""Read the layers of Paddle's ``inference.json`` with the tensors of the file beside it."""

import json
from pathlib import Path
from typing import Any

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.pdiparams import read_pdiparams
from ocr_pipeline.weights.records import Operator, OperatorKind, Record, collect_records

DEFAULT_NAME = "inference.json"
_PARAMETER = "p"
_KINDS: dict[str, OperatorKind] = {
    "conv2d": "conv",
    "depthwise_conv2d": "conv",
    "conv2d_transpose": "conv_transpose",
    "depthwise_conv2d_transpose": "conv_transpose",
    "batch_norm": "batch_norm",
    "batch_norm_": "batch_norm",
    "sync_batch_norm_": "batch_norm",
    "layer_norm": "layer_norm",
    "matmul": "matmul",
    "multiply": "multiply",
    "add": "add",
    "clip": "clip",
    "reshape": "reshape",
    "dropout": "pass",
    "cast": "pass",
    "assign": "pass",
}
_TRANSPOSED = "transpose_y"


def read_pir(path: Path) -> list[Record]:
    """Return the weight-carrying layers of a PIR model, in graph order.

    Args:
        path: the ``.json`` file, or a folder that holds ``inference.json``; the ``.pdiparams`` file
            of the same name stands beside it.

    Raises:
        WeightsError: the program has a structure that is not known, the tensor file is missing or
            does not belong to it, or a layer cannot be used for training.
    """
    file = path / DEFAULT_NAME if path.is_dir() else path
    operators, shapes = _read_program(file)
    tensors = read_pdiparams(file.with_suffix(".pdiparams"), shapes, shapes=shapes)
    return collect_records(operators, tensors.get, source=str(file), parameters=tensors)


def _read_program(path: Path) -> tuple[list[Operator], dict[str, tuple[int, ...]]]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not JSON, or half-downloaded ({error})") from None
    try:
        return _parse(document)
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise WeightsError(
            f"{path}: not a program of Paddle 3 as this version knows it "
            f"({type(error).__name__}: {error}); expected base_code.magic 'pir' and "
            "program.regions[0].blocks[0].ops. Export the model again, or give its ONNX file"
        ) from None


def _parse(document: Any) -> tuple[list[Operator], dict[str, tuple[int, ...]]]:
    magic = document["base_code"]["magic"]
    if magic != "pir":
        raise ValueError(f"base_code.magic is {magic!r}")
    values: dict[int, str] = {0: ""}
    shapes: dict[str, tuple[int, ...]] = {}
    operators = []
    for entry in document["program"]["regions"][0]["blocks"][0]["ops"]:
        if entry["#"] == _PARAMETER:
            name = entry["A"][3]
            if not isinstance(name, str) or not name or name in shapes:
                raise ValueError(f"parameter {name!r} is no name, or stands there twice")
            values[entry["O"]["%"]] = name
            shapes[name] = tuple(int(size) for size in entry["O"]["TT"]["D"][1])
        else:
            operators.append(_operator(entry, values))
    return operators, shapes


def _operator(entry: Any, values: dict[int, str]) -> Operator:
    name = entry["#"].partition(".")[2]
    attributes = {item["N"]: item["AT"].get("D") for item in entry.get("A", [])}
    inputs = [values.get(item["%"], f"%{item['%']}") for item in entry.get("I", [])]
    outputs = [f"%{item['%']}" for item in entry.get("O", [])]
    output = outputs[0] if outputs else ""
    kind = _KINDS.get(name, "other")
    if kind in ("conv", "conv_transpose"):
        # A transposed convolution's third input is its output size; no PIR one has a bias.
        inputs = inputs[:2]
    elif kind == "batch_norm":
        x, mean, variance, scale, bias = inputs[:5]
        inputs = [x, scale, bias, mean, variance]
    place = attributes.get("struct_name") or ""
    return Operator(
        kind=kind,
        node=f"{name} {output} {place}".strip(),
        inputs=tuple(inputs),
        output=output,
        groups=int(attributes.get("groups") or 1),
        transposed=kind == "matmul" and bool(attributes.get(_TRANSPOSED)),
    )
