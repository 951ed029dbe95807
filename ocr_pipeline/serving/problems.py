"""Errors as problem details (RFC 9457)."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ocr_pipeline.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from ocr_pipeline.serving.fetch import FetchError
from ocr_pipeline.serving.pool import OverloadedError, WorkerLostError
from ocr_pipeline.serving.schemas import Problem
from ocr_pipeline.serving.uploads import BadRequestError

_RETRY_AFTER_S = "1"
_MEDIA_TYPE = "application/problem+json"
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
        media_type=_MEDIA_TYPE,
    )


def documented(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return problems for OpenAPI, by status; the schemas must hold ``Problem``."""
    return {
        status: {
            "description": reason,
            "content": {
                _MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": {
                        "type": "about:blank",
                        "title": HTTPStatus(status).phrase,
                        "status": status,
                        "detail": reason,
                    },
                }
            },
        }
        for status, reason in reasons.items()
    }


def problem_of(error: Exception) -> Problem:
    """What a client is told of the failure of one task."""
    if isinstance(error, ImageTooLargeError):
        return Problem(title="Picture too large", status=413, detail=str(error))
    if isinstance(error, UnsupportedImageError):
        return Problem(title="Not a picture", status=415, detail=str(error))
    if isinstance(error, ImageError):
        return Problem(title="Picture cannot be read", status=422, detail=str(error))
    if isinstance(error, FetchError):
        return Problem(title="File not fetched", status=error.status, detail=str(error))
    if isinstance(error, WorkerLostError):
        return Problem(
            title="Picture cannot be read",
            status=500,
            detail="reading this picture ended two processes of the service, so it is not tried "
            "again; please give it to the operator",
        )
    if isinstance(error, OverloadedError):
        return Problem(title="Busy", status=503, detail=f"{error}; try again in {_RETRY_AFTER_S} s")
    if isinstance(error, TimeoutError):
        return Problem(
            title="Timed out",
            status=504,
            detail="the picture was not read in time; send a smaller one or try again later",
        )
    return Problem(
        title="Internal error", status=500, detail="the service failed; the operator's log says why"
    )


def retry_headers(problem: Problem) -> dict[str, str]:
    """When to come back, where that helps."""
    return {"Retry-After": _RETRY_AFTER_S} if problem.status == 503 else {}


async def on_problem(_request: Request, error: Exception) -> JSONResponse:
    """One task was the whole request; a fault of ours is logged with its trace by the server."""
    problem = problem_of(error)
    return problem_response(problem.status, problem.title, problem.detail, retry_headers(problem))


async def on_bad_request(_request: Request, error: Exception) -> JSONResponse:
    """The body has not the documented form."""
    return problem_response(422, "Request not valid", str(error))


async def on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """The request has not the documented form."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    named = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults)
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


async def on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody hears it."""
    return Response(status_code=_GONE)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    ImageError: on_problem,
    FetchError: on_problem,
    BadRequestError: on_bad_request,
    RequestValidationError: on_invalid_request,
    HTTPException: on_http_error,
    OverloadedError: on_problem,
    TimeoutError: on_problem,
    WorkerLostError: on_problem,
    ClientDisconnect: on_gone,
    ClientGoneError: on_gone,
    Exception: on_problem,
}
