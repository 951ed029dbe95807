"""What the service and its reading processes say to each other, over a pipe of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from ocr_pipeline.inference.choose import Decision
from ocr_pipeline.inference.reader import PageText


@dataclass(frozen=True)
class Read:
    """To a worker: read a picture.

    Attributes:
        number: of the request.
        content: bytes of the picture.
        words: say where each word and character stands, too.
        left_s: seconds that are left to its client; not begun by then, it is not read at all.
    """

    number: int
    content: bytes
    words: bool
    left_s: float


@dataclass(frozen=True)
class Drop:
    """To a worker: nobody waits for this request any more; leave it, unless it has begun."""

    number: int


@dataclass(frozen=True)
class Stop:
    """To a worker: end, once what has begun is done."""


@dataclass(frozen=True)
class ServedModel:
    """A model that a worker has loaded and proven.

    Attributes:
        name: from its card.
        task: det or rec.
        checkpoint: sha256 of the weights.
        decision: which engine serves it, and why.
    """

    name: str
    task: str
    checkpoint: str
    decision: Decision


@dataclass(frozen=True)
class Loaded:
    """From a worker: it reads from here on.

    Attributes:
        models: by role, detector and recognizer.
        places: so many pictures keep it busy.
    """

    models: Mapping[str, ServedModel]
    places: int


@dataclass(frozen=True)
class NotLoaded:
    """From a worker, its last word: the models cannot be served.

    Attributes:
        reason: type and message of the error.
        trace: of an error that its message does not explain; else empty.
    """

    reason: str
    trace: str


@dataclass(frozen=True)
class Alive:
    """From a worker, about once a second, whatever it computes."""


@dataclass(frozen=True)
class Done:
    """From a worker: what became of a request.

    Attributes:
        number: of the request.
        result: what was read, or why the picture cannot be; None where it was dropped.
    """

    number: int
    result: PageText | Exception | None


ToWorker = Read | Drop | Stop
FromWorker = Loaded | NotLoaded | Alive | Done
