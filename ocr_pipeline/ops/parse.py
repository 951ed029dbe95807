"""Careful reading of what others wrote: text, JSON, numbers, points.

Every function raises :class:`LabelError` with one sentence, which a reader turns into a fault.
"""

import json
import math
import reprlib
from collections.abc import Sequence
from typing import NoReturn

from ocr_pipeline.errors import LabelError

Points = tuple[tuple[float, float], ...]
"""(x, y) px, in the file's order."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Of UTF-8, as Windows editors write it; belongs to no text."""
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_IGNORED = ("*", "###")


class NotUtf8Error(LabelError):
    """The bytes are of another encoding."""


def refuse_utf16(start: bytes) -> None:
    """Raise where a file that starts so says that it is UTF-16."""
    if start.startswith(_UTF16_MARKS):
        raise NotUtf8Error("the file is UTF-16; save it as UTF-8")


def decode(raw: bytes) -> str:
    """Decode UTF-8; the message says so where the bytes are GB18030 instead."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1}: {error.reason}"
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        raise NotUtf8Error(f"not UTF-8 ({where}); save the file as UTF-8") from None
    raise NotUtf8Error(
        f"not UTF-8 ({where}), but it can be read as GB18030; convert the file, e.g. with "
        "'iconv -f GB18030 -t UTF-8'"
    )


def read_json(text: str) -> object:
    """Parse one JSON value; NaN and infinities are no JSON."""
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = (
            f"line {error.lineno} column {error.colno}"
            if error.lineno > 1
            else (f"column {error.colno}")
        )
        raise LabelError(f"broken JSON ({error.msg} at {place}); repair or delete it") from None
    except RecursionError:
        raise LabelError("JSON is nested too deeply to be a label; repair or delete it") from None
    except ValueError as error:  # an integer of thousands of digits
        raise LabelError(f"broken JSON ({error}); repair or delete it") from None
    return value


def read_json_file(raw: bytes) -> object:
    """Parse the content of a JSON file; see :func:`read_json`."""
    refuse_utf16(raw)
    return read_json(decode(raw.removeprefix(BYTE_ORDER_MARK)))


def shown(value: object) -> str:
    """A value for a message, cut to some tens of characters."""
    return reprlib.repr(value)


def as_dict(value: object, what: str) -> dict[str, object]:
    """``value`` where it is a JSON object."""
    if not isinstance(value, dict):
        raise LabelError(f"{what} is {shown(value)}; expected an object {{...}}")
    return value


def as_list(value: object, what: str) -> list[object]:
    """``value`` where it is a JSON list."""
    if not isinstance(value, list):
        raise LabelError(f"{what} is {shown(value)}; expected a list [...]")
    return value


def as_text(value: object, what: str) -> str:
    """``value`` where it is a string; a number is not made one, it may have lost its zeros."""
    if not isinstance(value, str):
        raise LabelError(f"{what} is {shown(value)}; expected a text in quotes")
    return value


def as_flag(value: object, what: str) -> bool:
    """``value`` where it is true, false, 1, 0 or null (false)."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    raise LabelError(f"{what} is {shown(value)}; expected true or false")


def as_number(value: object, what: str) -> float:
    """``value`` where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LabelError(f"{what} is {shown(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise LabelError(f"{what} is {shown(value)}; expected a finite number of pixels")
    return number


def as_pairs(value: object, what: str) -> Points:
    """Points from ``[[x, y], ...]``."""
    return tuple(_as_pair(pair, f"{what}[{at}]") for at, pair in enumerate(as_list(value, what)))


def as_flat_points(value: object, what: str) -> Points:
    """Points from ``[x1, y1, x2, y2, ...]``."""
    numbers = [as_number(n, f"{what}[{at}]") for at, n in enumerate(as_list(value, what))]
    if len(numbers) % 2:
        raise LabelError(f"{what} has {len(numbers)} numbers; expected x, y, x, y, ...")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def corners(x0: float, y0: float, x1: float, y1: float) -> Points:
    """The four corners of an upright box, clockwise from (x0, y0), where that is top-left."""
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def as_size(height: object, width: object) -> tuple[int, int] | None:
    """(height, width) px where both are positive whole numbers, else None: nothing is claimed."""
    if isinstance(height, bool) or isinstance(width, bool):
        return None
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    return (height, width) if min(height, width) > 0 else None


def means_ignore(text: str) -> bool:
    """Whether a transcription stands for: text is here, but do not train on it."""
    return text in _IGNORED


def _as_pair(value: object, what: str) -> tuple[float, float]:
    pair: Sequence[object] = as_list(value, what)
    if len(pair) != 2:
        raise LabelError(f"{what} is {shown(value)}; expected [x, y]")
    return as_number(pair[0], what), as_number(pair[1], what)


def _refuse_constant(name: str) -> NoReturn:
    raise LabelError(f"{name} is no number of JSON; repair or delete it")
