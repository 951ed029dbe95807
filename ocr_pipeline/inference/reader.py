"""Picture to text: detect, cut out, recognise, put into reading order."""

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.orientation import OrientationConfig
from ocr_pipeline.errors import ImageError
from ocr_pipeline.inference.choose import open_pair
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.load import detector_of, recognizer_of
from ocr_pipeline.inference.orientation import OrientedLine, TurningRecognizer
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.ctc import Emission
from ocr_pipeline.ops.db_decode import TextPolygon
from ocr_pipeline.ops.decode import BGRImage, decode_image, read_image
from ocr_pipeline.ops.geometry import Points, crop_line, is_vertical, line_parts, reading_order
from ocr_pipeline.ops.spans import Span, character_spans, word_spans
from ocr_pipeline.paddle_environment import return_freed_memory

Picture = BGRImage | Path | str | bytes
"""A file's path or bytes, or pixels ``[H, W, 3]`` uint8 BGR."""
_QUARTER_TURN = np.array([1, -1], dtype=np.float32)
"""A point (x, y) is at (y, -x) once its page is turned by 90 degrees counter-clockwise."""

_TRIM_EVERY = 100
"""Pictures after which freed memory is given back."""


@dataclass(frozen=True)
class LinePart:
    """A word or character of a line.

    Attributes:
        text: what it says, without white space.
        confidence: mean probability of its characters, in [0, 1].
        points: ``[4, 2]`` float32 (x, y) px of the picture, in the order of the line's own, over
            the whole height of the line.
    """

    text: str
    confidence: float
    points: Points

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded as those of a page."""
        return {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "points": _plain(self.points),
        }


@dataclass(frozen=True)
class ReadLine:
    """One line of a page.

    Attributes:
        text: what it says; never empty.
        confidence: mean probability of its characters, in [0, 1].
        points: ``[4, 2]`` float32 (x, y) px of the picture, clockwise from top-left; on a turned
            line from bottom-right, where its text begins. ``crop_line`` of them is what was read.
        score: how sure the detector is, in [0, 1].
        row: number of its row on the page, from 0.
        turned: the line stands upside-down in the picture.
        words: what stands between spaces; each full-width character is one for itself. None where
            they were not asked for.
        characters: one by one, without spaces; None as ``words``.
        outline: ``points`` without the margin to be read with, as the detector is measured by; None
            where it is not known.
    """

    text: str
    confidence: float
    points: Points
    score: float
    row: int
    turned: bool = False
    words: tuple[LinePart, ...] | None = None
    characters: tuple[LinePart, ...] | None = None
    outline: Points | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; words and characters only where they were asked for."""
        values: dict[str, Any] = {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "points": _plain(self.points),
            "score": round(self.score, 4),
            "row": self.row,
            "turned": self.turned,
        }
        for name, parts in (("words", self.words), ("characters", self.characters)):
            if parts is not None:
                values[name] = [part.as_dict() for part in parts]
        return values


@dataclass(frozen=True)
class PageText:
    """All that was read on one picture.

    Attributes:
        lines: in reading order; that of a page whose text is mostly turned begins at its foot.
        width, height: of the picture, px.
        dropped: regions that gave no line, per reason; all counted.
        milliseconds: wall time per step.
    """

    lines: list[ReadLine]
    width: int
    height: int
    dropped: dict[str, int]
    milliseconds: dict[str, float]

    @property
    def text(self) -> str:
        """Rows of the page, one per line; parts of a row are two spaces apart."""
        rows: dict[int, list[str]] = {}
        for line in self.lines:
            rows.setdefault(line.row, []).append(line.text)
        return "\n".join("  ".join(parts) for parts in rows.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; points and times rounded to a tenth, scores to 4 digits."""
        return {
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "lines": [line.as_dict() for line in self.lines],
            "dropped": self.dropped,
            "milliseconds": {name: round(value, 1) for name, value in self.milliseconds.items()},
        }


class OcrReader:
    """Reads whole pictures with one exported detector and one exported recognizer.

    May be called from several threads at once; each engine serves as many as it has lanes.

    Args:
        detector: finds the lines.
        recognizer: reads them.
        orientation: of lines that may stand upside-down; the defaults look for them.
    """

    def __init__(
        self,
        detector: Detector,
        recognizer: Recognizer,
        orientation: OrientationConfig | None = None,
    ) -> None:
        self.detector = detector
        self.recognizer = TurningRecognizer(recognizer, orientation or OrientationConfig())
        self._read = itertools.count(1)

    @classmethod
    def load(
        cls,
        detector: Path | str,
        recognizer: Path | str,
        engine: EngineConfig | None = None,
        orientation: OrientationConfig | None = None,
    ) -> "OcrReader":
        """Load two exported models, each a folder made by ``scripts/export.py``.

        Raises:
            ArtifactError: a folder is incomplete, changed, or of the wrong kind.
            EngineError: the engine cannot load a model.
        """
        engine = engine or EngineConfig()
        det, rec = ExportedModel.load(Path(detector)), ExportedModel.load(Path(recognizer))
        finding, reading = open_pair(det, rec, engine)
        return cls(
            detector_of(det, finding.engine, engine),
            recognizer_of(rec, reading.engine, engine),
            orientation,
        )

    def read(
        self,
        picture: Picture,
        limits: ImageLimits | None = None,
        *,
        words: bool = False,
    ) -> PageText:
        """Read one picture.

        Args:
            picture: a file path, the bytes of a file, or pixels ``[H, W, 3]`` uint8 BGR.
            limits: for files and bytes.
            words: say where each word and character stands, too; see :mod:`ocr_pipeline.ops.spans`
                for how exactly.

        Raises:
            ImageError: the picture cannot be read or is outside the limits.
        """
        started = time.perf_counter()
        image = _pixels(picture, limits)
        decoded = time.perf_counter()
        found = self.detector.detect(image)
        detected = time.perf_counter()
        crops = [crop_line(image, polygon.to_read) for polygon in found.polygons]
        texts = self.recognizer.recognize(crops, emissions=words)
        recognised = time.perf_counter()
        steps = [self.recognizer.steps(crop) for crop in crops] if words else None
        lines = _page_lines(found.polygons, texts, steps)
        if next(self._read) % _TRIM_EVERY == 0:
            return_freed_memory()
        return PageText(
            lines=lines,
            width=image.shape[1],
            height=image.shape[0],
            dropped={
                "too_small": found.too_small,
                "low_score": found.low_score,
                "over_limit": found.over_limit,
                "no_text": len(texts) - len(lines),
            },
            milliseconds={
                "decode": 1000 * (decoded - started),
                "detect": 1000 * (detected - decoded),
                "recognize": 1000 * (recognised - detected),
                "total": 1000 * (time.perf_counter() - started),
            },
        )

    def read_many(
        self,
        pictures: Iterable[Picture],
        limits: ImageLimits | None = None,
        *,
        words: bool = False,
    ) -> Generator[PageText | ImageError, None, None]:
        """Read pictures with what one needs from the engines overlapping with the rest of others.

        A few pictures are taken ahead of the one whose text is awaited, so any number of them is
        read in bounded memory. Each text is what :meth:`read` gives.

        Args:
            pictures: as ``read`` takes them; asked for one after another.
            limits, words: see ``read``.

        Yields:
            One result a picture, in order: its text, or why it cannot be read.
        """

        def read(picture: Picture) -> PageText | ImageError:
            try:
                return self.read(picture, limits, words=words)
            except ImageError as error:
                return error

        workers = self.detector.engine.lanes + self.recognizer.engine.lanes
        waiting: deque[Future[PageText | ImageError]] = deque()
        with ThreadPoolExecutor(workers, "read") as pool:
            try:
                for picture in pictures:
                    waiting.append(pool.submit(read, picture))
                    while waiting and (len(waiting) > workers or waiting[0].done()):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _pixels(picture: Picture, limits: ImageLimits | None) -> BGRImage:
    if isinstance(picture, bytes):
        return decode_image(picture, limits)
    if isinstance(picture, Path | str):
        return read_image(Path(picture), limits)
    return picture


def _page_lines(
    polygons: Sequence[TextPolygon],
    texts: Sequence[OrientedLine],
    steps: Sequence[float] | None,
) -> list[ReadLine]:
    """The regions with text, in reading order.

    Args:
        polygons: all regions.
        texts: what was read on each.
        steps: time steps of each line; None: neither words nor characters are asked for.
    """
    kept = [index for index, text in enumerate(texts) if text.text]
    boxes = _upright([polygons[index].to_read for index in kept], [texts[index] for index in kept])
    lines = []
    for row, members in enumerate(reading_order(boxes)):
        for index in (kept[member] for member in members):
            text, polygon = texts[index], polygons[index]
            line = ReadLine(
                text.text,
                text.confidence,
                _half_turn(polygon.to_read) if text.turned else polygon.to_read,
                polygon.score,
                row,
                text.turned,
                outline=polygon.points,
            )
            lines.append(line if steps is None else _with_parts(line, text.emissions, steps[index]))
    return lines


def _upright(boxes: Sequence[Points], texts: Sequence[OrientedLine]) -> list[Points]:
    """The boxes as they stand once the page is turned so that most of its text is read level.

    Columns of characters from top to bottom count as lines that were turned: the right one is then
    the upper one.
    """
    lengths = [len(text.text) for text in texts]
    lying = sum(n for n, box in zip(lengths, boxes, strict=True) if n > 1 and is_vertical(box))
    turned = sum(n for n, text in zip(lengths, texts, strict=True) if text.turned)
    result = list(boxes)
    if 2 * lying > sum(lengths):
        result = [np.roll(box, -1, axis=0)[:, ::-1] * _QUARTER_TURN for box in result]
    if 2 * turned > sum(lengths):
        result = [-_half_turn(box) for box in result]
    return result


def _with_parts(line: ReadLine, emissions: Sequence[Emission], steps: float) -> ReadLine:
    words, characters = word_spans(emissions, steps), character_spans(emissions, steps)
    return replace(
        line, words=_parts(line.points, words), characters=_parts(line.points, characters)
    )


def _parts(points: Points, spans: Sequence[Span]) -> tuple[LinePart, ...]:
    places = line_parts(points, [(span.start, span.end) for span in spans])
    return tuple(
        LinePart(span.text, span.confidence, place)
        for span, place in zip(spans, places, strict=True)
    )


def _plain(points: Points) -> list[list[float]]:
    return [[round(float(value), 1) for value in point] for point in points]


def _half_turn(points: Points) -> Points:
    """The same corners, beginning at the opposite one."""
    return np.roll(points, 2, axis=0)
