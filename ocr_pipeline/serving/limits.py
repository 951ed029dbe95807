"""A request body is refused as soon as it is too long, before it fills memory or disk."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ocr_pipeline.serving.problems import problem_response

_FORM_OVERHEAD = 64 * 1024
"""Headers and boundaries of a multipart body, bytes."""


class _TooLong(Exception):
    pass


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
            await self._refuse(int(announced), scope, receive, send)
            return
        received = 0
        answered = False

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _TooLong
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, counted_receive, watched_send)
        except _TooLong:
            if answered:
                raise
            await self._refuse(received, scope, receive, send)

    async def _refuse(self, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(
            413,
            "Body too large",
            f"the body has {size:,} bytes or more; allowed: a picture of {self.max_bytes:,} bytes. "
            "Send a smaller file",
        )
        await response(scope, receive, send)
