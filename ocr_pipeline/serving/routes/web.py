"""The web page: a fixed list of files, none of them made from a request."""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request, Response

_FOLDER = Path(__file__).parents[1] / "web"
_PAGE = "index.html"
_FILES = (
    "api.js",
    "app.js",
    "documents.js",
    "dom.js",
    "download.js",
    "lines.js",
    "page.js",
    "picture.js",
    "queue.js",
    "settings.js",
    "text.js",
    "toast.js",
    "style.css",
    "dark.css",
    "icon.svg",
)
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def web_routes() -> APIRouter:
    """Build ``/`` and ``/web/…``: the page's own files and no others, read once."""
    router = APIRouter(include_in_schema=False)
    paths = {"/": _PAGE} | {f"/web/{name}": name for name in _FILES}
    for path, name in paths.items():
        router.add_api_route(path, _answer_with(name), methods=["GET", "HEAD"])
    return router


def _answer_with(name: str) -> Callable[[Request], Awaitable[Response]]:
    content = (_FOLDER / name).read_bytes()
    media_type = _MEDIA_TYPES[Path(name).suffix]
    headers = {
        "Cache-Control": "no-cache",  # names stay the same when the files change
        "ETag": f'"{sha256(content).hexdigest()[:16]}"',
    }

    async def answer(request: Request) -> Response:
        known = request.headers.get("If-None-Match", "").split(",")
        if {tag.strip().removeprefix("W/") for tag in known} & {headers["ETag"], "*"}:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return answer
