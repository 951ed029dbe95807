"""Read ``inference.yml``, the rules that stand beside a released inference model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ocr_pipeline.errors import WeightsError

DEFAULT_NAME = "inference.yml"
_MAX_BYTES = 16 << 20
_NOTHING = ("", "~", "null")
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class InferenceRules:
    """What ``inference.yml`` says of a model; None where it says nothing.

    Attributes:
        model_name: as PaddleOCR names the model, e.g. ``PP-OCRv5_mobile_rec``.
        dictionary: characters of a recognizer in class order, without blank and space.
        thresh: a pixel of the probability map is text above this, 0..1.
        box_thresh: polygons whose mean probability is below this are dropped, 0..1.
        unclip_ratio: growth of the shrunk region, times area / perimeter (no unit), > 0.
        max_candidates: polygons looked at in one picture, >= 1.
        rec_image_shape: of a recognizer's training input, (channels, height, width), px.
    """

    model_name: str | None = None
    dictionary: tuple[str, ...] | None = None
    thresh: float | None = None
    box_thresh: float | None = None
    unclip_ratio: float | None = None
    max_candidates: int | None = None
    rec_image_shape: tuple[int, int, int] | None = None


def read_inference_rules(path: Path) -> InferenceRules:
    """Read the rules beside a model. Every scalar is taken as written: ``- ~`` is a tilde.

    Args:
        path: the file, UTF-8, or the folder that holds ``inference.yml``.

    Raises:
        WeightsError: not such a file, or a value out of its range (with its dotted key).
    """
    file = path / DEFAULT_NAME if path.is_dir() else path
    document = _load(file)
    post = _mapping(file, document, "PostProcess")
    fields = _Fields(file, post)
    return InferenceRules(
        model_name=_word(_mapping(file, document, "Global").get("model_name")),
        dictionary=_dictionary(file, post.get("character_dict")),
        thresh=fields.number("thresh", float, lambda n: 0 <= n <= 1, "0 to 1"),
        box_thresh=fields.number("box_thresh", float, lambda n: 0 <= n <= 1, "0 to 1"),
        unclip_ratio=fields.number("unclip_ratio", float, lambda n: 0 < n < 100, "above 0"),
        max_candidates=fields.number("max_candidates", int, lambda n: n >= 1, "1 or more"),
        rec_image_shape=_rec_image_shape(file, _mapping(file, document, "PreProcess")),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if len(content) > _MAX_BYTES:
            raise WeightsError(f"{path}: {len(content):,} bytes; allowed: {_MAX_BYTES:,}")
        # Only BaseLoader leaves every scalar the string that is written there.
        document = yaml.load(content.decode("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: not readable as YAML ({reason})") from None
    if not isinstance(document, dict) or not {"Global", "PostProcess"} & document.keys():
        raise WeightsError(
            f"{path}: not the inference.yml of a released model: expected a mapping with the keys "
            "Global and PostProcess"
        )
    return document


def _mapping(path: Path, document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key, {})
    if value in _NOTHING:
        return {}
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: {key} is {_show(value)}, expected a mapping")
    return value


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value not in _NOTHING else None


def _dictionary(path: Path, value: object) -> tuple[str, ...] | None:
    if value is None or value in _NOTHING:
        return None
    if isinstance(value, str):
        entries: list[Any] = [line.rstrip("\r") for line in value.removesuffix("\n").split("\n")]
    elif isinstance(value, list):
        entries = value
    else:
        raise WeightsError(f"{path}: PostProcess.character_dict is a mapping, expected a list")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, str) or not entry:
            raise WeightsError(
                f"{path}: PostProcess.character_dict: entry {number} of {len(entries)} is "
                f"{_show(entry)}, expected characters; put signs such as # into quotes"
            )
    return tuple(entries)


class _Fields:
    def __init__(self, path: Path, mapping: dict[str, Any]) -> None:
        self.path = path
        self.mapping = mapping

    def number(
        self,
        key: str,
        type_: Callable[[str], _Number],
        is_allowed: Callable[[_Number], bool],
        allowed: str,
    ) -> _Number | None:
        value = self.mapping.get(key)
        if value is None or value in _NOTHING:
            return None
        try:
            number = type_(value)
        except (TypeError, ValueError):
            number = None
        if number is None or not is_allowed(number):
            raise WeightsError(
                f"{self.path}: PostProcess.{key} is {_show(value)}; allowed: a number, {allowed}"
            )
        return number


def _rec_image_shape(path: Path, pre: dict[str, Any]) -> tuple[int, int, int] | None:
    steps = pre.get("transform_ops")
    for step in steps if isinstance(steps, list) else []:
        options = step.get("RecResizeImg") if isinstance(step, dict) else None
        if not isinstance(options, dict) or "image_shape" not in options:
            continue
        shape = options["image_shape"]
        try:
            channels, height, width = (int(size) for size in shape)
        except (TypeError, ValueError):
            channels = height = width = 0
        if min(channels, height, width) < 1:
            raise WeightsError(
                f"{path}: RecResizeImg.image_shape is {_show(shape)}; allowed: three sizes of 1 or "
                "more (channels, height, width)"
            )
        return channels, height, width
    return None


def _show(value: object) -> str:
    return f"{value!r:.60}" if isinstance(value, str) else f"a {type(value).__name__}"
