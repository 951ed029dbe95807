"""The check of one text line, with the encoder and the decoder of the training."""

import unicodedata

from ocr_pipeline.artifacts.dataset import RecSample, cut_out
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import steps_needed
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import rec_width
from ocr_pipeline.preprocess.check_one import (
    Item,
    Loaded,
    Notes,
    Outline,
    PictureReader,
    RefusedError,
    check_pixels,
    fit_points,
)
from ocr_pipeline.preprocess.check_pictures import fingerprints
from ocr_pipeline.preprocess.check_regions import check_outline
from ocr_pipeline.preprocess.check_text import TextCheck, check_text
from ocr_pipeline.preprocess.check_types import Checked

_VERTICAL = 1.5
"""The reader turns a line at least so many times as high as wide (``ops.geometry``)."""
_NARROW = 0.5
"""Width of a Latin character, in heights of the line; a Chinese one has 1."""


class LineChecker:
    """Checks text lines.

    Args:
        reader: gives the pictures.
        charset: encodes the labels.
        image: input rule of the recognizer.
        nrtr: it is trained with its NRTR decoder.
        config: policies and thresholds.
    """

    def __init__(
        self,
        reader: PictureReader,
        charset: Charset,
        image: RecImageSpec,
        *,
        nrtr: bool,
        config: CheckConfig,
    ) -> None:
        self._reader = reader
        self._charset = charset
        self._image = image
        self._nrtr = nrtr
        self._config = config

    def check(self, item: Item, notes: Notes) -> Checked:
        """One line: its picture, its label, and both together.

        Raises:
            RefusedError: the line is left out; why is noted.
        """
        loaded = self._reader.load(item, notes)
        label = check_text(item.raw.text or "", self._charset, self._config)
        for note in label.notes:
            notes.sample(note)
        if label.text is None:
            raise RefusedError
        if loaded.orientation != 1 and item.raw.crop is None:
            self._note_turn(item, loaded, notes)
        crop = self._crop(item, loaded, notes)
        line = loaded.picture if crop is None else cut_out(loaded.picture, crop)
        check_pixels(line, notes, self._config)
        if crop is None and len(label.text) > 1 and _is_vertical(line):
            crop = self._turned(line, label.text, notes)
            line = line if crop is None else cut_out(loaded.picture, crop)
        self._check_length(line, label, notes)
        height, width = line.shape[:2]
        prints = fingerprints(line, "rec")
        sample = RecSample(item.raw.image, label.text, height, width, item.source, crop)
        return Checked(
            sample,
            item.raw.place,
            prints.pixels,
            prints.look,
            item.raw.group,
            prints.thumb,
            prints.thumb_width,
        )

    def _note_turn(self, item: Item, loaded: Loaded, notes: Notes) -> None:
        height, width = loaded.size
        if item.raw.size is not None and item.raw.size != loaded.size:
            fit_points(item.raw, (), loaded, notes, self._config)
            return
        detail = (
            f"EXIF orientation {loaded.orientation} turns it to {width} x {height} px; look "
            "whether its text is upright then"
        )
        notes.judge("exif_turned", detail)

    def _crop(self, item: Item, loaded: Loaded, notes: Notes) -> Outline | None:
        if item.raw.crop is None:
            return None
        (points,) = fit_points(item.raw, (item.raw.crop,), loaded, notes, self._config)
        outline = check_outline(points, loaded.size, self._config, turned_is_meant=True)
        for note in outline.notes:
            notes.add(note, points=points)
        if outline.refused:
            raise RefusedError
        return outline.points

    def _turned(self, line: BGRImage, text: str, notes: Notes) -> Outline | None:
        """Corners that turn the line as the reader does, where the policy is to fix it."""
        height, width = line.shape[:2]
        detail = (
            f"{width} x {height} px with label {text!r}: the reader turns a line at least "
            f"{_VERTICAL} times as high as wide counter-clockwise; the training does not, unless "
            "the policy of vertical_line is fix"
        )
        if notes.judge("vertical_line", detail) != "fix":
            return None
        # Corners lie on the middles of pixels: so that none is resampled.
        left, right = -1.0, width - 1.0
        return ((right, 0.0), (right, float(height)), (left, float(height)), (left, 0.0))

    def _check_length(self, line: BGRImage, label: TextCheck, notes: Notes) -> None:
        text = label.text or ""
        height, width = line.shape[:2]
        steps = rec_width(height, width, self._image)[1] // self._image.time_stride
        needed = steps_needed(label.indices)
        if needed > steps:
            detail = (
                f"label of {len(text)} characters needs {needed} time steps, the network emits "
                f"{steps} for {width} x {height} px; cut the line, or check that the label belongs "
                "to this picture"
            )
            notes.judge("label_too_long", detail)
        longest = self._config.guide_max_length - 2
        if self._nrtr and len(label.indices) > longest:
            detail = (
                f"label of {len(label.indices)} characters; the released NRTR decoder was trained "
                f"on {longest} at most: nothing to do, or cut the line"
            )
            notes.judge("too_long_for_guide", detail)
        if not _is_vertical(line):
            self._check_shape(width / height, text, notes)

    def _check_shape(self, aspect: float, text: str, notes: Notes) -> None:
        expected = sum(_width(char) for char in text)
        if self._config.crowded * expected <= aspect <= self._config.sparse * expected:
            return
        much = "many" if aspect < expected else "few"
        detail = (
            f"label {text!r} has very {much} characters for a line {aspect:.1f} times as wide as "
            f"high ({expected:.1f} would be usual); look whether it belongs to this picture"
        )
        notes.judge("implausible_length", detail)


def _is_vertical(line: BGRImage) -> bool:
    height, width = line.shape[:2]
    return bool(height >= _VERTICAL * width)


def _width(char: str) -> float:
    """Usual width of a character, in heights of its line."""
    return 1.0 if unicodedata.east_asian_width(char) in "WF" else _NARROW
