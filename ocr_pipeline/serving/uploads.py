"""What a client sends: files of a form, or base64 in JSON."""

import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

_HOW = (
    "Send one picture as multipart/form-data in the field 'file', e.g. curl -F file=@page.png, "
    'or as JSON {"file": "<base64>"}'
)
_HOW_MANY = (
    "Send them as multipart/form-data in the field 'files', e.g. "
    "curl -F files=@1.png -F files=@2.png"
)
_MOST_FIELDS = 20

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
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "byte", "description": "base64"}
                    },
                    "additionalProperties": False,
                }
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


async def one_file(request: Request) -> bytes:
    """Return the bytes of the file of a request.

    Raises:
        BadRequestError: no form and no JSON, or no file in it.
    """
    kind = _kind(request)
    if kind == "application/json":
        return _decoded(await request.body())
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


def _decoded(body: bytes) -> bytes:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"body: not JSON ({error}). {_HOW}") from None
    if not isinstance(values, dict) or set(values) != {"file"}:
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise BadRequestError(f"body: {found!r:.100}; allowed: the key 'file' alone. {_HOW}")
    if not isinstance(values["file"], str):
        raise BadRequestError(f"body.file: not a text, but {type(values['file']).__name__}. {_HOW}")
    try:
        return base64.b64decode(values["file"], validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadRequestError(f"body.file: not base64 ({error}). {_HOW}") from None
