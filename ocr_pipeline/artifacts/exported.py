"""After ``export``: a frozen model, its rules, its figures, and proof that it says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ocr_pipeline.artifacts.folder import Card, read_card
from ocr_pipeline.artifacts.pictures import load_pictures
from ocr_pipeline.config.base import Config
from ocr_pipeline.config.model import ModelSpec
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage

CARD_NAME = "exported.json"
CHARSET_NAME = "charset.txt"
GOLDEN_NAME = "golden"


class GoldenLine(Config):
    """What the checkpoint reads on one golden picture of a line."""

    text: str
    confidence: float


class GoldenBoxes(Config):
    """What the checkpoint finds on one golden page."""

    points: list[list[tuple[float, float]]]
    """Polygons, (x, y) px."""
    scores: list[float]


class Drop(Config):
    """What a backend loses on the validation part; percent and percentage points."""

    metric: Literal["exact", "hmean"]
    """Lines that are read without a fault after normalisation; or regions found (ICDAR)."""
    samples: int
    """How many were compared."""
    reference: float
    """Of the checkpoint's own numbers."""
    value: float
    """Of this backend."""
    low: float
    high: float
    """Ends of the 95 % interval of (value - reference), bootstrap over pairs."""
    differing: int
    """Samples with another text, or other boxes."""


class Parity(Config):
    """How far a backend is from the checkpoint on the golden pictures."""

    max_abs_diff: float
    """Largest difference of a probability."""
    tolerance: float
    """The limit it was held to."""
    mean_abs_diff: float
    """Mean over time steps (of the class that differs most) or pixels."""
    mean_tolerance: float
    """The limit it was held to."""
    same_result: bool
    """Every text (recognizer) or every box (detector) is the same; how nearly, see
    :data:`~ocr_pipeline.inference.load.CLOSENESS`."""
    pictures: int
    """How many golden pictures were compared."""
    drop: Drop | None = None
    """On the validation part of a dataset, where one was given."""


class ExportedCard(Card):
    """The card of an exported model."""

    format: Literal[2] = 2
    name: str
    """Name of the model, for logs and answers of the service."""
    model: ModelSpec
    """Network, input and output rules: all that the service needs to know."""
    backends: dict[str, Parity]
    """Name of each variant, e.g. openvino-bf16, to its parity figures."""
    golden: list[GoldenLine] | list[GoldenBoxes]
    """The checkpoint's answer on each golden picture."""
    checkpoint: str
    """sha256 of the checkpoint's weights."""
    started_from: str
    """The released model at the beginning."""
    metrics: dict[str, float]
    """Of the checkpoint, on its validation part."""


@dataclass(frozen=True)
class ExportedModel:
    """An exported-model artefact on disk."""

    folder: Path
    card: ExportedCard

    @classmethod
    def load(cls, folder: Path) -> "ExportedModel":
        """Read and check; see :func:`~ocr_pipeline.artifacts.folder.read_card`."""
        return cls(folder, read_card(folder, CARD_NAME, ExportedCard, made_by="scripts/export.py"))

    def charset(self) -> Charset | None:
        """The character set; None for a detector."""
        has_one = CHARSET_NAME in self.card.files
        return Charset.load(self.folder / CHARSET_NAME) if has_one else None

    def golden(self) -> Sequence[BGRImage]:
        """The golden pictures, in the order of ``card.golden``."""
        return load_pictures(self.folder / GOLDEN_NAME)
