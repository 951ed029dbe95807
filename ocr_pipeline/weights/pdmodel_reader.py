"""Read the layers of Paddle's older ``.pdmodel`` (protobuf) with the tensors beside it."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.pdiparams import read_pdiparams, signed_integers, wire_fields
from ocr_pipeline.weights.records import Operator, OperatorKind, Record, collect_records

_Slots = dict[str, list[str]]


@dataclass(frozen=True)
class _Form:
    """How one type of operator names its inputs, its output and the flag of a transposed kernel."""

    kind: OperatorKind
    inputs: tuple[str, ...]
    output: str = "Out"
    transposed: str = ""


_CONV = ("Input", "Filter", "Bias")
_FORMS = {
    "conv2d": _Form("conv", _CONV, "Output"),
    "depthwise_conv2d": _Form("conv", _CONV, "Output"),
    "conv2d_transpose": _Form("conv_transpose", _CONV, "Output"),
    "depthwise_conv2d_transpose": _Form("conv_transpose", _CONV, "Output"),
    "batch_norm": _Form("batch_norm", ("X", "Scale", "Bias", "Mean", "Variance"), "Y"),
    "sync_batch_norm": _Form("batch_norm", ("X", "Scale", "Bias", "Mean", "Variance"), "Y"),
    "layer_norm": _Form("layer_norm", ("X", "Scale", "Bias"), "Y"),
    "matmul_v2": _Form("matmul", ("X", "Y"), transposed="trans_y"),
    "matmul": _Form("matmul", ("X", "Y"), transposed="transpose_Y"),
    "mul": _Form("matmul", ("X", "Y")),
    "elementwise_mul": _Form("multiply", ("X", "Y")),
    "elementwise_add": _Form("add", ("X", "Y")),
    "clip": _Form("clip", ("X",)),
    "reshape": _Form("reshape", ("X",)),
    "reshape2": _Form("reshape", ("X",)),
    "dropout": _Form("pass", ("X",)),
    "cast": _Form("pass", ("X",)),
    "assign": _Form("pass", ("X",)),
}
_DENSE_TENSOR = 7


def read_pdmodel(path: Path) -> list[Record]:
    """Return the weight-carrying layers of a ``.pdmodel``, in graph order.

    Args:
        path: the file; the ``.pdiparams`` file of the same name stands beside it.

    Raises:
        WeightsError: not such a file, the tensor file is missing or does not belong to it, or a
            layer cannot be used for training.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        program = _parse_program(memoryview(content))
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{path}: not a program of Paddle 2, or half-downloaded ({error}; {len(content):,} "
            f"bytes that begin with {content[:8]!r})"
        ) from None
    tensors = read_pdiparams(path.with_suffix(".pdiparams"), program.shapes, shapes=program.shapes)
    return collect_records(program.operators, tensors.get, source=str(path), parameters=tensors)


@dataclass
class _Program:
    operators: list[Operator] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def _parse_program(message: memoryview) -> _Program:
    blocks = [_bytes(value) for number, value in wire_fields(message) if number == 1]
    if not blocks:
        raise ValueError("it has no block of operators")
    program = _Program()
    for number, value in wire_fields(blocks[0]):
        if number == 3:
            _add_variable(program, _bytes(value))
        elif number == 4:
            program.operators.append(_operator(_bytes(value)))
    if not program.operators:
        raise ValueError("its first block has no operators")
    return program


def _add_variable(program: _Program, message: memoryview) -> None:
    name, persistable, kind = "", False, memoryview(b"")
    for number, value in wire_fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            kind = _bytes(value)
        elif number == 3:
            persistable = bool(value)
    fields = dict(wire_fields(kind))
    if persistable and fields.get(1) == _DENSE_TENSOR:
        program.shapes[name] = _shape(name, fields.get(3))


def _shape(name: str, dense_tensor: int | memoryview | None) -> tuple[int, ...]:
    if dense_tensor is None:
        raise ValueError(f"parameter {name} has no shape")
    tensor = dict(wire_fields(_bytes(dense_tensor))).get(1, memoryview(b""))
    sizes: list[int] = []
    for number, value in wire_fields(_bytes(tensor)):
        if number == 2:
            sizes += signed_integers(value)
    return tuple(sizes)


def _operator(message: memoryview) -> Operator:
    inputs: _Slots = defaultdict(list)
    outputs: _Slots = defaultdict(list)
    attributes: dict[str, int] = {}
    type_ = ""
    for number, value in wire_fields(message):
        if number in (1, 2):
            slot, names = _slot(_bytes(value))
            (inputs if number == 1 else outputs)[slot] += names
        elif number == 3:
            type_ = _text(value)
        elif number == 4:
            name, setting = _attribute(_bytes(value))
            attributes[name] = setting
    form = _FORMS.get(type_)
    if form is None:
        every = [name for names in inputs.values() for name in names]
        made = [name for names in outputs.values() for name in names]
        return Operator("other", f"{type_} {_first(made)}", tuple(every), _first(made))
    output = _first(outputs[form.output])
    return Operator(
        kind=form.kind,
        node=f"{type_} {output}",
        inputs=tuple(_first(inputs[slot]) for slot in form.inputs),
        output=output,
        groups=attributes.get("groups", 1) or 1,
        transposed=bool(attributes.get(form.transposed, 0)),
    )


def _slot(message: memoryview) -> tuple[str, list[str]]:
    slot, names = "", []
    for number, value in wire_fields(message):
        if number == 1:
            slot = _text(value)
        elif number == 2:
            names.append(_text(value))
    return slot, names


def _attribute(message: memoryview) -> tuple[str, int]:
    """Name of an attribute, and its value where that is an int32 or a flag."""
    name, setting = "", 0
    for number, value in wire_fields(message):
        if number == 1:
            name = _text(value)
        elif number in (3, 10) and isinstance(value, int):
            setting = value
    return name, setting


def _first(names: list[str]) -> str:
    return names[0] if names else ""


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError(f"the number {value} where a message is expected")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")
