"""What goes into the check of samples, and what comes out."""

from dataclasses import dataclass, field

from ocr_pipeline.artifacts.dataset import DetSample, RecSample
from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.config.image import DetImageSpec, ImageLimits, RecImageSpec
from ocr_pipeline.config.sources import Task
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess.faults import Finding


@dataclass(frozen=True)
class Rules:
    """What the training to come can use.

    Attributes:
        task: rec or det.
        image: input rule of the model.
        charset: of the recognizer; None for det.
        target: of the detector's training maps; None for rec, or where none is known.
        nrtr: the recognizer is trained with its NRTR decoder.
        limits: what a picture may be.
    """

    task: Task
    image: RecImageSpec | DetImageSpec
    charset: Charset | None = None
    target: DBTargetConfig | None = None
    nrtr: bool = False
    limits: ImageLimits = field(default_factory=ImageLimits)


@dataclass(frozen=True, slots=True)
class Checked:
    """A sample that can be trained on, and what is needed to compare it with others.

    Attributes:
        sample: as it goes into the dataset.
        place: where its label stands.
        pixels: 16 bytes, equal for equal decoded pixels.
        look: 64-bit perceptual hash.
        group: samples of one group stay in one part of a split; None: no group.
        thumb: grey thumbnail, row by row; about 0.5 kB for a line, 2 kB for a page.
        thumb_width: its columns.
    """

    sample: RecSample | DetSample
    place: str
    pixels: bytes
    look: int
    group: str | None
    thumb: bytes = b""
    thumb_width: int = 1


@dataclass
class CheckResult:
    """The check of one part.

    Attributes:
        kept: samples to train on, in the order of their labels.
        findings: in the order of their labels.
        total: labels that were looked at.
        fixed: labels that were changed and taken.
    """

    kept: list[Checked] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    total: int = 0
    fixed: int = 0

    @property
    def refused(self) -> int:
        """Labels that were left out."""
        return self.total - len(self.kept)
