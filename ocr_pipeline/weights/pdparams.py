"""Read ``.pdparams``, the training checkpoints of PaddleOCR, without running what they hold.

Such a file is a pickle: a program for a small stack machine, which in the hands of ``pickle`` may
call any function. The machine here knows only the steps that ``paddle.save`` writes, calls nothing,
and believes no size: an array takes shape when the file is read, from bytes that are really there.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.records import Array

_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"
_RECONSTRUCT = "numpy reconstruct"
_ALLOWED = {
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "collections.OrderedDict": "dict",
    "_codecs.encode": "encode",
    "__builtin__.tuple": "tuple",
    "builtins.tuple": "tuple",
    "__builtin__.bytes": "bytes",
    "builtins.bytes": "bytes",
}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_WORDS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MAX_DIMENSIONS = 16


def read_training_checkpoint(path: Path) -> dict[str, Array]:
    """Return the tensors of a PaddleOCR training checkpoint by their structured names.

    Args:
        path: written by ``paddle.save(network.state_dict(), ...)`` of Paddle 2 or 3.

    Returns:
        Float32 arrays in the order of the file; Paddle's table of parameter names is left out.

    Raises:
        WeightsError: not such a file, a truncated one, a pickle that wants to run something else
            than arrays need (named, not run), or tensors of another type than float32.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    if content[:1] != b"\x80":
        raise WeightsError(
            f"{path}: not a checkpoint written by paddle.save: it begins with {content[:8]!r}, "
            "expected a pickle (b'\\x80'). An inference model goes by its folder"
        )
    try:
        found = _Machine(path).run(content)
    except ValueError as error:
        raise WeightsError(
            f"{path}: a damaged or half-downloaded checkpoint ({error}; {len(content):,} bytes)"
        ) from None
    if not isinstance(found, dict):
        raise WeightsError(
            f"{path}: holds {_describe(found)}, expected a mapping of names to tensors as "
            "paddle.save(network.state_dict(), ...) writes it"
        )
    if _SLICES in found:
        raise WeightsError(
            f"{path}: holds a tensor cut into slices (more than 1 GB, protocol 2 or 3); save it "
            "again with protocol 4"
        )
    tensors: dict[str, Array] = {}
    size = 0
    for name, value in found.items():
        if name != _NAME_TABLE:
            tensors[name] = _tensor(path, name, value)
            size += tensors[name].nbytes
            # One array under many names would grow with each.
            if size > len(content):
                raise WeightsError(
                    f"{path}: its tensors are larger than its {len(content):,} bytes: the same "
                    "array stands there under several names; save the network's state_dict alone"
                )
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    return tensors


@dataclass(frozen=True)
class _Function:
    """Something the pickle may name; it is never called."""

    name: str
    role: str


@dataclass
class _ElementType:
    code: str
    order: str = "="


@dataclass
class _RawArray:
    """An array as the pickle describes it: nothing is checked or allocated yet."""

    shape: tuple[Any, ...] = ()
    dtype: Any = None
    fortran: bool = False
    values: Any = b""


class _Machine:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.steps: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "MARK": lambda _: self.marks.append(len(self.stack)),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "TUPLE": lambda _: self.stack.append(tuple(self._since_mark())),
            "APPEND": lambda _: self._extend([self._pop()]),
            "APPENDS": lambda _: self._extend(self._since_mark()),
            "SETITEM": lambda _: self._set_items([self._pop(), self._pop()][::-1]),
            "SETITEMS": lambda _: self._set_items(self._since_mark()),
            "MEMOIZE": lambda _: self._remember(len(self.memo)),
            "BINPUT": self._remember,
            "LONG_BINPUT": self._remember,
            "BINGET": self._recall,
            "LONG_BINGET": self._recall,
            "GLOBAL": lambda names: self._name(*names.partition(" ")[::2]),
            "STACK_GLOBAL": lambda _: self._name(*[self._pop(), self._pop()][::-1]),
            "REDUCE": lambda _: self._reduce(),
            "BUILD": lambda _: self._build(),
        }

    def run(self, content: bytes) -> object:
        for opcode, argument, _ in pickletools.genops(BytesIO(content)):
            name = opcode.name
            if name in _VALUES:
                self.stack.append(argument)
            elif name in _WORDS:
                self.stack.append(_WORDS[name])
            elif name in _TUPLES:
                items = [self._pop() for _ in range(_TUPLES[name])]
                self.stack.append(tuple(reversed(items)))
            elif name in self.steps:
                self.steps[name](argument)
            elif name != "STOP":
                raise self._refuse(f"the step {name}")
        return self._pop()

    def _pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("a step of the pickle finds nothing to work on")
        return self.stack.pop()

    def _since_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("a group of the pickle has no beginning")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _top(self) -> Any:
        item = self._pop()
        self.stack.append(item)
        return item

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._top(), list):
            raise ValueError(f"items added to {_describe(self._top())}")
        self._top().extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError(f"entries set in {_describe(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise ValueError(f"an entry is named by {_describe(key)}, not by a word")
            target[key] = value

    def _remember(self, index: int) -> None:
        self.memo[index] = self._top()

    def _recall(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"it recalls item {index}, which it never kept")
        self.stack.append(self.memo[index])

    def _name(self, module: object, attribute: object) -> None:
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise ValueError("a function is named by something else than words")
        name = f"{module}.{attribute}"
        if name not in _ALLOWED:
            raise self._refuse(name)
        self.stack.append(_Function(name, _ALLOWED[name]))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        role = function.role if isinstance(function, _Function) else ""
        match role, arguments:
            case "numpy reconstruct", tuple():
                result: object = _RawArray()
            case "dtype", (str(code), *_):
                result = _ElementType(code)
            case "dict", ():
                result = {}
            case "encode", (str(text), "latin1"):
                result = text.encode("latin1")
            case "tuple", (tuple(items),):
                result = items
            case "bytes", ():
                result = b""
            case _:
                raise self._refuse(
                    f"{function.name} with other values than paddle.save gives it"
                    if isinstance(function, _Function)
                    else _describe(function)
                )
        self.stack.append(result)

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        match target, state:
            case _ElementType(), (int(), str(order), *_):
                target.order = order
            case _RawArray(), (int(), tuple(shape), dtype, fortran, values):
                target.shape, target.dtype = shape, dtype
                target.fortran, target.values = bool(fortran), values
            case _:
                raise ValueError(f"a state that does not fit {_describe(target)}")

    def _refuse(self, what: str) -> WeightsError:
        return WeightsError(
            f"{self.path}: the pickle wants to run {what}, which no checkpoint needs; nothing was "
            "run. Do not open this file with paddle.load or pickle; get it from PaddleOCR again"
        )


def _tensor(path: Path, name: str, value: object) -> Array:
    # Paddle 2.1 and later may write a tensor as a pair of its name and its values.
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    if not isinstance(value, _RawArray):
        raise WeightsError(
            f"{path}: {name} is {_describe(value)}, expected a tensor; is this the state of an "
            "optimizer (.pdopt)? Give the .pdparams file of the network"
        )
    dtype = value.dtype if isinstance(value.dtype, _ElementType) else _ElementType("unknown")
    if (dtype.code, dtype.order) not in (("f4", "<"), ("f4", "=")):
        half = " (half precision)" if dtype.code in ("f2", "u2") else ""
        raise WeightsError(
            f"{path}: {name} is of element type {dtype.order + dtype.code!r:.20}{half}; float32 "
            "weights are needed to train"
        )
    shape = value.shape
    if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and 0 < n < 1 << 63 for n in shape):
        raise WeightsError(
            f"{path}: {name} has a shape of {len(shape)} sizes that are not all numbers of 1 or "
            f"more, at most {_MAX_DIMENSIONS}; the file is damaged"
        )
    needed = 4 * math.prod(shape)
    present = len(value.values) if isinstance(value.values, bytes) else 0
    if needed != present:
        raise WeightsError(
            f"{path}: {name} has shape {list(shape)}, which needs {needed:,} bytes; the file holds "
            f"{present:,}. It is damaged: get it again"
        )
    array = np.frombuffer(value.values, "<f4")
    return array.reshape(shape, order="F" if value.fortran else "C").copy(order="C")


def _describe(value: object) -> str:
    words = {_RawArray: "a tensor", _Function: "a function", _ElementType: "an element type"}
    return words.get(type(value), f"a {type(value).__name__}")
