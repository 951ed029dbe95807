"""Plan the texts, draw lines and pages in one or more processes, write the lists."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from ocr_pipeline.artifacts.folder import check_target, staged
from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.render import Domain, RenderConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.preprocess.synthesis import bank_slip, display, documents, government_form
from ocr_pipeline.preprocess.synthesis.corpus import (
    FileTexts,
    Maker,
    Part,
    any_text,
    bank_text,
    display_text,
    form_text,
    part_of,
)
from ocr_pipeline.preprocess.synthesis.coverage import count_characters, plan_coverage
from ocr_pipeline.preprocess.synthesis.faces import FontSet
from ocr_pipeline.preprocess.synthesis.finish import cut_line, finish, plain_points, readable_marks
from ocr_pipeline.preprocess.synthesis.grounds import find_pictures
from ocr_pipeline.preprocess.synthesis.kit import Kit
from ocr_pipeline.preprocess.synthesis.pool import draw_in_order
from ocr_pipeline.preprocess.synthesis.sheet import Mark, Sheet

OnProgress = Callable[[int, int], None]
"""Called with (done, total) pictures."""
CARD = "synthesis.json"
_PARTS: tuple[Part, ...] = ("val", "train")
_STREAMS = {
    "val text": 10, "train text": 11, "val line": 12, "train line": 13,
    "val page": 14, "train page": 15, "coverage": 16,
}  # fmt: skip
"""Each kind of chance has a stream of its own, below the seed."""
_TRIES = 2000
_LINES_AT_ONCE, _PAGES_AT_ONCE = 32, 2
_PER_FOLDER = 1000
_QUALITY = 95
_LEAST_SIDE = 8
"""A text of a page is cut out as a line when it is at least so high, px."""


@dataclass(frozen=True)
class Synthesised:
    """What was written.

    Attributes:
        folder: ``rec_train.txt``, ``rec_val.txt``, ``det_train.txt``, ``det_val.txt``, pictures in
            ``lines/``, ``crops/`` and ``pages/``, and ``synthesis.json``.
        counts: labels of each list.
        not_drawn: characters asked for that no font draws, in order of the set.
        left_out: characters of the corpus file that were passed over.
        filler: training lines added for the coverage.
    """

    folder: Path
    counts: dict[str, int]
    not_drawn: tuple[str, ...]
    left_out: tuple[str, ...]
    filler: int


@dataclass(frozen=True)
class _Job:
    """One line (with its text) or page (without) to be drawn."""

    part: Part
    number: int
    text: str | None


@dataclass(frozen=True)
class _Drawn:
    """Rows of the lists that one job gave."""

    part: Part
    rec: tuple[str, ...]
    det: tuple[str, ...]


@dataclass(frozen=True)
class _Setup:
    """What a process needs to draw; the same in all of them."""

    config: RenderConfig
    fonts: tuple[Path, ...]
    folder: Path


def synthesise(
    config: RenderConfig,
    fonts: Sequence[Path],
    *,
    charset: Charset | None = None,
    on_progress: OnProgress | None = None,
) -> Synthesised:
    """Write labelled lines and pages of one domain, whole or not at all.

    Texts belong to one part by their hash, so none of ``rec_val.txt`` stands in ``rec_train.txt``.
    Picture k follows from the seed and k (its text also from the coverage, where that is asked
    for); the files are the same whatever the number of workers.

    Args:
        config: of any domain but ``demo``.
        fonts: files to draw with; the first one is taken first.
        charset: characters that texts may hold; None: any. With ``config.coverage`` it is the set
            that is covered, and is read from ``coverage.charset`` where it is None.
        on_progress: called with (done, total) pictures.

    Raises:
        DataError: no texts, too few lines for the coverage, backgrounds or corpus that cannot be
            used, a process that was killed.
        AssetError: a font that cannot be used.
        ArtifactError: the folder exists or cannot be written; the character set cannot be read.
    """
    check_target(config.out, replace=False)
    faces = _font_set(tuple(fonts))
    if charset is None and config.coverage is not None:
        charset = _dictionary(config.coverage.charset)
    texts = _texts(config, faces, charset)
    wanted = [] if config.coverage is None or charset is None else [*charset.dictionary, " "]
    not_drawn = tuple(entry for entry in wanted if not faces.can_draw(entry))
    drawable = [entry for entry in wanted if faces.can_draw(entry)]
    planned, filler = _plan(config, texts, faces, charset, drawable)
    if config.backgrounds is not None:
        find_pictures(config.backgrounds)
    jobs = [_Job(part, k, text) for part in _PARTS for k, text in enumerate(planned[part])]
    counts = {"train": config.train_pages, "val": config.val_pages}
    pages = [_Job(part, k, None) for part in _PARTS for k in range(counts[part])]
    with staged(config.out) as scratch:
        setup = _Setup(config, tuple(fonts), scratch)
        rows = _draw_all(setup, jobs, pages, on_progress)
        left_out = tuple(texts.left_out) if isinstance(texts, FileTexts) else ()
        result = Synthesised(
            config.out, _write_lists(rows, scratch, charset), not_drawn, left_out, filler
        )
        _write_card(result, setup, planned["train"], drawable)
    return result


def _dictionary(named: str) -> Charset:
    if not Path(named).is_file():
        raise DataError(
            f"coverage.charset: {named}: no such dictionary file; name a file with one character a "
            "line, or hand the characters of the model over"
        )
    return Charset.load(Path(named))


@lru_cache(maxsize=2)
def _font_set(fonts: tuple[Path, ...]) -> FontSet:
    return FontSet(fonts)


def _texts(config: RenderConfig, faces: FontSet, charset: Charset | None) -> Maker:
    """Where texts of lines come from."""
    return _source(config.domain, config.corpus, faces, charset)


@lru_cache(maxsize=2)
def _source(domain: Domain, corpus: Path | None, faces: FontSet, charset: Charset | None) -> Maker:
    if corpus is None:
        return _own_texts(domain)
    return FileTexts(
        corpus,
        lambda char: faces.can_draw(char) and (charset is None or not charset.unknown(char)),
    )


def _own_texts(domain: Domain) -> Maker:
    if domain == "bank_slip":
        return bank_text
    if domain == "government_form":
        return form_text
    if domain == "display":
        return display_text
    return any_text


def _plan(
    config: RenderConfig,
    texts: Maker,
    faces: FontSet,
    charset: Charset | None,
    drawable: Sequence[str],
) -> tuple[dict[Part, Sequence[str]], int]:
    """Texts of the lines of both parts, and how many are filler."""
    counts = {"train": config.train_lines, "val": config.val_lines}
    good: dict[str, bool] = {}

    def fits(text: str) -> bool:
        for char in text:
            if char not in good:
                good[char] = faces.can_draw(char) and not (charset and charset.unknown(char))
        return all(good[char] for char in text)

    planned: dict[Part, Sequence[str]] = {}
    for part in _PARTS:
        stream = _STREAMS[f"{part} text"]
        if not counts[part]:
            planned[part] = []
            continue
        own = _for_part(texts, part, config.seed)
        planned[part] = [
            _text_of(part, config, own, fits, np.random.default_rng([config.seed, stream, k]))
            for k in range(counts[part])
        ]
    if config.coverage is None:
        return planned, 0
    plan = plan_coverage(
        planned["train"],
        drawable,
        at_least=config.coverage.at_least,
        mean_length=config.coverage.filler_length,
        allowed=lambda text: part_of(text, config.seed) == "train",
        random=np.random.default_rng([config.seed, _STREAMS["coverage"]]),
    )
    planned["train"] = plan.texts
    return planned, plan.filler


def _text_of(
    part: Part,
    config: RenderConfig,
    texts: Maker,
    fits: Callable[[str], bool],
    random: np.random.Generator,
) -> str:
    """The first text of this stream that belongs to the part and can be written."""
    text = ""
    for _ in range(_TRIES):
        text = texts(random)
        if fits(text) and part_of(text, config.seed) == part:
            return text
    wrong = [char for char in dict.fromkeys(text) if not fits(char)]
    why = (
        f"the last one, {text!r}, has {', '.join(map(repr, wrong))}, not drawable or not in the "
        "character set"
        if wrong
        else "the corpus has too few different texts"
    )
    raise DataError(
        f"domain {config.domain}: no text for the {part} part among {_TRIES:,} ({why}); give a "
        "corpus file with more text, or another character set"
    )


def _draw_all(
    setup: _Setup, lines: Sequence[_Job], pages: Sequence[_Job], on_progress: OnProgress | None
) -> list[_Drawn]:
    """Draw every job, in as many processes as asked for; results in the order of the jobs."""
    chunks = [*_chunks(pages, _PAGES_AT_ONCE), *_chunks(lines, _LINES_AT_ONCE)]
    total, done = len(lines) + len(pages), 0
    drawn: list[_Drawn] = []
    for part in draw_in_order(partial(draw_chunk, setup), chunks, workers=setup.config.workers):
        drawn += part
        done += len(part)
        if on_progress is not None:
            on_progress(done, total)
    return drawn


def _chunks(jobs: Sequence[_Job], size: int) -> list[Sequence[_Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def draw_chunk(setup: _Setup, jobs: Sequence[_Job]) -> list[_Drawn]:
    """Draw some jobs and write their pictures; runs in any process."""
    faces, config = _font_set(setup.fonts), setup.config
    grounds = [] if config.backgrounds is None else _grounds(config.backgrounds)
    texts = _texts(config, faces, None)
    drawn = []
    for job in jobs:
        if job.text is None:
            own = _for_part(texts, job.part, config.seed)
            drawn.append(_draw_page(setup, Kit(faces, grounds, config.degrade, own), job))
        else:
            kit = Kit(faces, grounds, config.degrade, texts)
            drawn.append(_draw_line(setup, kit, job, job.text))
    return drawn


def _for_part(texts: Maker, part: Part, seed: int) -> Maker:
    """Texts that one part may use: of a file, only some of its lines."""
    return texts.of_part(part, seed) if isinstance(texts, FileTexts) else texts


@lru_cache(maxsize=2)
def _grounds(folder: Path) -> list[Path]:
    return find_pictures(folder)


def _draw_line(setup: _Setup, kit: Kit, job: _Job, text: str) -> _Drawn:
    config = setup.config
    random = np.random.default_rng([config.seed, _STREAMS[f"{job.part} line"], job.number])
    vertical = bool(random.random() < config.vertical_share) and _may_stand_upright(text)
    sheet = _line_sheet(config.domain, text, vertical, kit, random)
    if not sheet.marks or sheet.marks[0].text != text:
        raise DataError(f"line {job.number} ({text!r}) did not fit its own picture")
    on_paper = config.domain != "display"
    picture, marks = finish(sheet, config.degrade, random, on_paper=on_paper)
    name = _name("lines", job)
    _save(cut_line(picture, marks[0], random), setup.folder / name)
    return _Drawn(job.part, (f"{name}\t{text}\n",), ())


def _may_stand_upright(text: str) -> bool:
    """Whether a text is written top to bottom: three and more, most of them Chinese."""
    chinese = sum("\u3400" <= char <= "\u9fff" for char in text)
    return 3 <= len(text) <= 20 and chinese >= 0.7 * len(text)


def _line_sheet(
    domain: Domain, text: str, vertical: bool, kit: Kit, random: np.random.Generator
) -> Sheet:
    if domain == "bank_slip":
        return bank_slip.draw_line(text, vertical, kit, random)
    if domain == "government_form":
        return government_form.draw_line(text, vertical, kit, random)
    if domain == "display":
        return display.draw_line(text, vertical, kit, random)
    return documents.draw_line(text, vertical, kit, random)


def _page_sheet(domain: Domain, kit: Kit, random: np.random.Generator) -> Sheet:
    if domain == "bank_slip":
        return bank_slip.draw_page(kit, random)
    if domain == "government_form":
        return government_form.draw_page(kit, random)
    if domain == "display":
        return display.draw_page(kit, random)
    return documents.draw_page(kit, random)


def _draw_page(setup: _Setup, kit: Kit, job: _Job) -> _Drawn:
    config = setup.config
    random = np.random.default_rng([config.seed, _STREAMS[f"{job.part} page"], job.number])
    sheet = _page_sheet(config.domain, kit, random)
    on_paper = config.domain != "display"
    picture, marks = finish(sheet, config.degrade, random, on_paper=on_paper)
    name = _name("pages", job)
    _save(picture, setup.folder / name)
    truth = [{"transcription": mark.text, "points": plain_points(mark)} for mark in marks]
    det = f"{name}\t{json.dumps(truth, ensure_ascii=False)}\n"
    rec = _cut_page(setup, job, picture, marks, random) if config.page_crops else []
    return _Drawn(job.part, tuple(rec), (det,))


def _cut_page(
    setup: _Setup, job: _Job, picture: BGRImage, marks: Sequence[Mark], random: np.random.Generator
) -> list[str]:
    """Cut those texts of a page out that belong to its part; the rest belongs to the other."""
    rows = []
    for number, mark in enumerate(readable_marks(marks)):
        crop = cut_line(picture, mark, random)
        if part_of(mark.text, setup.config.seed) != job.part or min(crop.shape[:2]) < _LEAST_SIDE:
            continue
        name = _name("crops", job, f"_{number:03d}")
        _save(crop, setup.folder / name)
        rows.append(f"{name}\t{mark.text}\n")
    return rows


def _name(kind: str, job: _Job, tail: str = "") -> str:
    return f"{kind}/{job.part}_{job.number // _PER_FOLDER:04d}/{job.number:07d}{tail}.jpg"


def _save(picture: BGRImage, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    path.write_bytes(content.tobytes())


def _write_lists(drawn: Sequence[_Drawn], folder: Path, allowed: Charset | None) -> dict[str, int]:
    counts = {}
    for part in ("train", "val"):
        rec = [row for one in drawn if one.part == part for row in one.rec]
        det = [row for one in drawn if one.part == part for row in one.det]
        if allowed is not None:
            rec = [row for row in rec if not allowed.unknown(_label(row))]
        for name, rows in ((f"rec_{part}", rec), (f"det_{part}", det)):
            (folder / f"{name}.txt").write_text("".join(rows), encoding="utf-8")
            counts[name] = len(rows)
    return counts


def _label(row: str) -> str:
    return row.rstrip("\n").split("\t", 1)[1]


def _write_card(
    result: Synthesised, setup: _Setup, train_texts: Sequence[str], drawable: Sequence[str]
) -> None:
    """What was asked for, with what, and what came of it; nothing that differs between machines."""
    config = setup.config.model_dump(mode="json", exclude={"out", "workers"})
    seen = count_characters(train_texts)
    card = {
        "config": config,
        "fonts": {path.name: sha256_of(path) for path in setup.fonts},
        "counts": result.counts,
        "filler_lines": result.filler,
        "not_drawn": list(result.not_drawn),
        "left_out": list(result.left_out),
        "least_seen": min((seen[char] for char in drawable), default=None),
    }
    text = json.dumps(card, ensure_ascii=False, indent=2) + "\n"
    (setup.folder / CARD).write_text(text, encoding="utf-8")
