"""A client of the service; needs httpx and nothing else of this package's libraries.

from ocr_pipeline.client import OcrClient

with OcrClient("http://127.0.0.1:8000") as client:
    print(client.read("page.png").text)
"""

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

from ocr_pipeline.errors import OcrPipelineError

File = Path | str | bytes
"""A path, or the bytes of a file."""
Points = tuple[tuple[float, float], ...]
"""Four corners (x, y), px of the upright page."""
_BUSY = (429, 503)
_POLL_S = 0.5
_SHOWN = 300
_FormFile = tuple[str, tuple[str, bytes]]
ResultT = TypeVar("ResultT")


class OcrServiceError(OcrPipelineError):
    """The service refused a file, or failed.

    Attributes:
        status: HTTP status.
        title: kind of the problem.
        detail: what is wrong and what to do, as the service says it.
    """

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail


class OcrConnectionError(OcrPipelineError):
    """The service cannot be reached, broke off, or did not answer in time."""


@dataclass(frozen=True)
class Part:
    """A word or character of a line.

    Attributes:
        text: what it says.
        confidence: mean probability of its characters, in [0, 1].
        points: as those of the line.
    """

    text: str
    confidence: float
    points: Points


@dataclass(frozen=True)
class Line:
    """One line of a page.

    Attributes:
        text: what it says.
        confidence: mean probability of its characters, in [0, 1].
        points: clockwise from top-left; of a turned line from bottom-right.
        score: how sure the detector is, in [0, 1].
        row: of the page, from 0.
        turned: it stands upside-down.
        words, characters: where they were asked for; else None.
    """

    text: str
    confidence: float
    points: Points
    score: float
    row: int
    turned: bool
    words: tuple[Part, ...] | None
    characters: tuple[Part, ...] | None


@dataclass(frozen=True)
class Page:
    """All that was read on one page.

    Attributes:
        page: number in its file, from 1.
        width, height: of the upright page, px.
        dpi: at which a page of a PDF was drawn; None of a picture.
        text: rows of the page, one per line.
        lines: in reading order.
        dropped: regions that gave no line, by reason.
        milliseconds: wall time per step, in the service.
        picture: the upright page as it was read, a JPEG file, where it was asked for; else None.
    """

    page: int
    width: int
    height: int
    dpi: float | None
    text: str
    lines: tuple[Line, ...]
    dropped: Mapping[str, int]
    milliseconds: Mapping[str, float]
    picture: bytes | None


@dataclass(frozen=True)
class Document:
    """All that was read in one file.

    Attributes:
        text: of all pages.
        page_count: of the file, read or not.
        pages: that were read.
        models: name and checkpoint, by role.
    """

    text: str
    page_count: int
    pages: tuple[Page, ...]
    models: Mapping[str, str]


@dataclass(frozen=True)
class FileResult:
    """One page of one of many files, or why it was not read.

    Attributes:
        index: place of the file among those given, from 0.
        result: the page; or the error of it, or of the whole file.
        page_count: of the file; None where it is not known.
    """

    index: int
    result: Page | OcrServiceError
    page_count: int | None


@dataclass(frozen=True)
class CutLine:
    """What was read on a cut-out line; attributes as those of :class:`Line`."""

    text: str
    confidence: float
    turned: bool


@dataclass(frozen=True)
class Model:
    """A model that is served.

    Attributes:
        name: of the model.
        task: det or rec.
        checkpoint: sha256 of the weights.
        engine: what computes it.
        reason: why that engine.
    """

    name: str
    task: str
    checkpoint: str
    engine: str
    reason: str


class OcrClient:
    """A connection to the service; close it, or use it in a ``with``.

    What the service puts off (429, 503) and connections that fail are tried again, after the time
    that the service asks for, or after longer and longer pauses. Reading changes nothing there, so
    that may be done.

    Args:
        url: of the service.
        key: API key, where the service asks for one.
        timeout_s: for a step of one try: to connect, or to hear something.
        retries: further tries.
        longest_pause_s: between two of them.
        transport: of httpx, where another one is wanted.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        longest_pause_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            self._http = httpx.Client(
                base_url=url, headers=headers, timeout=timeout_s, transport=transport
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise OcrConnectionError(f"{url!r:.{_SHOWN}}: no URL of a service ({error})") from None
        self._url = url
        self._retries = retries
        self._longest_pause_s = longest_pause_s

    def __enter__(self) -> "OcrClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def read(
        self,
        file: File,
        *,
        words: bool = False,
        pages: str | None = None,
        picture: bool = False,
    ) -> Document:
        """Read one file.

        Args:
            file: a path, or the bytes of a file.
            words: say where each word and character stands, too.
            pages: which of them, e.g. ``1-3,7``; None: all.
            picture: give the upright pages, too.

        Raises:
            OcrServiceError: the service refuses the file, or fails.
            OcrConnectionError: it cannot be reached, or does not answer in time.
            OSError: the file cannot be read here.
        """
        options = _options(words=words, picture=picture, pages=pages)
        return self._read(params=options, files=[_form_file("file", file)])

    def read_url(
        self, url: str, *, words: bool = False, pages: str | None = None, picture: bool = False
    ) -> Document:
        """As :meth:`read`, of a file that the service fetches; its operator allows the host."""
        options = _options(words=words, picture=picture, pages=pages)
        return self._read(params=options, json={"url": url})

    def read_many(
        self,
        files: Iterable[File],
        *,
        words: bool = False,
        picture: bool = False,
        files_per_request: int = 16,
    ) -> Iterator[FileResult]:
        """Read many files; others come first in the service.

        Args:
            files: taken a request's worth at a time, so there may be any number.
            words, picture: see :meth:`read`.
            files_per_request: the service takes so many at once, in bytes, too.

        Yields:
            Page by page, in the order of the files, as soon as one is read.

        Raises:
            OcrServiceError: a whole request is refused.
            OcrConnectionError: as :meth:`read`; or the service broke off between pages. What was
                yielded counts; the files after it are to be given again.
        """
        options = _options(words=words, picture=picture, pages=None)
        left, first = iter(files), 0
        while group := [_form_file("files", file) for file in islice(left, files_per_request)]:
            with closing(self._results(group, options, first)) as results:
                yield from results
            first += len(group)

    def recognize(self, lines: Sequence[File]) -> list[CutLine | OcrServiceError]:
        """Read cut-out lines; one that cannot be read does not sink the others.

        Args:
            lines: pictures of one line each.

        Raises:
            OcrServiceError, OcrConnectionError, OSError: as :meth:`read`.
        """
        if not lines:
            return []
        files = [_form_file("files", line) for line in lines]
        return self._json("POST", "/v1/recognize", _cut_lines, files=files)

    def models(self) -> dict[str, Model]:
        """What is served, by role; empty while it loads.

        Raises:
            OcrServiceError, OcrConnectionError: as :meth:`read`.
        """
        return self._json("GET", "/v1/models", _models)

    def wait_until_ready(self, timeout_s: float = 300.0) -> None:
        """Return once the service reads.

        Raises:
            OcrServiceError: its models cannot be loaded.
            OcrConnectionError: not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        state = "no answer"
        while True:
            try:
                answer = self._http.get("/readyz")
                if answer.status_code == 200:
                    return
                state = _state(answer)
            except httpx.TransportError as error:
                state = type(error).__name__
            if time.monotonic() + _POLL_S > deadline:
                raise OcrConnectionError(
                    f"{self._url}: not ready within {timeout_s:g} s ({state}); see its log"
                )
            time.sleep(_POLL_S)

    def _read(self, **request: Any) -> Document:
        return self._json("POST", "/v1/ocr", _document, **request)

    def _json(
        self, method: str, path: str, parse: Callable[[Any], ResultT], **request: Any
    ) -> ResultT:
        with self._answer(method, path, **request) as answer:
            try:
                return parse(json.loads(answer.read()))
            except httpx.TransportError as error:
                raise self._broken(error) from None
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise self._strange(error) from None

    def _results(
        self, files: list[_FormFile], options: dict[str, str], first: int
    ) -> Generator[FileResult, None, None]:
        request = {"files": files, "params": options}
        seen, page_counts = Counter[int](), dict[int, int]()
        with self._answer("POST", "/v1/ocr/batch", **request) as answer:
            try:
                for line in _lines(answer):
                    one = _file_result(json.loads(line), first)
                    seen[one.index] += 1
                    if one.page_count is not None:
                        page_counts[one.index] = one.page_count
                    yield one
            except httpx.TransportError as error:
                raise self._broken(error) from None
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise self._strange(error) from None
        for index in range(first, first + len(files)):
            if seen[index] < page_counts.get(index, 1):  # what cuts a stream off may end it well
                raise OcrConnectionError(
                    f"{self._url}: the answer ended within file {index} (from 0); was it cut off "
                    "on its way? Give this file and those after it again"
                )

    @contextmanager
    def _answer(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """A good answer, its body not yet read."""
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._http.send(
                    self._http.build_request(method, path, **request), stream=True
                )
            except (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout) as error:
                if tries > self._retries:
                    raise self._broken(error) from None
                time.sleep(self._pause_s(tries, None))
                continue
            except httpx.TransportError as error:
                raise self._broken(error) from None
            with closing(answer):
                if answer.is_success:
                    yield answer
                    return
                if answer.status_code not in _BUSY or tries > self._retries:
                    raise _refusal(answer)
            time.sleep(self._pause_s(tries, answer.headers.get("retry-after")))

    def _pause_s(self, tries: int, asked: str | None) -> float:
        wanted = float(asked) if asked is not None and asked.isdigit() else 0.25 * 2.0**tries
        return min(self._longest_pause_s, wanted)

    def _broken(self, error: httpx.TransportError) -> OcrConnectionError:
        kind = type(error).__name__
        return OcrConnectionError(
            f"{self._url}: {kind} ({error}); is the service running, and is this its address?"
        )

    def _strange(self, error: Exception) -> OcrConnectionError:
        return OcrConnectionError(
            f"{self._url}: an answer that is not the service's ({type(error).__name__}: "
            f"{error!s:.{_SHOWN}}); is this its address?"
        )


def _options(*, words: bool, picture: bool, pages: str | None) -> dict[str, str]:
    options = {name: "true" for name, on in (("words", words), ("picture", picture)) if on}
    return options if pages is None else {**options, "pages": pages}


def _form_file(field: str, file: File) -> _FormFile:
    if isinstance(file, bytes):
        return field, ("file", file)
    path = Path(file)
    return field, (path.name, path.read_bytes())


def _lines(answer: httpx.Response) -> Iterator[bytes]:
    """Lines of NDJSON; those of httpx end at U+0085, U+2028 and U+2029 too, as in a file's name."""
    rest = bytearray()
    for chunk in answer.iter_bytes():
        *ends, left = chunk.split(b"\n")
        for end in ends:
            yield bytes(rest + end)
            rest.clear()
        rest += left
    if rest:
        yield bytes(rest)


def _refusal(answer: httpx.Response) -> OcrServiceError:
    try:
        problem = json.loads(answer.read())
        return OcrServiceError(answer.status_code, str(problem["title"]), str(problem["detail"]))
    except (httpx.TransportError, ValueError, LookupError, TypeError):
        # Not the service itself: a proxy before it, or another server.
        return OcrServiceError(answer.status_code, answer.reason_phrase, "no reason was given")


def _state(answer: httpx.Response) -> str:
    try:
        values = answer.json()
        status, detail = str(values["status"]), str(values["detail"])
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status_code}"
    if status == "failed":
        raise OcrServiceError(answer.status_code, "The models cannot be loaded", detail)
    return status


def _document(values: Any) -> Document:
    return Document(
        values["text"],
        values["page_count"],
        tuple(_page(page) for page in values["pages"]),
        values["models"],
    )


def _page(values: Any) -> Page:
    picture = values.get("picture")
    return Page(
        page=values["page"],
        width=values["width"],
        height=values["height"],
        dpi=values["dpi"],
        text=values["text"],
        lines=tuple(_line(line) for line in values["lines"]),
        dropped=values["dropped"],
        milliseconds=values["milliseconds"],
        picture=None if picture is None else base64.b64decode(picture["data"]),
    )


def _line(values: Any) -> Line:
    return Line(
        text=values["text"],
        confidence=values["confidence"],
        points=_points(values["points"]),
        score=values["score"],
        row=values["row"],
        turned=values["turned"],
        words=_parts(values.get("words")),
        characters=_parts(values.get("characters")),
    )


def _parts(values: Any) -> tuple[Part, ...] | None:
    if values is None:
        return None
    return tuple(Part(v["text"], v["confidence"], _points(v["points"])) for v in values)


def _points(values: Any) -> Points:
    return tuple((float(x), float(y)) for x, y in values)


def _file_result(values: dict[str, Any], first: int) -> FileResult:
    index = first + values["index"]
    if "error" in values:
        return FileResult(index, _problem(values["error"]), values.get("page_count"))
    return FileResult(index, _page(values), values["page_count"])


def _problem(values: Any) -> OcrServiceError:
    return OcrServiceError(values["status"], values["title"], values["detail"])


def _cut_lines(values: Any) -> list[CutLine | OcrServiceError]:
    return [
        _problem(line["error"])
        if "error" in line
        else CutLine(line["text"], line["confidence"], line["turned"])
        for line in values["lines"]
    ]


def _models(values: Any) -> dict[str, Model]:
    names = ("name", "task", "checkpoint", "engine", "reason")
    return {role: Model(*(model[name] for name in names)) for role, model in values.items()}
