"""The check of one picture with its regions, with the target builder of the training."""

from collections.abc import Sequence

import numpy as np

from ocr_pipeline.artifacts.dataset import DetSample, Region
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.config.faults import Action
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.ops.db_targets import shrinks_away
from ocr_pipeline.ops.resize import det_size
from ocr_pipeline.preprocess.check_one import (
    Item,
    Notes,
    Outline,
    PictureReader,
    check_pixels,
    fit_points,
)
from ocr_pipeline.preprocess.check_pictures import fingerprints
from ocr_pipeline.preprocess.check_regions import check_outline, overlapping
from ocr_pipeline.preprocess.check_text import IGNORE_MARK, Note
from ocr_pipeline.preprocess.check_types import Checked
from ocr_pipeline.preprocess.sources.raw import RawRegion

_LEFT_OUT = "the region is left out"
_MASKED = "the region is masked out of the training, the rest of the picture is taken"


class PageChecker:
    """Checks pictures with regions.

    Args:
        reader: gives the pictures.
        image: input rule of the detector.
        target: of its training maps; None: regions are not tried on them.
        config: policies and thresholds.
    """

    def __init__(
        self,
        reader: PictureReader,
        image: DetImageSpec,
        target: DBTargetConfig | None,
        config: CheckConfig,
    ) -> None:
        self._reader = reader
        self._image = image
        self._target = target
        self._config = config

    def check(self, item: Item, notes: Notes) -> Checked:
        """One picture with its regions.

        Raises:
            RefusedError: the picture is left out; why is noted.
        """
        loaded = self._reader.load(item, notes)
        check_pixels(loaded.picture, notes, self._config)
        labelled = item.raw.regions or ()
        outlines = fit_points(
            item.raw, [region.points for region in labelled], loaded, notes, self._config
        )
        height, width = loaded.size
        regions: list[Region] = []
        numbers: list[int] = []
        for number, (region, points) in enumerate(zip(labelled, outlines, strict=True)):
            found = self._check_region(number, region, points, (height, width), notes)
            if found is not None:
                regions.append(found)
                numbers.append(number)
        regions = self._without_repeats(regions, numbers, notes)
        self._check_all(regions, len(labelled), notes)
        prints = fingerprints(loaded.picture, "det")
        sample = DetSample(item.raw.image, height, width, tuple(regions), item.source)
        return Checked(
            sample,
            item.raw.place,
            prints.pixels,
            prints.look,
            item.raw.group,
            prints.thumb,
            prints.thumb_width,
        )

    def _check_region(
        self,
        number: int,
        raw: RawRegion,
        points: Outline,
        size: tuple[int, int],
        notes: Notes,
    ) -> Region | None:
        """The region as it is taken; None: it is left out."""
        outline = check_outline(points, size, self._config, turned_is_meant=False)
        text, broken = _writable(raw.text)
        found = [*([broken] if broken else []), *outline.notes]
        ignore = raw.ignore or outline.refused
        if outline.points is not None and not raw.ignore:
            marked = self._check_mark(raw.text)
            small = self._check_size(outline.points, size)
            found += [note for note in (marked, small) if note is not None]
            marks_out = marked is not None and marked.action != "keep"
            ignore = ignore or marks_out or (small is not None and small.action == "refuse")
        for note in found:
            what = f"region {number} ({text[:40]!r}): {note.detail}"
            if note.action == "refuse":
                what += f"; {_LEFT_OUT if outline.points is None else _MASKED}"
            notes.add(
                Note(note.fault, note.action, what, note.suggestion),
                region=number,
                points=points if note.fault != "not_finite" else None,
            )
        return Region(outline.points, text, ignore) if outline.points is not None else None

    def _check_mark(self, text: str) -> Note | None:
        """What the transcription says of the region."""
        if IGNORE_MARK.fullmatch(text.strip()):
            detail = f"text {text!r} says that it cannot be read, but it is not marked as ignored"
            return Note("unmarked_ignore", self._config.action("unmarked_ignore"), detail)
        if not text.strip():
            action = self._config.action("empty_transcription")
            return Note("empty_transcription", action, "no text; write it, or mark it as ignored")
        return None

    def _check_size(self, points: Outline, size: tuple[int, int]) -> Note | None:
        """Whether the target builder can draw the region at the size of the network's input."""
        if self._target is None:
            return None
        height, width = det_size(*size, self._image)
        scale = np.array([width / size[1], height / size[0]], dtype=np.float32)
        outline = np.array(points, dtype=np.float32) * scale
        if not shrinks_away(outline, self._target, self._target.shrink_start):
            return None
        across, down = outline.max(axis=0) - outline.min(axis=0)
        detail = (
            f"{across:.1f} x {down:.1f} px in the network's input of {width} x {height} px: less "
            f"than {self._target.min_side:g} px thick, or nothing left when it is inset"
        )
        return Note("shrinks_away", self._config.action("shrinks_away"), detail)

    def _without_repeats(
        self, regions: Sequence[Region], numbers: Sequence[int], notes: Notes
    ) -> list[Region]:
        """Without regions drawn twice: masking the second would mask the first as well."""
        live = [index for index, region in enumerate(regions) if not region.ignore]
        action: Action = self._config.action("duplicate_region")
        dropped = set()
        pairs = overlapping([regions[i].points for i in live], self._config.region_overlap)
        for first, second in ((live[a], live[b]) for a, b in pairs):
            end = f"; {_LEFT_OUT}" if action == "refuse" else ""
            detail = (
                f"region {numbers[second]} ({regions[second].text[:40]!r}): lies on region "
                f"{numbers[first]} ({regions[first].text[:40]!r}), which overlaps it by more than "
                f"{self._config.region_overlap:.0%}{end}"
            )
            note = Note("duplicate_region", action, detail)
            notes.add(note, region=numbers[second], points=regions[second].points)
            dropped.add(second)
        taken_out = dropped if action == "refuse" else set()
        return [region for index, region in enumerate(regions) if index not in taken_out]

    def _check_all(self, regions: Sequence[Region], labelled: int, notes: Notes) -> None:
        if not regions:
            left = f"none of its {labelled} regions can be used" if labelled else "no region"
            detail = f"{left}; label its text, or set the policy keep where it shows none"
            notes.judge("no_region", detail)
        elif all(region.ignore for region in regions):
            notes.judge("all_ignored", f"all {len(regions)} regions are ignored; label some text")


def _writable(text: str) -> tuple[str, Note | None]:
    """The transcription without halves of surrogate pairs, which no file can hold."""
    clean = text.encode("utf-8", "ignore").decode("utf-8")
    if clean == text:
        return text, None
    detail = "its text holds half a character (a lone surrogate), which is taken out"
    return clean, Note("invisible_character", "fix", detail, clean)
