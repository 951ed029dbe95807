"""What is noted of a request while it is answered."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from ocr_pipeline.serving.metrics import Refusal


@dataclass
class RequestRecord:
    """Notes on one request.

    Attributes:
        request_id: of the client, or made here.
        key: name of the key that it came with.
        refusal: why it got no text; None: its status says so.
        pages: that were read for it.
        texts: of those pages, where the config wants them logged.
        trace_id: of its trace, hex; empty without one.
    """

    request_id: str
    key: str | None = None
    refusal: Refusal | None = None
    pages: int = 0
    texts: list[str] = field(default_factory=list)
    trace_id: str = ""


_current: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def current_record() -> RequestRecord | None:
    """Of the request that is being answered; None outside of one."""
    return _current.get()


def set_current_record(record: RequestRecord) -> None:
    """Make it the record of the running task and of those that it starts."""
    _current.set(record)
