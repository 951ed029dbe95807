"""What the service and its reading processes say to each other, over a pipe of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ocr_pipeline.config.model import ModelSpec
from ocr_pipeline.errors import ImageError
from ocr_pipeline.inference.choose import Decision
from ocr_pipeline.inference.orientation import OrientedLine
from ocr_pipeline.inference.reader import PageText

ResultT_co = TypeVar("ResultT_co", covariant=True)


class Task(Generic[ResultT_co]):
    """Something that a worker can do, and what comes of it."""


@dataclass(frozen=True)
class PageReading:
    """What was read on one page.

    Attributes:
        text: of the page.
        picture: the upright page as it was read, a JPEG file; None where it was not asked for.
        dpi: at which a page of a PDF was drawn; None: a picture.
        models: name and checkpoint of those that read it, by role.
    """

    text: PageText
    picture: bytes | None
    dpi: float | None
    models: Mapping[str, str]


@dataclass(frozen=True)
class LinesReading:
    """What was read on cut-out lines.

    Attributes:
        lines: in the order of the task; an error where one is no picture.
        models: as of a page.
    """

    lines: list[OrientedLine | ImageError]
    models: Mapping[str, str]


@dataclass(frozen=True)
class CountPages(Task[int]):
    """Say how many pages a file has.

    Attributes:
        content: bytes of the file.
    """

    content: bytes


@dataclass(frozen=True)
class ReadPage(Task[PageReading]):
    """Read one page of a file.

    Attributes:
        content: bytes of the file.
        page: from 0.
        words: say where each word and character stands, too.
        picture: give the upright page, too.
    """

    content: bytes
    page: int = 0
    words: bool = False
    picture: bool = False


@dataclass(frozen=True)
class ReadLines(Task[LinesReading]):
    """Read cut-out lines; one that is no picture does not sink the others.

    Attributes:
        contents: bytes of their files.
    """

    contents: tuple[bytes, ...]


@dataclass(frozen=True)
class Work:
    """To a worker: a task.

    Attributes:
        number: of the task.
        task: what to do.
        left_s: seconds that are left to its client; not begun by then, it is not done at all.
    """

    number: int
    task: Task[Any]
    left_s: float


@dataclass(frozen=True)
class Drop:
    """To a worker: nobody waits for this task any more; leave it, unless it has begun."""

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
        rules: network, input and output, from its card.
    """

    name: str
    task: str
    checkpoint: str
    decision: Decision
    rules: ModelSpec

    @property
    def label(self) -> str:
        """Name and beginning of the checkpoint."""
        return f"{self.name} ({self.checkpoint[:12]})"


@dataclass(frozen=True)
class Loaded:
    """From a worker: it reads from here on.

    Attributes:
        models: by role, detector and recognizer.
        places: so many tasks keep it busy.
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
class Failed:
    """Why a task has no result.

    Attributes:
        error: None where it was dropped, or its time was over.
    """

    error: Exception | None


@dataclass(frozen=True)
class Done:
    """From a worker: what became of a task.

    Attributes:
        number: of the task.
        result: what the task gives, or why not.
    """

    number: int
    result: Any


@dataclass(frozen=True)
class Batched:
    """From a worker: so many lines are recognised together, of so many that could be."""

    lines: int
    capacity: int


@dataclass(frozen=True)
class Logged:
    """From a worker: a line for the log.

    Attributes:
        logger: its name.
        level: as ``logging`` counts.
        text: of the line.
        trace: of an exception; else empty.
        number: of the task that it is about, if it is about one.
    """

    logger: str
    level: int
    text: str
    trace: str
    number: int | None


ToWorker = Work | Drop | Stop
FromWorker = Loaded | NotLoaded | Alive | Done | Batched | Logged
