"""Read ``.pdiparams``, the tensor file of Paddle's inference models, without Paddle.

Records stand one after another in the order of the parameters' names, which the file itself does
not hold: u32 version, u64 number of offset lists and the lists, u32 version, i32 length of the
header, the header (protobuf: element type, dimensions), the values.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.errors import WeightsError

_TYPES = {2: "<i4", 3: "<i8", 5: "<f4"}
_REFUSED = {
    0: "bool",
    1: "int16",
    4: "float16",
    6: "float64",
    20: "uint8",
    21: "int8",
    22: "bfloat16",
    32: "float8",
    33: "float8",
}
_MAX_DIMENSIONS = 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_pdiparams(
    path: Path,
    names: Iterable[str],
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return every tensor of the file by name.

    Args:
        path: the file.
        names: of all parameters of the model that the file belongs to, in any order.
        shapes: what the model says of its parameters; None skips the comparison.

    Returns:
        Arrays of float32, int32 or int64, in the order of the file.

    Raises:
        WeightsError: not such a file, a truncated one, tensors of a type that cannot be trained, or
            tensors that differ from the model's parameters in number or shape.
    """
    wanted = sorted(names)
    repeated = next((name for name, other in pairwise(wanted) if name == other), None)
    if repeated is not None:
        raise WeightsError(f"{path}: the model names {repeated} twice; it is damaged")
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"{path}: the model's tensors cannot be read ({error.strerror}); the file has to stand "
            "beside the model"
        ) from None
    reader = _TensorReader(path, content)
    tensors: dict[str, NDArray[Any]] = {}
    for name in wanted:
        if not reader.left:
            raise WeightsError(
                f"{path}: ends after {len(tensors)} of the model's {len(wanted)} tensors; it is "
                "half-downloaded or belongs to another model"
            )
        tensors[name] = reader.tensor(name)
        if shapes is not None and tensors[name].shape != shapes[name]:
            raise WeightsError(
                f"{path}: {name} has shape {list(tensors[name].shape)} here and "
                f"{list(shapes[name])} in the model; the two files do not belong together"
            )
    if reader.left:
        raise WeightsError(
            f"{path}: {reader.left:,} bytes after the model's {len(wanted)} tensors; it belongs to "
            "another model"
        )
    return tensors


class _TensorReader:
    def __init__(self, path: Path, content: memoryview) -> None:
        self.path = path
        self.content = content
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.content) - self.position

    def tensor(self, name: str) -> NDArray[Any]:
        start = self.position
        version = self._integer(4, f"the version of {name}")
        if version != 0:
            raise WeightsError(
                f"{self.path}: not a tensor file of Paddle: bytes {start:,} to {start + 4:,} are "
                f"{bytes(self.content[start : start + 4])!r} where {name} should begin with 0"
            )
        for _ in range(self._integer(8, f"the number of offset lists of {name}")):
            self._take(self._integer(8, f"an offset list of {name}"), f"an offset list of {name}")
        if self._integer(4, f"the inner version of {name}") != 0:
            raise WeightsError(f"{self.path}: {name} is written in a version that is not 0")
        length = self._integer(4, f"the length of the header of {name}")
        dtype, shape = self._header(name, self._take(length, f"the header of {name}"))
        count = math.prod(shape)
        values = self._take(count * dtype.itemsize, f"the {count:,} values {shape} of {name}")
        return np.frombuffer(values, dtype).reshape(shape).copy()

    def _header(self, name: str, message: memoryview) -> tuple[np.dtype[Any], list[int]]:
        code, shape = -1, []
        try:
            for number, value in wire_fields(message):
                if number == 1 and isinstance(value, int):
                    code = value
                elif number == 2:
                    shape += signed_integers(value)
        except ValueError as error:
            raise WeightsError(f"{self.path}: the header of {name} is damaged ({error})") from None
        if code not in _TYPES:
            raise WeightsError(
                f"{self.path}: {name} is {_REFUSED.get(code, f'of element type {code}')}; float32 "
                "weights are needed to train"
            )
        if len(shape) > _MAX_DIMENSIONS or min(shape, default=1) < 1:
            raise WeightsError(
                f"{self.path}: {name} has shape {shape[: _MAX_DIMENSIONS + 1]}; allowed: at most "
                f"{_MAX_DIMENSIONS} sizes of 1 or more. The file is damaged"
            )
        return np.dtype(_TYPES[code]), shape

    def _integer(self, size: int, what: str) -> int:
        return int.from_bytes(self._take(size, what), "little")

    def _take(self, size: int, what: str) -> memoryview:
        if size > self.left:
            raise WeightsError(
                f"{self.path}: {what} would take {size:,} bytes from byte {self.position:,} on, "
                f"{self.left:,} are left; the file is truncated or no tensor file of Paddle"
            )
        start, self.position = self.position, self.position + size
        return self.content[start : self.position]


def wire_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk over the fields of one protobuf message.

    Yields:
        Field number and value: an int in 0..2^64-1 for a number, else the field's bytes.

    Raises:
        ValueError: the message ends inside a field, or holds a field of unknown form.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, form = key >> 3, key & 7
        if form == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if form == _BYTES:
            size, position = _varint(message, position)
        elif form in (_FIXED32, _FIXED64):
            size = 4 if form == _FIXED32 else 8
        else:
            raise ValueError(f"field {number} at byte {position} has the unknown form {form}")
        if size > len(message) - position:
            raise ValueError(
                f"field {number} at byte {position} needs {size:,} bytes, "
                f"{len(message) - position:,} are left"
            )
        yield number, message[position : position + size]
        position += size


def signed_integers(value: int | memoryview) -> list[int]:
    """Return the int64 numbers of one repeated field: a single one, or a packed run.

    Raises:
        ValueError: the run ends inside a number.
    """
    if isinstance(value, int):
        return [_signed(value)]
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(_signed(number))
    return numbers


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & ((1 << 64) - 1), position + index + 1
    raise ValueError(f"the number at byte {position} does not end")
