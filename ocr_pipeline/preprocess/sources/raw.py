"""What every label format is turned into, before anything is checked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawRegion:
    """One labelled region as its file has it; nothing is checked yet.

    Attributes:
        points: (x, y) px, in the file's order and number; may be degenerate.
        text: transcription; empty where the format has none.
        ignore: the label says that it shall not be trained on (``*``, ``###``, ``difficult``).
    """

    points: tuple[tuple[float, float], ...]
    text: str
    ignore: bool


@dataclass(frozen=True, slots=True)
class RawSample:
    """One label as its file has it: a line (rec) or a picture with its regions (det).

    Attributes:
        place: where it stands, for messages: ``path:line``, or ``path#key``.
        image: path below the source's image root; empty where the label names none.
        text: label of a line; None for det.
        regions: of a picture; None for rec.
        crop: for a line that is part of a picture: its region's points; None: the whole picture.
        size: (height, width) px that the label file claims for the picture; None: it claims none.
        group: what the user's group expression found; None: nothing.
        fault: (name of the fault, one sentence) where the label could not be parsed.
    """

    place: str
    image: str
    text: str | None = None
    regions: tuple[RawRegion, ...] | None = None
    crop: tuple[tuple[float, float], ...] | None = None
    size: tuple[int, int] | None = None
    group: str | None = None
    fault: tuple[str, str] | None = None
