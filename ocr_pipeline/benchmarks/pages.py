"""Whole pages to text: our reader against others on the CPU, picture by picture in turns.

Each side is a process with an environment and a number of threads of its own. All are given the
path of a picture and give back lines with their corners; the same code compares these with the
truth. A side stands still while it has no turn: see :mod:`ocr_pipeline.benchmarks.pausing`. What
each peer does its own way is in :mod:`ocr_pipeline.benchmarks.peers`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import cv2
import numpy as np

from ocr_pipeline.benchmarks.drawn_pages import draw_pages
from ocr_pipeline.benchmarks.environments import REQUIREMENTS, peer_python
from ocr_pipeline.benchmarks.interleave import Side, Worker
from ocr_pipeline.benchmarks.pages_profile import NAMES
from ocr_pipeline.benchmarks.pausing import paused
from ocr_pipeline.benchmarks.peers import DET_RULES, SIZES, Peer, Size, find_peers, peer_models
from ocr_pipeline.benchmarks.reading import MEMORY
from ocr_pipeline.benchmarks.statistics import (
    Estimate,
    difference_of_rates,
    median_of_ratios,
)
from ocr_pipeline.errors import ConfigError, DataError
from ocr_pipeline.evaluation.pages import (
    PICTURE_SUFFIXES,
    PageScore,
    TruthLine,
    load_truth,
    score_page,
)
from ocr_pipeline.inference.reader import PageText, ReadLine
from ocr_pipeline.stock import exported_folder

OURS = "ours"
_IF_SLOW = "take smaller pictures, or leave this side out"

OnProgress = Callable[[int, int], None]
"""Called with (pictures read, pictures in all), counted over sides and rounds."""


@dataclass(frozen=True)
class PagesPlan:
    """What is measured.

    Attributes:
        against: names of peers with commas between; empty: our side alone.
        size: of the released v6 networks on all sides.
        det, rec: ours instead: released names or folders; empty: those of ``size``.
        pages: folder of pictures with truth files; None: pages are drawn.
        variants: of :class:`~ocr_pipeline.config.engine.EngineConfig`, one side each, with commas
            between; ratios are to the first.
        det_rules: sizes of our detector's input, one side each; as ``variants``.
        threads: of each side.
        rounds: measured readings of each picture a side.
        warmup: readings of each picture before that; in these all shapes are seen.
        drawn: pages to draw, where no folder is given.
        profile: also say where our milliseconds go.

    Raises:
        ConfigError: a value that cannot be measured; all of them in one message.
    """

    against: str = ""
    size: Size = "small"
    det: str = ""
    rec: str = ""
    pages: Path | None = None
    variants: str = "auto"
    det_rules: str = "own"
    threads: int = 2
    rounds: int = 3
    warmup: int = 1
    drawn: int = 10
    profile: bool = True

    def __post_init__(self) -> None:
        faults = []
        if self.size not in SIZES:
            faults.append(f"size {self.size!r}; allowed: {', '.join(SIZES)}")
        faults += [
            f"detector rule {rule!r}; allowed: {', '.join(DET_RULES)}"
            for rule in words(self.det_rules)
            if rule not in DET_RULES
        ]
        if not words(self.variants) or not words(self.det_rules):
            faults.append("no variant or no detector rule; allowed: at least one of each")
        for name, least in (("threads", 1), ("rounds", 1), ("warmup", 0), ("drawn", 1)):
            if (value := getattr(self, name)) < least:
                faults.append(f"{name} {value}; allowed: from {least}")
        if faults:
            raise ConfigError("; ".join(faults))
        find_peers(self.against)


class Page(NamedTuple):
    """A picture and the lines that stand on it."""

    path: Path
    truth: list[TruthLine]


@dataclass
class Readings:
    """What one side did, as it was measured.

    Attributes:
        seconds, cpu_seconds: by picture, one value a measured round.
        lines: by picture, of the last round.
        first_start_s, start_s: from starting the process to having read its first picture; of the
            first start in this run, and of the second, alone.
        peak_mb: sum of the most memory that each of its processes ever held.
    """

    seconds: list[list[float]]
    cpu_seconds: list[list[float]]
    lines: list[list[Any]]
    first_start_s: float = 0.0
    start_s: float = 0.0
    peak_mb: float = 0.0

    @classmethod
    def of(cls, pages: int) -> "Readings":
        """Nothing yet."""
        return cls([[] for _ in range(pages)], [[] for _ in range(pages)], [[]] * pages)


class SideResult(NamedTuple):
    """One side.

    Attributes:
        name: of the side.
        milliseconds: a page: mean over pictures of the median over rounds.
        cpu_milliseconds: the same of CPU time.
        ratio: time of this side as a multiple of the first one's; None for the first.
        cer: edits in percent of the truth's characters; lines are compared where they lie.
        cer_more: by how many percentage points ``cer`` is above that of the first side; None for
            the first, and where pages hold no text.
        cer_in_order: the same of whole pages in the order in which lines were given.
        lines, characters: read in all.
        first_start_s, start_s, peak_mb: see :class:`Readings`.
    """

    name: str
    milliseconds: float
    cpu_milliseconds: float
    ratio: Estimate | None
    cer: float
    cer_more: Estimate | None
    cer_in_order: float
    lines: int
    characters: int
    first_start_s: float
    start_s: float
    peak_mb: float


@dataclass(frozen=True)
class Profile:
    """Where the milliseconds of our side go; means over pictures of medians over rounds.

    Attributes:
        name: of the side.
        milliseconds: of a whole page.
        steps: of each step, summed over threads.
        networks: of both networks alone, on the same inputs.
        above: time of a page above that of its networks alone, as a share of these; median over
            pictures, each by the medians of its rounds.
    """

    name: str
    milliseconds: float
    steps: dict[str, float]
    networks: float
    above: float


@dataclass(frozen=True)
class PagesReport:
    """All figures of a run; the first side is the one that ratios are to."""

    plan: PagesPlan
    pages: int
    characters: int
    sides: list[SideResult]
    profiles: list[Profile] = field(default_factory=list)


def words(text: str) -> list[str]:
    """Parts between commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def run_pages(
    plan: PagesPlan,
    environment: dict[str, str],
    *,
    on_progress: OnProgress | None = None,
) -> PagesReport:
    """Let all sides read all pages in turn.

    Args:
        plan: what is measured.
        environment: what ours sets for itself before Paddle is imported; peers run without it.
        on_progress: see :data:`OnProgress`.

    Raises:
        AssetError: a peer's environment or a released file cannot be had.
        DataError: no picture with a truth file.
        TrainingError: a side fails.
    """
    with tempfile.TemporaryDirectory(prefix="pages-") as name:
        scratch = Path(name)
        pages = _pages(plan.pages or draw_pages(scratch, plan.drawn))
        first = _first_picture(scratch)
        ours = our_sides(plan, environment, first)
        sides = ours + [_peer_side(plan, p, environment, first) for p in find_peers(plan.against)]
        readings = read_in_turn(
            sides, pages, rounds=plan.rounds, warmup=plan.warmup, on_progress=on_progress
        )
        profiles = []
        if plan.profile:
            profiling = our_sides(plan, environment, first, profile=True)
            profiles = [profile_side(s, pages, rounds=plan.rounds) for s in profiling]
    characters = sum(len("".join(t.text.split())) for page in pages for t in page.truth)
    return PagesReport(plan, len(pages), characters, results(pages, readings), profiles)


def our_sides(
    plan: PagesPlan, environment: dict[str, str], first: Path, *, profile: bool = False
) -> list[Side]:
    """Our side in each variant and with each detector rule."""
    det, rec = (
        str(exported_folder(source or f"ppocrv6_{plan.size}_{task}"))
        for source, task in ((plan.det, "det"), (plan.rec, "rec"))
    )
    variants, rules = words(plan.variants), words(plan.det_rules)
    sides = []
    for variant in variants:
        for rule in rules:
            engine = {"variant": variant, "threads": plan.threads}
            values: dict[str, Any] = {"det": det, "rec": rec, "engine": engine, "det_rule": rule}
            values |= {"first": str(first), "profile": profile}
            module = "ocr_pipeline.benchmarks.pages_worker"
            command = [sys.executable, "-m", module, json.dumps(values)]
            parts = [OURS, *([variant] if len(variants) > 1 else [])]
            parts += [f"size as {rule}"] if rule != "own" else []
            threads = {**environment, "OMP_NUM_THREADS": str(plan.threads)}
            sides.append(Side(", ".join(parts), command, threads, _IF_SLOW))
    return sides


def _peer_side(plan: PagesPlan, peer: Peer, environment: dict[str, str], first: Path) -> Side:
    python = peer_python(peer.list_path)
    values = {
        "peer": peer.name,
        "size": plan.size,
        "threads": plan.threads,
        "models": peer_models(plan.size),
        "first": str(first),
    }
    module = "ocr_pipeline.benchmarks.peer_pages_worker"
    # Its users have none of what our command line sets: an empty value takes it away.
    plain = {
        **dict.fromkeys(environment, ""),
        "PYTHONPATH": str(REQUIREMENTS.parent),
        "OMP_NUM_THREADS": str(plan.threads),
        "PPOCR_BENCH_THREADS": str(plan.threads),  # RapidOCRLite has no other setting
        "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",  # the models are here
    }
    return Side(peer.name, [str(python), "-m", module, json.dumps(values)], plain, _IF_SLOW)


def read_in_turn(
    sides: Sequence[Side],
    pages: Sequence[Page],
    *,
    rounds: int,
    warmup: int,
    on_progress: OnProgress | None = None,
) -> dict[str, Readings]:
    """Let every side read each picture before any goes on; the first side changes.

    Returns:
        By side.

    Raises:
        TrainingError: a side fails.
    """
    readings = {side.name: Readings.of(len(pages)) for side in sides}
    total = (warmup + rounds) * len(pages) * len(sides)
    done = 0
    for side in sides:
        readings[side.name].first_start_s = _start_s(side)
    for side in sides:  # this start finds what the first one left
        readings[side.name].start_s = _start_s(side)
    with ExitStack() as stack:
        workers = []
        for side in sides:  # one after the other: starting disturbs nobody
            worker = Worker(replace(side, command=paused(side.command)))
            stack.enter_context(worker).ready()
            workers.append(worker)
        for number in range(warmup + rounds):
            for index, page in enumerate(pages):
                turn = (number + index) % len(workers)
                for worker in workers[turn:] + workers[:turn]:
                    answer = worker.ask(str(page.path))
                    done += 1
                    if on_progress is not None:
                        on_progress(done, total)
                    if number >= warmup:
                        _keep(readings[worker.side.name], index, answer)
        for worker in workers:
            readings[worker.side.name].peak_mb = float(worker.ask(MEMORY)["peak_mb"])
    return readings


def _start_s(side: Side) -> float:
    """Start a side alone and end it."""
    started = time.perf_counter()
    with Worker(side) as worker:
        worker.ready()
        return time.perf_counter() - started


def _keep(readings: Readings, index: int, answer: dict[str, Any]) -> None:
    readings.seconds[index].append(answer["seconds"])
    readings.cpu_seconds[index].append(answer["cpu_seconds"])
    readings.lines[index] = answer["lines"]


def results(pages: Sequence[Page], readings: dict[str, Readings]) -> list[SideResult]:
    """Put the figures of all sides together."""
    first = next(iter(readings.values()))
    found: list[SideResult] = []
    scores_of_first: list[PageScore] = []
    for name, side in readings.items():
        scores = [score(page, lines) for page, lines in zip(pages, side.lines, strict=True)]
        scores_of_first = scores_of_first or scores
        characters = max(1, sum(s.characters for s in scores))
        found.append(
            SideResult(
                name=name,
                milliseconds=_page_ms(side.seconds),
                cpu_milliseconds=_page_ms(side.cpu_seconds),
                ratio=None if side is first else median_of_ratios(side.seconds, first.seconds),
                cer=100 * sum(s.edits for s in scores) / characters,
                cer_more=None if side is first else _cer_more(scores, scores_of_first),
                cer_in_order=100 * sum(s.edits_in_order for s in scores) / characters,
                lines=sum(len(lines) for lines in side.lines),
                characters=sum(
                    len("".join(text.split())) for lines in side.lines for _, text in lines
                ),
                first_start_s=side.first_start_s,
                start_s=side.start_s,
                peak_mb=side.peak_mb,
            )
        )
    return found


def _cer_more(scores: Sequence[PageScore], first: Sequence[PageScore]) -> Estimate | None:
    """Percentage points above the first side."""
    sizes = [s.characters for s in scores]
    if not any(sizes):
        return None
    more = difference_of_rates([s.edits for s in scores], [s.edits for s in first], sizes)
    return Estimate(*(100 * value for value in more))


def score(page: Page, lines: Sequence[Any]) -> PageScore:
    """Compare what a side read, ``[points, text]`` each, with the truth of the page."""
    read = [
        ReadLine(text, 1.0, np.array(points, dtype=np.float32).reshape(4, 2), 1.0, row)
        for row, (points, text) in enumerate(lines)
    ]
    text = PageText(lines=read, width=0, height=0, dropped={}, milliseconds={})
    return score_page(page.path.name, text, page.truth)


def profile_side(side: Side, pages: Sequence[Page], *, rounds: int) -> Profile:
    """Let one of our sides say where its time goes; one round is not counted.

    Raises:
        TrainingError: the side fails.
    """
    answers: list[list[dict[str, Any]]] = [[] for _ in pages]
    with Worker(side) as worker:
        worker.ready()
        for number in range(rounds + 1):
            for page, kept in zip(pages, answers, strict=True):
                answer = worker.ask(str(page.path))
                if number:
                    kept.append(answer)
    whole = [[a["seconds"] for a in kept] for kept in answers]
    networks = [[a["networks"] for a in kept] for kept in answers]
    return Profile(
        side.name,
        milliseconds=_page_ms(whole),
        steps={n: _page_ms([[a["steps"][n] for a in kept] for kept in answers]) for n in NAMES},
        networks=_page_ms(networks),
        above=median_of_ratios(whole, networks).value - 1,
    )


def _page_ms(seconds: Sequence[Sequence[float]]) -> float:
    return 1000 * fmean(median(of_picture) for of_picture in seconds)


def _pages(folder: Path) -> list[Page]:
    pages = [
        Page(picture.absolute(), load_truth(truth))
        for picture in sorted(folder.glob("*"))
        if picture.suffix.lower() in PICTURE_SUFFIXES
        and (truth := picture.with_suffix(".json")).exists()
    ]
    if not pages:
        raise DataError(
            f"{folder}: no picture with a truth file of the same name (page.png, page.json)"
        )
    return pages


def _first_picture(folder: Path) -> Path:
    """A line of text: what each side reads before it counts as started."""
    picture = np.full((96, 480, 3), 255, dtype=np.uint8)
    cv2.putText(picture, "READY 2468", (24, 64), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 3)
    path = folder / "first.png"
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return path
