"""What is noted of a request while it is answered, and what its labels are."""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import Scope

from ocr_pipeline.serving.metrics import Refusal

QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked by machines, every few seconds."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


@dataclass
class RequestRecord:
    """Notes on one request.

    Attributes:
        request_id: of the client, or made here.
        key: name of the key that it came with.
        failures: tasks of it that gave no text, by reason.
        pages: that were read for it.
        texts: of those pages, where the config wants them logged.
        trace_id: of its trace, hex; empty without one.
    """

    request_id: str
    key: str | None = None
    failures: Counter[Refusal] = field(default_factory=Counter)
    pages: int = 0
    texts: list[str] = field(default_factory=list)
    trace_id: str = ""


_current: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def current_record() -> RequestRecord | None:
    """Of the request that is being answered; None outside of one."""
    return _current.get()


@contextmanager
def recorded(record: RequestRecord) -> Iterator[None]:
    """Make it the record of the running task and of those that it starts."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def method_of(scope: Scope) -> str:
    """Method of a request; ``OTHER`` for those that clients think of."""
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def route_of(scope: Scope, paths: AbstractSet[str]) -> str:
    """The one of these paths that a request is for, ``*`` at the end: or below; else ``other``."""
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    if path in paths:
        return path
    below = [known for known in paths if known.endswith("*") and path.startswith(known[:-1])]
    return max(below, key=len) if below else "other"
