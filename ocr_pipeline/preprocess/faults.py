"""What the check says: findings, each of one of the faults of ``config/faults.py``."""

from dataclasses import dataclass

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.faults import FAULT_BY_NAME, FAULTS, Action, Fault

__all__ = ["FAULTS", "FAULT_BY_NAME", "Action", "Fault", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault at one place.

    Attributes:
        fault: name of its kind.
        action: what was done.
        place: label file and line or key; empty where it concerns a whole part.
        image: picture as the label names it; empty where there is none.
        detail: one sentence: thing, value, what is allowed, next step.
        suggestion: what the label probably should be; None: nothing to suggest.
        source: number of the source.
        split: part of the dataset.
        region: number of the region in its picture, from 0; None: the whole sample.
        points: outline to show, (x, y) px of the upright picture; None: no place in the picture.
        unknown: characters outside the character set.
    """

    fault: str
    action: Action
    place: str
    image: str
    detail: str
    suggestion: str | None = None
    source: int = 0
    split: Split = "train"
    region: int | None = None
    points: tuple[tuple[float, float], ...] | None = None
    unknown: tuple[str, ...] = ()
