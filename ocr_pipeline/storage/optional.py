"""Packages that only some protocols need."""

import importlib
from typing import Any, Literal

from ocr_pipeline.errors import DataError


def need(module: str, extra: Literal["remote", "train"]) -> Any:
    """A module of an optional package.

    Raises:
        DataError: not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f"{module}: cannot be imported ({error}); pip install 'ocr_pipeline[{extra}]'"
        ) from None
