"""Errors as problem details (RFC 9457)."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ocr_pipeline.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from ocr_pipeline.serving.pool import OverloadedError, WorkerLostError
from ocr_pipeline.serving.schemas import Problem

_RETRY_AFTER_S = "1"
_GONE = 499
"""As nginx logs it; nobody is there to receive it."""


class ClientGoneError(Exception):
    """The client went away before it had its answer."""


def problem_response(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """One error answer."""
    return JSONResponse(
        Problem(title=title, status=status, detail=detail).model_dump(),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


async def on_image_error(_request: Request, error: Exception) -> JSONResponse:
    """The client's picture is at fault; the message says how."""
    if isinstance(error, ImageTooLargeError):
        return problem_response(413, "Picture too large", str(error))
    if isinstance(error, UnsupportedImageError):
        return problem_response(415, "Not a picture", str(error))
    return problem_response(422, "Picture cannot be read", str(error))


async def on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """The request has not the documented form."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults)
    if any("query" not in fault["loc"] for fault in faults):
        named += (
            ". Send one picture as multipart/form-data in the field 'file', e.g. "
            "curl -F file=@page.png"
        )
    return problem_response(422, "Request not valid", named)


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Unknown route, wrong method, a body that is too long and the like."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else ""
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    title = HTTPStatus(status).phrase
    if detail == title:
        detail = (
            f"{request.method} {request.url.path}: {title.lower()}; "
            "/openapi.json lists routes and methods"
        )
    return problem_response(status, title, detail, headers)


async def on_overload(_request: Request, error: Exception) -> JSONResponse:
    """Too many requests wait, or the models are not loaded."""
    return problem_response(
        503,
        "Busy",
        f"{error}; try again in {_RETRY_AFTER_S} s",
        {"Retry-After": _RETRY_AFTER_S},
    )


async def on_timeout(_request: Request, _error: Exception) -> JSONResponse:
    """Not done in time."""
    return problem_response(
        504, "Timed out", "the picture was not read in time; send a smaller one or try again later"
    )


async def on_lost_worker(_request: Request, _error: Exception) -> JSONResponse:
    """The picture ends the processes that read it."""
    return problem_response(
        500,
        "Picture cannot be read",
        "reading this picture ended two processes of the service, so it is not tried again; "
        "please give it to the operator",
    )


async def on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody hears it."""
    return Response(status_code=_GONE)


async def on_server_error(_request: Request, _error: Exception) -> JSONResponse:
    """A fault of the service: logged with its trace by the server, bare to the client."""
    return problem_response(
        500, "Internal error", "the service failed; the operator's log says why"
    )


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    ImageError: on_image_error,
    RequestValidationError: on_invalid_request,
    HTTPException: on_http_error,
    OverloadedError: on_overload,
    TimeoutError: on_timeout,
    WorkerLostError: on_lost_worker,
    ClientGoneError: on_gone,
    Exception: on_server_error,
}
