"""Writes what Paddle writes: tensor files and messages in protobuf's wire format, byte by byte."""

import struct
from collections.abc import Sequence

import numpy as np

FLOAT32, FLOAT16, INT64, BFLOAT16 = 5, 4, 3, 22


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def tensor_header(shape: Sequence[int], element_type: int, *, packed: bool = False) -> bytes:
    if packed:
        return number(1, element_type) + block(2, b"".join(map(varint, shape)))
    return number(1, element_type) + b"".join(number(2, size) for size in shape)


def tensor(
    values: np.ndarray,
    *,
    shape: Sequence[int] | None = None,
    element_type: int = FLOAT32,
    offsets: Sequence[bytes] = (),
    packed: bool = False,
) -> bytes:
    """One record of a ``.pdiparams`` file; ``shape`` lies where it is given."""
    header = tensor_header(values.shape if shape is None else shape, element_type, packed=packed)
    lists = b"".join(struct.pack("<Q", len(entry)) + entry for entry in offsets)
    start = struct.pack("<IQ", 0, len(offsets)) + lists + struct.pack("<Ii", 0, len(header))
    return start + header + values.tobytes()


def tensor_file(tensors: dict[str, np.ndarray]) -> bytes:
    codes = {"float32": FLOAT32, "float16": FLOAT16, "int64": INT64}
    return b"".join(
        tensor(values, element_type=codes[str(values.dtype)])
        for _, values in sorted(tensors.items())
    )


def variable(name: str, shape: Sequence[int], *, kind: int = 7, persistable: bool = True) -> bytes:
    dense = block(1, tensor_header(shape, FLOAT32))
    message = block(1, name) + block(2, number(1, kind) + block(3, dense))
    return block(3, message + number(3, persistable))


def operator(
    type_: str,
    inputs: dict[str, list[str]],
    outputs: dict[str, list[str]],
    **attributes: int,
) -> bytes:
    """An operator of a ``.pdmodel``; bools go to the field of flags, ints to that of numbers."""
    message = b""
    for field, slots in ((1, inputs), (2, outputs)):
        for slot, names in slots.items():
            message += block(field, block(1, slot) + b"".join(block(2, name) for name in names))
    message += block(3, type_)
    for name, value in attributes.items():
        field = 10 if isinstance(value, bool) else 3
        message += block(4, block(1, name) + number(2, 0) + number(field, value))
    return block(4, message)


def program(*parts: bytes) -> bytes:
    return block(1, number(1, 0) + number(2, -1) + b"".join(parts)) + block(4, number(1, 0))
