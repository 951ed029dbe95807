"""From the labelled regions of one picture to samples of a task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocr_pipeline.config.sources import Task
from ocr_pipeline.errors import LabelError
from ocr_pipeline.ops.parse import NotUtf8Error, Points
from ocr_pipeline.preprocess.sources.raw import RawRegion, RawSample


@dataclass(frozen=True, slots=True)
class Labelled:
    """One region of a picture.

    Attributes:
        place: where it stands, for messages.
        points: (x, y) px, in the file's order.
        text: transcription; None where the label has none, "" where it is left empty.
        ignore: not to be trained on.
    """

    place: str
    points: Points
    text: str | None
    ignore: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """One region that cannot be parsed.

    Attributes:
        place: where it stands, for messages.
        error: what is wrong with it.
    """

    place: str
    error: LabelError


def unparsed(place: str, error: LabelError, *, image: str = "", more: str = "") -> RawSample:
    """A sample that only says why a label cannot be parsed."""
    name = "not_utf8" if isinstance(error, NotUtf8Error) else "format"
    return RawSample(place, image, fault=(name, f"{error}{more}"))


def picture_samples(
    task: Task,
    place: str,
    image: str,
    regions: Sequence[Labelled | Broken],
    *,
    size: tuple[int, int] | None = None,
) -> Iterator[RawSample]:
    """Yield one sample of the picture (det), or one a region with text (rec).

    A picture with a broken region has no use for a detector: it would learn that no text is there.
    """
    if task == "det":
        yield _whole_picture(place, image, regions, size)
        return
    for region in regions:
        if isinstance(region, Broken):
            yield unparsed(region.place, region.error, image=image)
        elif region.text is not None and not region.ignore:
            yield RawSample(region.place, image, region.text, crop=region.points, size=size)


def _whole_picture(
    place: str,
    image: str,
    regions: Sequence[Labelled | Broken],
    size: tuple[int, int] | None,
) -> RawSample:
    broken = [region for region in regions if isinstance(region, Broken)]
    if broken:
        more = f" (and {len(broken) - 1} more regions)" if len(broken) > 1 else ""
        return unparsed(broken[0].place, broken[0].error, image=image, more=more)
    sound = (region for region in regions if isinstance(region, Labelled))
    found = tuple(RawRegion(r.points, r.text or "", r.ignore) for r in sound)
    return RawSample(place, image, regions=found, size=size)
