"""What the checks of lines and of pages share: notes, and pictures decoded once."""

from collections.abc import Sequence
from dataclasses import dataclass

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.faults import Action
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import DataError, ImageError, ImageTooLargeError
from ocr_pipeline.ops.decode import BGRImage, decode_image
from ocr_pipeline.preprocess.check_pictures import Point, exif_orientation, grey_range, turn_points
from ocr_pipeline.preprocess.check_text import Note
from ocr_pipeline.preprocess.check_types import Checked
from ocr_pipeline.preprocess.faults import Finding
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.storage import MissingFileError, Root, is_remote

Outline = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One sample to check.

    Attributes:
        source: number of its source.
        raw: the label.
        early: what was found when labels were compared by name; None: nothing.
    """

    source: int
    raw: RawSample
    early: Note | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sample.

    Attributes:
        checked: None: refused.
        findings: in order.
    """

    checked: Checked | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Loaded:
    """A decoded picture.

    Attributes:
        picture: ``[H, W, 3]`` uint8 BGR, turned as EXIF says.
        orientation: that EXIF value, 1 to 8.
    """

    picture: BGRImage
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as it is seen, px."""
        return self.picture.shape[0], self.picture.shape[1]

    @property
    def raw_size(self) -> tuple[int, int]:
        """(height, width) as it is stored, px."""
        height, width = self.size
        return (width, height) if self.orientation >= 5 else (height, width)


class RefusedError(Exception):
    """The sample is left out; what there is to say was noted."""


class Notes:
    """Collects the findings of one sample.

    Args:
        item: the sample.
        split: part that it is of.
        config: policies.
    """

    def __init__(self, item: Item, split: Split, config: CheckConfig) -> None:
        self._item = item
        self._split = split
        self._config = config
        self.findings: list[Finding] = []

    def add(self, note: Note, *, region: int | None = None, points: Outline | None = None) -> None:
        """Note a fault; the sample goes on."""
        raw = self._item.raw
        # Messages on a missing or damaged file begin with its full path already.
        named = not raw.image or note.detail.split(": ", 1)[0].endswith(raw.image)
        self.findings.append(
            Finding(
                fault=note.fault,
                action=note.action,
                place=raw.place,
                image=raw.image,
                detail=note.detail if named else f"{raw.image}: {note.detail}",
                suggestion=note.suggestion,
                source=self._item.source,
                split=self._split,
                region=region,
                points=points,
                unknown=note.unknown,
            )
        )

    def sample(self, note: Note) -> None:
        """Note a fault of the whole sample.

        Raises:
            RefusedError: the sample is left out for it.
        """
        self.add(note)
        if note.action == "refuse":
            raise RefusedError

    def judge(self, fault: str, detail: str) -> Action:
        """As :meth:`sample`, with the action of the policy, which is returned."""
        action = self._config.action(fault)
        self.sample(Note(fault, action, detail))
        return action


class PictureReader:
    """Reads and decodes pictures; the one asked for last is at hand.

    Args:
        roots: of the sources, by number.
        limits: what a picture may be.
    """

    def __init__(self, roots: Sequence[Root], limits: ImageLimits) -> None:
        self._roots = roots
        self._limits = limits
        self._key: tuple[int, str] | None = None
        self._last: Loaded | Note | None = None

    def load(self, item: Item, notes: Notes) -> Loaded:
        """The picture of a sample.

        Raises:
            RefusedError: it is not there, or cannot be decoded; that is noted.
            DataError: the server that has it does not answer.
        """
        key = (item.source, item.raw.image)
        if key != self._key or self._last is None:
            self._key, self._last = key, None
            self._last = self._read(*key)
        if isinstance(self._last, Note):
            notes.sample(self._last)
            raise RefusedError
        return self._last

    def _read(self, source: int, image: str) -> Loaded | Note:
        root = self._roots[source]
        try:
            content = read_bounded(root, image, self._limits)
        except ImageTooLargeError as error:
            return Note("too_large_picture", "refuse", str(error))
        except MissingFileError as error:
            return _missing(root, image, str(error))
        except DataError as error:
            # A server that does not answer is no fault of one label.
            if is_remote(root.url):
                raise
            return Note("missing_picture", "refuse", str(error))
        try:
            picture = decode_image(content, self._limits)
        except ImageTooLargeError as error:
            return Note("too_large_picture", "refuse", str(error))
        except ImageError as error:
            return Note("unreadable_picture", "refuse", str(error))
        return Loaded(picture, exif_orientation(content))


def read_bounded(root: Root, image: str, limits: ImageLimits) -> bytes:
    """Content of a picture that is no larger than allowed; of a larger one nothing is read.

    Raises:
        ImageTooLargeError: more bytes than ``limits`` allow.
        DataError: as :meth:`Root.read`.
    """
    size = root.size(image)
    if size > limits.max_bytes:
        raise ImageTooLargeError(
            f"{size:,} bytes; allowed: {limits.max_bytes:,}. Make it smaller, or raise limits"
        )
    return root.read(image)


def _missing(root: Root, image: str, says: str) -> Note:
    """A picture that is not there; its path as it should be, where that can be told."""
    for other in dict.fromkeys((image.strip(), image.strip().replace("\\", "/"))):
        if other and other != image and is_there(root, other):
            detail = f"{says}; {other!r} is there: write it so"
            return Note("missing_picture", "refuse", detail, other)
    return Note("missing_picture", "refuse", says)


def is_there(root: Root, image: str) -> bool:
    """Whether a picture can be found; nothing of it is read."""
    try:
        root.size(image)
    except DataError:
        return False
    return True


def check_pixels(picture: BGRImage, notes: Notes, config: CheckConfig) -> None:
    """Look whether there is anything to see.

    Raises:
        RefusedError: there is not, and that is noted.
    """
    height, width = picture.shape[:2]
    if height < config.min_height or width < config.min_width:
        allowed = f"{config.min_width} x {config.min_height} px or more"
        notes.judge("tiny_picture", f"{width} x {height} px; allowed: {allowed}")
    contrast = grey_range(picture)
    if contrast <= config.blank_range:
        detail = (
            f"darkest and brightest grey differ by {contrast}; more than {config.blank_range} is "
            "expected where there is text; look at the picture"
        )
        notes.judge("blank_picture", detail)


def fit_points(
    raw: RawSample, outlines: Sequence[Outline], loaded: Loaded, notes: Notes, config: CheckConfig
) -> list[Outline]:
    """Points in px of the picture as it is seen, where they were drawn on another form of it.

    Raises:
        RefusedError: the sample is left out for that; it is noted.
    """
    points = [point for outline in outlines for point in outline]
    height, width = loaded.size
    seen = f"{width} x {height} px"
    if _drawn_unturned(raw, points, loaded, config):
        stored = f"{loaded.raw_size[1]} x {loaded.raw_size[0]} px"
        detail = (
            f"labelled on the picture as it is stored, {stored}; its EXIF orientation "
            f"{loaded.orientation} makes it {seen}: turn the points, or the picture"
        )
        if notes.judge("exif_disagreement", detail) == "fix":
            return [turn_points(o, loaded.orientation, loaded.raw_size) for o in outlines]
    elif raw.size is not None and raw.size != loaded.size:
        claimed_height, claimed_width = raw.size
        detail = (
            f"the label claims {claimed_width} x {claimed_height} px, the picture has {seen}; "
            "label this picture, or put back the one that was labelled"
        )
        if notes.judge("wrong_size", detail) == "fix" and min(raw.size) > 0:
            across, down = width / claimed_width, height / claimed_height
            return [tuple((x * across, y * down) for x, y in o) for o in outlines]
    return list(outlines)


def _drawn_unturned(
    raw: RawSample, points: Sequence[Point], loaded: Loaded, config: CheckConfig
) -> bool:
    """Whether size or points belong to the picture before its EXIF rotation by 90 degrees."""
    if loaded.orientation < 5 or loaded.size == loaded.raw_size:
        return False
    if raw.size is not None:
        return raw.size == loaded.raw_size
    return not _all_inside(points, loaded.size, config) and _all_inside(
        points, loaded.raw_size, config
    )


def _all_inside(points: Sequence[Point], size: tuple[int, int], config: CheckConfig) -> bool:
    slack = config.outside_px
    height, width = size
    return all(-slack <= x <= width + slack and -slack <= y <= height + slack for x, y in points)
