"""A request body is refused as soon as it is too long, before it fills memory or disk."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ocr_pipeline.serving.problems import problem_response

_STATUS = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
_FORM_OVERHEAD = 64 * 1024
"""Headers and boundaries of a multipart body, bytes."""


class BodyLimit:
    """ASGI middleware: 413 for a body above ``max_bytes``, announced or not.

    Args:
        app: the application behind it.
        max_bytes: of the picture; a little is added for the form around it.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.max_bytes + _FORM_OVERHEAD
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            refusal = problem_response(_STATUS, _STATUS.phrase, self._reason(int(announced)))
            await refusal(scope, receive, send)
            return
        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # Any other exception becomes a 400 of FastAPI, in the middle of its form parsing.
                raise HTTPException(_STATUS, self._reason(received))
            return message

        await self.app(scope, counted_receive, send)

    def _reason(self, size: int) -> str:
        return (
            f"the body has {size:,} bytes or more; allowed: a picture of {self.max_bytes:,} bytes. "
            "Send a smaller file"
        )
