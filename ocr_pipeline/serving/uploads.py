"""What a client sends: files of a form, base64 in JSON, or a URL."""

import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ocr_pipeline.serving.fetch import Fetcher

_HOW = (
    "Send one picture as multipart/form-data in the field 'file', e.g. curl -F file=@page.png, "
    'or as JSON {"file": "<base64>"} or {"url": "https://..."}'
)
_HOW_MANY = (
    "Send them as multipart/form-data in the field 'files', e.g. "
    "curl -F files=@1.png -F files=@2.png"
)
_MOST_FIELDS = 20
_CHARSETS = ("utf-8", "utf8")
_WHITE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgAQAAAABbAUdZAAAAD0lEQVR42mP4DwQMg5cAANrpf4Em"
    "8vpjAAAAAElFTkSuQmCC"
)
"""A blank picture of 32 x 32 px, base64."""

ONE_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": {
                        "file": {"type": "string", "format": "byte", "description": "base64"},
                        "url": {
                            "type": "string",
                            "format": "uri",
                            "description": "http or https; of a host that the operator allows",
                        },
                    },
                    "additionalProperties": False,
                },
                "example": {"file": _WHITE_PNG},
            },
        },
    }
}
"""For OpenAPI: what :func:`one_file` takes."""
MANY_FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}
"""For OpenAPI: what :func:`many_files` takes."""


class BadRequestError(Exception):
    """The request has not the documented form; the message says how, and what is right."""


async def one_file(request: Request, fetcher: Fetcher) -> bytes:
    """Return the bytes of the file of a request.

    Raises:
        BadRequestError: no form and no JSON, or no file in it.
        FetchError: the file at its URL cannot be had.
    """
    kind = _kind(request)
    if kind == "application/json":
        name, value = _named_file(await request.body())
        return await fetcher.fetch(value) if name == "url" else decoded_base64(value, _HOW)
    if kind != "multipart/form-data":
        raise BadRequestError(f"body.file: content type {kind!r}. {_HOW}")
    async with _form(request, files=1, how=_HOW) as fields:
        files = [value for name, value in fields if name == "file"]
        if len(files) != 1 or not isinstance(files[0], UploadFile):
            raise BadRequestError(f"body.file: a file is missing. {_HOW}")
        return await files[0].read()


@asynccontextmanager
async def many_files(request: Request, most: int) -> AsyncIterator[list[UploadFile]]:
    """The files of a request; what is large lies on disk until the end of the context.

    Args:
        request: with a form.
        most: files that are allowed.

    Raises:
        BadRequestError: no form, no file in it, or too many.
    """
    kind = _kind(request)
    if kind != "multipart/form-data":
        raise BadRequestError(f"body.files: content type {kind!r}. {_HOW_MANY}")
    async with _form(request, files=most, how=_HOW_MANY) as fields:
        files = [v for name, v in fields if name == "files" and isinstance(v, UploadFile)]
        if not files:
            raise BadRequestError(f"body.files: no file. {_HOW_MANY}")
        yield files


@asynccontextmanager
async def _form(
    request: Request, *, files: int, how: str
) -> AsyncIterator[list[tuple[str, UploadFile | str]]]:
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in _CHARSETS:
        # Python's codecs take any name: some of them fail, are slow or give half characters.
        raise BadRequestError(f"body: a form with charset {charset!r:.100}; allowed: utf-8. {how}")
    try:
        form = await request.form(max_files=files, max_fields=_MOST_FIELDS)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise BadRequestError(f"body: {error.detail} {how}") from None
    try:
        yield form.multi_items()
    finally:
        await form.close()


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def decoded_base64(text: str, how: str) -> bytes:
    """Return what base64 stands for.

    Raises:
        BadRequestError: it is none; the message ends with ``how``.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadRequestError(f"body.file: not base64 ({error}). {how}") from None


def _named_file(body: bytes) -> tuple[str, str]:
    """How JSON gives the file, ``file`` or ``url``, and what stands there."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"body: not JSON ({error}). {_HOW}") from None
    if not isinstance(values, dict) or set(values) not in ({"file"}, {"url"}):
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise BadRequestError(
            f"body: {found!r:.100}; allowed: the key 'file' or the key 'url' alone. {_HOW}"
        )
    [(name, value)] = values.items()
    if not isinstance(value, str):
        raise BadRequestError(f"body.{name}: not a text, but {type(value).__name__}. {_HOW}")
    return name, value
