"""Picture to text: detect, cut out, recognise, put into reading order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.orientation import OrientationConfig
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.load import load_detector, load_recognizer
from ocr_pipeline.inference.orientation import OrientedLine, TurningRecognizer
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.db_decode import TextPolygon
from ocr_pipeline.ops.decode import BGRImage, decode_image, read_image
from ocr_pipeline.ops.geometry import Points, crop_line, reading_order


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
    """

    text: str
    confidence: float
    points: Points
    score: float
    row: int
    turned: bool = False


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
            "lines": [
                {
                    "text": line.text,
                    "confidence": round(line.confidence, 4),
                    "points": [[round(float(v), 1) for v in point] for point in line.points],
                    "score": round(line.score, 4),
                    "row": line.row,
                    "turned": line.turned,
                }
                for line in self.lines
            ],
            "dropped": self.dropped,
            "milliseconds": {name: round(value, 1) for name, value in self.milliseconds.items()},
        }


class OcrReader:
    """Reads whole pictures with one exported detector and one exported recognizer.

    Calls from several threads are served one after another.

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
        return cls(
            load_detector(ExportedModel.load(Path(detector)), engine),
            load_recognizer(ExportedModel.load(Path(recognizer)), engine),
            orientation,
        )

    def read(
        self, picture: BGRImage | Path | str | bytes, limits: ImageLimits | None = None
    ) -> PageText:
        """Read one picture.

        Args:
            picture: a file path, the bytes of a file, or pixels ``[H, W, 3]`` uint8 BGR.
            limits: for files and bytes.

        Raises:
            ImageError: the picture cannot be read or is outside the limits.
        """
        started = time.perf_counter()
        if isinstance(picture, bytes):
            image = decode_image(picture, limits)
        elif isinstance(picture, Path | str):
            image = read_image(Path(picture), limits)
        else:
            image = picture
        decoded = time.perf_counter()
        found = self.detector.detect(image)
        detected = time.perf_counter()
        crops = [crop_line(image, polygon.points) for polygon in found.polygons]
        texts = self.recognizer.recognize(crops)
        recognised = time.perf_counter()
        lines = _page_lines(found.polygons, texts)
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


def _page_lines(polygons: Sequence[TextPolygon], texts: Sequence[OrientedLine]) -> list[ReadLine]:
    """The regions with text, in reading order."""
    kept = [(p, t) for p, t in zip(polygons, texts, strict=True) if t.text]
    characters = sum(len(text.text) for _, text in kept)
    on_its_head = 2 * sum(len(text.text) for _, text in kept if text.turned) > characters
    # Minus: the whole page turned by 180 degrees about its origin, so that its text is upright.
    rows = reading_order([-_half_turn(p.points) if on_its_head else p.points for p, _ in kept])
    lines = []
    for row, members in enumerate(rows):
        for member in members:
            polygon, text = kept[member]
            points = _half_turn(polygon.points) if text.turned else polygon.points
            lines.append(
                ReadLine(text.text, text.confidence, points, polygon.score, row, text.turned)
            )
    return lines


def _half_turn(points: Points) -> Points:
    """The same corners, beginning at the opposite one."""
    return np.roll(points, 2, axis=0)
