"""Replay: general printed lines, drawn into a dataset, that keep a model from forgetting.

A network that is trained on one kind of text loses others; to go on showing it some of what it
knew is the plainest guard (rehearsal: Robins, Connection Science 7, 1995).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from ocr_pipeline.artifacts.dataset import SourceCard, Split
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.render import DegradeConfig
from ocr_pipeline.config.replay import ReplayConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.fonts import find_fonts
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import steps_needed
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import rec_width
from ocr_pipeline.preprocess.synthesis.corpus import FileTexts, Maker, Part, part_of
from ocr_pipeline.preprocess.synthesis.faces import FontSet
from ocr_pipeline.preprocess.synthesis.finish import cut_line, finish
from ocr_pipeline.preprocess.synthesis.general import clipped, general_text
from ocr_pipeline.preprocess.synthesis.grounds import Ground, paper, paper_colour
from ocr_pipeline.preprocess.synthesis.inks import bold, printed
from ocr_pipeline.preprocess.synthesis.kit import dark, line_sheet
from ocr_pipeline.preprocess.synthesis.pool import draw_in_order
from ocr_pipeline.preprocess.synthesis.sheet import Colour

REPLAY_NAME = "replay"
"""Of the source in the manifest, and what its picture paths start with."""
_STREAMS: dict[Part, tuple[int, int]] = {"train": (31, 32), "val": (33, 34)}
"""Streams of chance below the seed: of the texts and of the pictures of each part."""
_WHOLE_TRIES, _TRIES = 40, 2000
"""Texts that need no change are looked for so often, any at all so often."""
_AT_ONCE = 32
_QUALITY = 95
_SMALLEST, _LARGEST = 14, 48
"""Sizes of the fonts, px."""
_LOOSE = 1.35
"""Height of a cut-out line, in sizes of its font, at most."""
_MILD = DegradeConfig(
    strength=0.4, blur=0.15, perspective=0.15, jpeg=0.35, light=0.2, noise=0.2, fold=0.0,
    low_resolution=0.1, worn=0.0, stamp=0.0,
)  # fmt: skip
"""About a third of the lines stay as clean as they were drawn."""


@dataclass(frozen=True)
class ReplayLine:
    """One drawn line: its text, size of its picture in px, and the picture as JPEG."""

    text: str
    height: int
    width: int
    content: bytes


@dataclass(frozen=True)
class Replay:
    """What replay lines are made with; see :func:`open_replay`."""

    config: ReplayConfig
    fonts: tuple[Path, ...]

    @property
    def counts(self) -> dict[Split, int]:
        """Lines asked for, per part."""
        config = self.config
        return {"train": config.lines if config.share else 0, "val": config.val_lines}

    def lines(
        self,
        split: Split,
        charset: Charset,
        image: RecImageSpec,
        *,
        taken: Collection[str],
        workers: int,
    ) -> Iterator[ReplayLine]:
        """Draw the lines of one part; the same ones for any number of workers.

        Args:
            split: no text stands in both parts.
            charset: of the dataset; texts hold no other characters.
            image: input rule of the recognizer; no line is longer than it can take.
            taken: texts that shall not occur.
            workers: processes; up to 1: this one.

        Raises:
            DataError: the character set leaves nothing to write; or a process was killed.
        """
        texts = self.texts(split, charset, image, taken=taken)
        draw = partial(draw_chunk, self, split)
        jobs = list(enumerate(texts))
        chunks = [jobs[start : start + _AT_ONCE] for start in range(0, len(jobs), _AT_ONCE)]
        for drawn in draw_in_order(draw, chunks, workers=workers):
            for line in drawn:
                steps = rec_width(line.height, line.width, image)[1] // image.time_stride
                if steps_needed(charset.encode(line.text)) <= steps:
                    yield line

    def texts(
        self, split: Split, charset: Charset, image: RecImageSpec, *, taken: Collection[str]
    ) -> list[str]:
        """The texts of one part, as :meth:`lines` has them."""
        config, count = self.config, self.counts[split]
        if not count:
            return []
        faces = _font_set(self.fonts)
        good: dict[str, bool] = {}

        def usable(char: str) -> bool:
            if char not in good:
                good[char] = faces.can_draw(char) and not charset.unknown(char)
            return good[char]

        longest = min(config.longest, max(1, int(image.max_width / image.height / _LOOSE)))
        source: Maker = general_text(longest)
        if config.corpus is not None:
            source = FileTexts(config.corpus, usable).of_part(split, config.seed)
        stream = _STREAMS[split][0]
        found = []
        for number in range(count):
            random = np.random.default_rng([config.seed, stream, number])
            found.append(_text_of(split, source, usable, longest, config.seed, taken, random))
        return found

    def card(self, lines: int, shown: float) -> SourceCard:
        """The source of these lines, with the weight that gives them their share.

        Args:
            lines: drawn for training.
            shown: how many other lines an epoch shows.
        """
        share = self.config.share
        weight = share / (1 - share) * shown / lines if lines else 1.0
        return SourceCard(name=REPLAY_NAME, images=REPLAY_NAME, weight=weight, replay=True)


def open_replay(config: ReplayConfig) -> Replay:
    """Look before long work whether lines can be drawn; fonts are fetched where the cache lacks.

    Raises:
        AssetError: no font, or one that cannot be used.
        DataError: the corpus cannot be read.
    """
    replay = Replay(config, tuple(find_fonts(config.fonts, may_fetch=True)))
    faces = _font_set(replay.fonts)
    if config.corpus is not None:
        FileTexts(config.corpus, faces.can_draw)
    return replay


def _text_of(
    part: Part,
    texts: Maker,
    usable: Callable[[str], bool],
    longest: int,
    seed: int,
    taken: Collection[str],
    random: np.random.Generator,
) -> str:
    """The first text of this stream that may stand in the part.

    Whole ones are preferred; of a small character set there may be none, and what it lacks is left
    out of a text.
    """
    for number in range(_TRIES):
        text = clipped(texts(random), longest)
        kept = " ".join("".join(filter(usable, text)).split())
        fits = kept == text or (number >= _WHOLE_TRIES and len(kept) > 1)
        if kept and fits and kept not in taken and part_of(kept, seed) == part:
            return kept
    raise DataError(
        f"replay: no text for the {part} part among {_TRIES:,}: the character set has too few of "
        "the characters of general text, or the corpus too few texts; give a corpus that fits "
        "(replay.corpus), or leave replay out"
    )


@lru_cache(maxsize=2)
def _font_set(fonts: tuple[Path, ...]) -> FontSet:
    return FontSet(fonts)


def draw_chunk(replay: Replay, split: Split, jobs: Sequence[tuple[int, str]]) -> list[ReplayLine]:
    """Draw some (number, text); runs in any process."""
    fonts, seed = _font_set(replay.fonts), replay.config.seed
    lines = []
    for number, text in jobs:
        random = np.random.default_rng([seed, _STREAMS[split][1], number])
        picture = draw_line(text, fonts, random)
        _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        height, width = picture.shape[:2]
        lines.append(ReplayLine(text, height, width, content.tobytes()))
    return lines


def draw_line(text: str, fonts: FontSet, random: np.random.Generator) -> BGRImage:
    """Print one line, clean or a little degraded.

    Args:
        text: of characters that the fonts have.
        fonts: to choose from.
        random: decides font, size, colours and effects.

    Returns:
        ``[H, W, 3]`` uint8 BGR.
    """
    size = round(float(np.exp(random.uniform(np.log(_SMALLEST), np.log(_LARGEST)))))
    tracking = float(random.uniform(0, 0.08)) if random.random() < 0.3 else 0.0
    mask = fonts.line(text, size, first=fonts.pick(random), tracking=tracking)
    if size >= 20 and random.random() < 0.15:
        mask = bold(mask, random)
    ground, ink = _colours(random)
    alpha = printed(mask, 0.0, random)
    sheet, left, top = line_sheet(alpha, ground, random)
    sheet.write(alpha, left, top, ink, text)
    picture, marks = finish(sheet, _MILD, random, on_paper=False)
    return cut_line(picture, marks[0], random)


def _colours(random: np.random.Generator) -> tuple[Callable[[int, int], Ground], Colour]:
    """What a line stands on, and the colour of its ink."""
    chance = random.random()
    if chance < 0.25:
        colour = paper_colour(random, tinted=True)
        return lambda height, width: paper(height, width, colour, random), dark(random)
    if chance < 0.4:  # light on dark: screens and signs
        base = random.uniform(15, 70) + random.uniform(-15, 40, 3)
        bright = random.uniform(195, 255) + random.uniform(-40, 0, 3)
        return _flat(base), _colour(bright)
    if chance < 0.5:  # a coloured field
        return _flat(random.uniform(175, 255, 3)), _colour(random.uniform(0, 60, 3))
    white = 255.0 if random.random() < 0.5 else float(random.uniform(235, 255))
    return _flat(np.full(3, white)), _colour(np.full(3, random.uniform(0, 70)))


def _colour(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Colour:
    blue, green, red = np.clip(values, 0, 255).tolist()
    return blue, green, red


def _flat(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> Callable[[int, int], Ground]:
    """One colour all over."""
    colour = np.asarray(_colour(values), np.float32)
    return lambda height, width: np.tile(colour, (height, width, 1))
