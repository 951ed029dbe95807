"""A request body is refused as soon as it is too long, before it fills memory or disk."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STATUS = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
_FORM_OVERHEAD = 64 * 1024
"""Headers and boundaries of a multipart body, bytes."""
_JSON = b"application/json"


class BodyLimit:
    """ASGI middleware: 413 for a body above the limit of its route, announced or not.

    A little is added for the form around the files; and a third in JSON, whose files are base64.

    Args:
        app: the application behind it.
        max_bytes: of the files of a request.
        routes: of those of a path, where it is another.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, routes: Mapping[str, int]) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        allowed = self.routes.get(scope["path"], self.max_bytes)
        headers = dict(scope["headers"])
        as_text = headers.get(b"content-type", b"").lower().startswith(_JSON)
        limit = (allowed * 4 // 3 if as_text else allowed) + _FORM_OVERHEAD
        announced = headers.get(b"content-length", b"0")
        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            if announced.isdigit() and int(announced) > limit:
                raise HTTPException(_STATUS, _reason(int(announced), allowed))
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Any other exception becomes a 400, in the middle of the parsing of a form.
                raise HTTPException(_STATUS, _reason(received, allowed))
            return message

        await self.app(scope, counted_receive, send)


def _reason(size: int, allowed: int) -> str:
    return (
        f"the body has {size:,} bytes or more; allowed: files of {allowed:,} bytes. "
        "Send a smaller file"
    )
