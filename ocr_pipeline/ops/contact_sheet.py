"""Contact sheets: many samples with their labels on one picture, to be looked at."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from ocr_pipeline.ops.decode import BGRImage

SHEET_WIDTH = 1600
"""Of every sheet, px."""
NO_FONT = r"No font with Chinese characters was found: \u4e2d and the like stand for characters."

_MARGIN = 28
_GAP = 22
_PAPER = (255, 255, 255)
_INK = (28, 32, 38)
_FAINT = (132, 138, 146)
_RULE = (224, 227, 231)
_REGION = (22, 140, 80)
_IGNORED = (128, 128, 136)
_TARGET = (0, 200, 90)
_BAND = (255, 120, 0)
_TITLE_SIZE, _TEXT_SIZE, _LIST_SIZE, _SMALL_SIZE, _TAG_SIZE = 22, 20, 15, 13, 11

_LINE_HEIGHT = 56
"""Height that a text line's picture is drawn at where its width allows, px."""
_TALL_HEIGHT = 168
"""The same for one that is taller than wide."""
_WIDE_PANEL = 700
"""A panel of this width is wide enough, however large its picture, px."""
_PANEL_SHAPE = 1.42
"""Height of a panel by its width, at most: an upright page of paper fills it."""
_SMALL_REGION = 22
"""Regions lower than this have thin outlines, px as drawn."""
_MAX_ENLARGED = 4.0
_DASH = 6
"""Of an ignored region's outline, and the space after it, px."""
_FAR = 4 * SHEET_WIDTH
"""Points further outside are pulled in: cv2 counts in small numbers, and dashes take time, px."""
_SHIFT = 4
"""Fractional bits of cv2's coordinates."""
_FRAMED = 4
"""A lower or narrower picture has no frame, which would hide it, px."""
_LISTED = 8
"""So many regions of a panel have their text listed; the rest is counted."""


@dataclass(frozen=True)
class RecCell:
    """One text line on a sheet.

    Attributes:
        images: at least one, ``[H, W, 3]`` uint8 BGR: as labelled, then as often as wanted as
            augmented; they stand below each other.
        text: the label.
        number: of the sample in its split.
        note: a few words beside the number, e.g. the source; may be empty.
    """

    images: tuple[BGRImage, ...]
    text: str
    number: int
    note: str = ""


class LabelledRegion(Protocol):
    """What is drawn of a region: a dataset's ``Region`` is one."""

    @property
    def points(self) -> ArrayLike:
        """``[P, 2]`` (x, y) px of the picture, P at least 3."""

    @property
    def text(self) -> str: ...

    @property
    def ignore(self) -> bool: ...


@dataclass(frozen=True)
class DetPanel:
    """One picture of a detection sample.

    Attributes:
        image: ``[H, W, 3]`` uint8 BGR.
        regions: in px of ``image``; empty for a picture of targets.
        name: what this picture is ("as labelled", "augmented"); may be empty.
    """

    image: BGRImage
    regions: Sequence[LabelledRegion] = ()
    name: str = ""


@dataclass(frozen=True)
class DetCell:
    """One detection sample on a sheet: its panels stand side by side.

    Attributes:
        panels: at least one; all cells of a sheet have as many.
        number: of the sample in its split.
        note: a few words beside the number, e.g. the picture's name; may be empty.
    """

    panels: tuple[DetPanel, ...]
    number: int
    note: str = ""


def rec_sheet(items: Sequence[RecCell], font: Path | None, *, title: str = "") -> BGRImage:
    """Text lines in a grid, each with its label below; long labels are wrapped, then cut with "…".

    Args:
        items: in the order in which they are shown, row by row.
        font: with the characters of the labels; None: labels are written in ASCII with escapes,
            and the sheet says so.
        title: first line of the sheet; may be empty.

    Returns:
        ``[H, 1600, 3]`` uint8 BGR.

    Raises:
        ValueError: a cell without a picture.
    """
    for item in items:
        if not item.images:
            raise ValueError(f"sample {item.number}: no picture to show; give at least one")
    pen = _Pen(font)
    columns = _rec_columns(items)
    width = _cell_width(columns)
    return _sheet([_rec_cell(item, pen, width) for item in items], columns, pen, title)


def det_sheet(items: Sequence[DetCell], font: Path | None, *, title: str = "") -> BGRImage:
    """Pictures with their regions in a grid, the regions' texts listed below by number.

    A region's outline is green with a dot on its first point; an ignored one is grey and dashed.

    Args:
        items: in the order in which they are shown, row by row.
        font: see :func:`rec_sheet`.
        title: first line of the sheet; may be empty.

    Returns:
        ``[H, 1600, 3]`` uint8 BGR.

    Raises:
        ValueError: cells without a panel, or with unequal numbers of them.
    """
    counts = {len(item.panels) for item in items}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(
            f"cells with {' and '.join(map(str, sorted(counts)))} panels on one sheet; give every "
            "cell as many, at least one"
        )
    columns = _det_columns(items, max(counts, default=1))
    pen = _Pen(font)
    width = _cell_width(columns)
    return _sheet([_det_cell(item, pen, width) for item in items], columns, pen, title)


def target_overlay(
    image: BGRImage,
    shrink_map: NDArray[np.float32],
    threshold_map: NDArray[np.float32],
    shrink_mask: NDArray[np.float32] | None = None,
) -> BGRImage:
    """Show on a picture what the detector shall say: inset regions green, threshold bands orange.

    Args:
        image: ``[H, W, 3]`` uint8 BGR.
        shrink_map: ``[h, w]`` in [0, 1]; drawn over the whole picture, whatever its size.
        threshold_map: ``[h, w]``; orange from its smallest to its largest value.
        shrink_mask: ``[h, w]``; where it is 0 (the loss does not look) the picture is faded.

    Returns:
        ``[H, W, 3]`` uint8 BGR, a new picture.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    drawn = (0.55 * grey + 0.45 * image).astype(np.float32)
    if shrink_mask is not None:
        seen = _fitted(shrink_mask, image)[:, :, None]
        drawn = drawn * seen + (0.25 * drawn + 150) * (1 - seen)
    band = _fitted(threshold_map, image)
    span = float(band.max() - band.min())
    if span > 0:
        drawn = _tinted(drawn, 0.75 * (band - band.min()) / span, _BAND)
    drawn = _tinted(drawn, 0.6 * np.clip(_fitted(shrink_map, image), 0, 1), _TARGET)
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def _fitted(values: NDArray[np.float32], image: BGRImage) -> NDArray[np.float32]:
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_NEAREST))


def _tinted(
    image: NDArray[np.float32], share: NDArray[np.float32], rgb: tuple[int, int, int]
) -> NDArray[np.float32]:
    colour = np.array(rgb[::-1], np.float32)
    return image + share[:, :, None] * (colour - image)


# --- writing


class _Pen:
    """Writes with one font in several sizes."""

    def __init__(self, font: Path | None) -> None:
        self.has_font = font is not None
        self._font = font
        self._faces: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}
        self._rest = "…" if self.has_font else "..."

    def face(self, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        if size not in self._faces:
            self._faces[size] = (
                ImageFont.load_default(size)
                if self._font is None
                else ImageFont.truetype(str(self._font), size)
            )
        return self._faces[size]

    def lines(self, text: str, size: int, width: float, count: int) -> list[str]:
        """Break a text into at most ``count`` lines no wider than ``width`` px."""
        pieces = self._pieces(text)
        lines: list[str] = []
        while pieces and len(lines) < count:
            taken = self._how_many(pieces, size, width)
            if taken < len(pieces) and len(lines) == count - 1:
                room = width - self.length(self._rest, size)
                lines.append("".join(pieces[: self._how_many(pieces, size, room)]) + self._rest)
                break
            lines.append("".join(pieces[:taken]))
            pieces = pieces[taken:]
        return lines or [""]

    def length(self, text: str, size: int) -> float:
        return float(self.face(size).getlength(text))

    def height(self, size: int) -> int:
        """Of one line, px."""
        return round(size * 1.4)

    def write(
        self,
        draw: ImageDraw.ImageDraw,
        at: tuple[float, float],
        text: str,
        size: int,
        colour: tuple[int, int, int],
    ) -> None:
        """Write one line whose top left corner is ``at``."""
        middle = (at[0], at[1] + self.height(size) / 2)
        draw.text(middle, text, colour, self.face(size), anchor="lm")

    def _pieces(self, text: str) -> list[str]:
        """Characters as they are written; what is never torn apart is one piece."""
        return [
            character
            if self._can_write(character)
            else character.encode("unicode_escape").decode("ascii")
            for character in text
        ]

    def _can_write(self, character: str) -> bool:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            return False
        return self.has_font or character.isascii()

    def _how_many(self, pieces: Sequence[str], size: int, width: float) -> int:
        low, high = 1, len(pieces)  # one piece at least, or it would never end
        while low < high:
            middle = (low + high + 1) // 2
            if self.length("".join(pieces[:middle]), size) <= width:
                low = middle
            else:
                high = middle - 1
        return low


# --- laying out


def _cell_width(columns: int) -> int:
    return (SHEET_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) // columns


def _sheet(cells: Sequence[Image.Image], columns: int, pen: _Pen, title: str) -> BGRImage:
    """Put cells of one width into rows, below a title."""
    heads = [(title, _TITLE_SIZE, _INK)] if title else []
    heads += [] if pen.has_font else [(NO_FONT, _LIST_SIZE, _FAINT)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    top = _MARGIN + sum(pen.height(size) for _, size, _ in heads) + (_GAP if heads else 0)
    height = top + sum(max(cell.height for cell in row) + _GAP for row in rows) + _MARGIN - _GAP
    sheet = Image.new("RGB", (SHEET_WIDTH, max(height, top + _MARGIN)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    at = _MARGIN
    for text, size, colour in heads:
        (line,) = pen.lines(text, size, SHEET_WIDTH - 2 * _MARGIN, 1)
        pen.write(draw, (_MARGIN, at), line, size, colour)
        at += pen.height(size)
    for row in rows:
        rule = top - _GAP // 2
        draw.line([(_MARGIN, rule), (SHEET_WIDTH - _MARGIN, rule)], _RULE, 1)
        for column, cell in enumerate(row):
            sheet.paste(cell, (_MARGIN + column * (_cell_width(columns) + _GAP), top))
        top += max(cell.height for cell in row) + _GAP
    return np.ascontiguousarray(np.asarray(sheet)[:, :, ::-1])


def _rec_columns(items: Sequence[RecCell]) -> int:
    """As many as most of the lines have room in."""
    if not items:
        return 1
    ratios = [item.images[0].shape[1] / item.images[0].shape[0] for item in items]
    needed = float(np.percentile(ratios, 80)) * _LINE_HEIGHT
    return next((columns for columns in (6, 4, 3, 2) if needed <= _cell_width(columns)), 1)


def _rec_cell(item: RecCell, pen: _Pen, width: int) -> Image.Image:
    pictures = [_shown(image, width, _line_height(image)) for image in item.images]
    lines = pen.lines(item.text, _TEXT_SIZE, width, 2)
    small, text = pen.height(_SMALL_SIZE), pen.height(_TEXT_SIZE)
    height = small + sum(picture.height + 6 for picture in pictures) + text * len(lines)
    cell = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(cell)
    _write_number(draw, item.number, item.note, pen, width)
    at = small
    for picture in pictures:
        _paste(cell, picture, 0, at)
        at += picture.height + 6
    for line in lines:
        pen.write(draw, (0, at), line, _TEXT_SIZE, _INK)
        at += text
    return cell


def _line_height(image: BGRImage) -> int:
    return _TALL_HEIGHT if image.shape[0] > 1.5 * image.shape[1] else _LINE_HEIGHT


def _det_columns(items: Sequence[DetCell], panels: int) -> int:
    """As many as leave the panels near the width of most pictures, or wide enough to read."""
    if not items:
        return 1
    usual = float(np.median([item.panels[0].image.shape[1] for item in items]))
    wanted = min(0.8 * usual, _WIDE_PANEL)
    most = max(1, 4 // panels)
    fitting = (n for n in range(most, 1, -1) if _panel_width(_cell_width(n), panels) >= wanted)
    return next(fitting, 1)


def _panel_width(width: int, panels: int) -> int:
    return (width - _GAP // 2 * (panels - 1)) // panels


def _det_cell(item: DetCell, pen: _Pen, width: int) -> Image.Image:
    panel_width = _panel_width(width, len(item.panels))
    panels = [_det_panel(panel, pen, panel_width) for panel in item.panels]
    small = pen.height(_SMALL_SIZE)
    cell = Image.new("RGB", (width, small + max(panel.height for panel in panels)), _PAPER)
    _write_number(ImageDraw.Draw(cell), item.number, item.note, pen, width)
    for number, panel in enumerate(panels):
        cell.paste(panel, (number * (panel_width + _GAP // 2), small))
    return cell


def _det_panel(panel: DetPanel, pen: _Pen, width: int) -> Image.Image:
    picture = _shown(panel.image, width, round(_PANEL_SHAPE * width))
    scale = np.array([picture.width, picture.height]) / panel.image.shape[1::-1]
    _draw_regions(picture, panel.regions, scale, pen)
    listed = _list_of(panel.regions, pen, width)
    name = pen.height(_SMALL_SIZE) if panel.name else 0
    line = pen.height(_LIST_SIZE)
    whole = Image.new("RGB", (width, picture.height + name + 4 + line * len(listed)), _PAPER)
    draw = ImageDraw.Draw(whole)
    _paste(whole, picture, 0, 0)
    if panel.name:
        pen.write(draw, (0, picture.height + 2), panel.name, _SMALL_SIZE, _FAINT)
    for number, (text, colour) in enumerate(listed):
        at = picture.height + name + 4 + number * line
        pen.write(draw, (0, at), text, _LIST_SIZE, colour)
    return whole


def _list_of(
    regions: Sequence[LabelledRegion], pen: _Pen, width: int
) -> list[tuple[str, tuple[int, int, int]]]:
    listed = []
    for number, region in enumerate(regions[:_LISTED], start=1):
        text = f"{number}  {region.text}" + ("  (ignored)" if region.ignore else "")
        colour = _IGNORED if region.ignore else _INK
        listed += [(line, colour) for line in pen.lines(text, _LIST_SIZE, width, 1)]
    if len(regions) > _LISTED:
        listed.append((f"and {len(regions) - _LISTED} more", _FAINT))
    return listed


def _write_number(draw: ImageDraw.ImageDraw, number: int, note: str, pen: _Pen, width: int) -> None:
    (line,) = pen.lines(f"#{number}  {note}".rstrip(), _SMALL_SIZE, width, 1)
    pen.write(draw, (0, -2), line, _SMALL_SIZE, _FAINT)


# --- pictures


def _shown(image: BGRImage, width: int, height: int) -> Image.Image:
    """Fit a picture into a box, keeping its shape; enlarged fourfold at most."""
    scale = min(width / image.shape[1], height / image.shape[0], _MAX_ENLARGED)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return Image.fromarray(
        np.ascontiguousarray(cv2.resize(image, size, interpolation=how)[:, :, ::-1])
    )


def _paste(whole: Image.Image, picture: Image.Image, x: int, y: int) -> None:
    whole.paste(picture, (x, y))
    if min(picture.size) < _FRAMED:
        return
    corner = (x + picture.width - 1, y + picture.height - 1)
    ImageDraw.Draw(whole).rectangle([(x, y), corner], outline=_RULE)


def _draw_regions(
    picture: Image.Image, regions: Sequence[LabelledRegion], scale: NDArray[np.float64], pen: _Pen
) -> None:
    canvas = np.array(picture)
    outlines = [
        np.clip(np.asarray(region.points, np.float64) * scale, -_FAR, _FAR) for region in regions
    ]
    for region, outline in zip(regions, outlines, strict=True):
        colour = _IGNORED if region.ignore else _REGION
        thick = 1 if np.ptp(outline, axis=0).min() < _SMALL_REGION else 2
        for start, end in _strokes(outline, dashed=region.ignore):
            cv2.line(canvas, _fixed(start), _fixed(end), colour, thick, cv2.LINE_AA, _SHIFT)
        cv2.circle(
            canvas, _fixed(outline[0]), (thick + 1) << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT
        )
    picture.paste(Image.fromarray(canvas))
    boxes = np.array([[*line.min(axis=0), *line.max(axis=0)] for line in outlines]).reshape(-1, 4)
    for number, (region, outline) in enumerate(zip(regions, outlines, strict=True), start=1):
        _tag(picture, number, outline, boxes, _IGNORED if region.ignore else _REGION, pen)


def _strokes(
    outline: NDArray[np.float64], *, dashed: bool
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The closed outline as strokes from point to point, whole edges or dashes of them."""
    strokes = []
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        length = float(np.hypot(*(end - start)))
        count = max(1, round(length / (2 * _DASH))) if dashed else 1
        share = 0.5 if dashed and count > 1 else 1.0
        step = (end - start) / count
        strokes += [(start + i * step, start + (i + share) * step) for i in range(count)]
    return strokes


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """cv2's fixed-point coordinates."""
    x, y = np.rint(point * (1 << _SHIFT)).astype(int).tolist()
    return x, y


def _tag(
    picture: Image.Image,
    number: int,
    outline: NDArray[np.float64],
    boxes: NDArray[np.float64],
    colour: tuple[int, int, int],
    pen: _Pen,
) -> None:
    """Write a region's number beside it, where it hides least of all regions.

    Args:
        picture: written on.
        number: of the region.
        outline: its points, ``[P, 2]`` px.
        boxes: of all regions, ``[R, 4]`` px: left, top, right, bottom.
        colour: of the tag.
        pen: writes it.
    """
    width, height = round(pen.length(str(number), _TAG_SIZE)) + 6, _TAG_SIZE + 3
    inside = np.array([max(0, picture.width - width), max(0, picture.height - height)])
    places = [np.clip(p, 0, inside) for p in _beside(outline, width, height)]
    left, top = min(places, key=lambda place: _hidden(place, width, height, boxes)).tolist()
    draw = ImageDraw.Draw(picture)
    draw.rectangle([(left, top), (left + width - 1, top + height - 1)], colour)
    middle = (left + width / 2, top + height / 2)
    draw.text(middle, str(number), _PAPER, pen.face(_TAG_SIZE), anchor="mm")


def _beside(outline: NDArray[np.float64], width: int, height: int) -> list[NDArray[np.float64]]:
    """Top left corners of a tag: left of a region, right of it, above and below, best first."""
    by_x = outline[np.argsort(outline[:, 0], kind="stable")]
    by_y = outline[np.argsort(outline[:, 1], kind="stable")]
    left_end, right_end = by_x[:2].mean(axis=0), by_x[-2:].mean(axis=0)
    return [
        np.rint([by_x[0, 0] - width - 4, left_end[1] - height / 2]),
        np.rint([by_x[-1, 0] + 4, right_end[1] - height / 2]),
        np.rint([by_x[0, 0], by_y[0, 1] - height - 3]),
        np.rint([by_x[0, 0], by_y[-1, 1] + 3]),
    ]


def _hidden(
    place: NDArray[np.float64], width: int, height: int, boxes: NDArray[np.float64]
) -> float:
    """Area of regions' boxes below a tag, px squared."""
    low = np.maximum(boxes[:, :2], place)
    high = np.minimum(boxes[:, 2:], place + np.array([width, height]))
    return float(np.prod(np.clip(high - low, 0, None), axis=1).sum())
