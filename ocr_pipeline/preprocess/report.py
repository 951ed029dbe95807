"""The report of a check: a table for the terminal, ``report.json``, and one HTML page."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
from rich.table import Table
from rich.text import Text

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.faults import FAULT_BY_NAME, FAULTS, Action
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.errors import DataError, ImageError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import decode_image
from ocr_pipeline.ops.thumbnail import data_uri, thumbnail
from ocr_pipeline.preprocess.check_one import read_bounded
from ocr_pipeline.preprocess.check_types import Checked
from ocr_pipeline.preprocess.faults import Finding
from ocr_pipeline.preprocess.report_html import Card, page
from ocr_pipeline.storage import Root

FORMAT = 1
"""Of ``report.json``; see docs/linter.md."""
_ACTIONS: tuple[Action, ...] = ("refuse", "fix", "keep")
_MAX_PICTURES = 48
_MAX_ROWS = 600
"""Findings on the page; all are in ``report.json``."""
_FIRST_SHOWN = 72
_LONG_PATH = re.compile(
    r"(?<![^\s(])(?:[a-z0-9]+:/)?/(?:[^\s/:'\"]+/|[^\s/'\"]+:\d+/)+(?=[^\s/]+/[^\s/])"
)
"""Begin of an absolute path or URL, before its last two parts."""


class Inspected(Protocol):
    """What a whole check found."""

    @property
    def roots(self) -> Sequence[Root]:
        """Where the pictures of each source are."""

    @property
    def charset(self) -> Charset | None:
        """None for detection."""

    @property
    def splits(self) -> Mapping[Split, Sequence[Checked]]:
        """What is taken, of each part."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Everything that was found."""

    @property
    def labels(self) -> int:
        """How many were looked at."""


def write_report(
    folder: Path, found: Inspected, *, limits: ImageLimits | None = None, title: str = ""
) -> tuple[Path, Path]:
    """Write ``report.json`` with all findings, and ``report.html`` with the worst cases shown.

    Args:
        folder: exists.
        found: what a check found.
        limits: what a picture on the page may be.
        title: of the set, for the page.

    Returns:
        Paths of the JSON file and of the page.

    Raises:
        DataError: they cannot be written.
    """
    data, shown = folder / "report.json", folder / "report.html"
    chosen = _spread(found.findings, _MAX_ROWS)
    pictured = {id(f) for f in _spread([f for f in chosen if f.image], _MAX_PICTURES)}
    thumbnails = _Thumbnails(found.roots, limits or ImageLimits())
    cards = [Card(f, thumbnails.of(f) if id(f) in pictured else None) for f in chosen]
    summary = _summary(found)
    html = page(summary, cards, total=len(found.findings), title=title)
    try:
        with data.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            _write_json(stream, summary, found.findings)
        shown.write_text(html, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the report there ({error.strerror}); check path and rights"
        ) from None
    return data, shown


def terminal_table(findings: Iterable[Finding]) -> Table:
    """Counts of each fault and action, with one example each; to be printed by rich."""
    by_fault: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_fault[finding.fault].append(finding)
    table = Table(title=None, expand=False)
    table.add_column("fault", no_wrap=True)
    for action, style in (("refused", "red"), ("fixed", "yellow"), ("kept", "")):
        table.add_column(action, justify="right", style=style)
    table.add_column("what, and the first case")
    for fault in FAULTS:
        found = by_fault.get(fault.name)
        if not found:
            continue
        counts = Counter(finding.action for finding in found)
        numbers = [f"{counts[action]:,}" if counts[action] else "" for action in _ACTIONS]
        # Text, not markup: labels and paths may hold square brackets.
        says = Text(fault.title, style="bold")
        says.append(f"\n{_shortened(_first_case(found[0]))}", style="not bold dim")
        table.add_row(fault.name, *numbers, says)
    return table


def _first_case(finding: Finding) -> str:
    """One sentence; of long paths the last two parts, so that what is said of them has room."""
    detail = finding.detail
    if finding.fault == "unused_characters":
        detail = detail.split(": ", 1)[0]  # how many; thousands of names help nobody here
    text = f"{finding.place}: {detail}" if finding.place else detail
    folder = "/".join(finding.place.split("/")[:-2])
    if folder:
        text = text.replace(f"{folder}/", "…/")
    return _LONG_PATH.sub("…/", text)


def _shortened(text: str) -> str:
    clean = "".join(char if char.isprintable() else "\\x" + f"{ord(char):x}" for char in text)
    return clean if len(clean) <= 2 * _FIRST_SHOWN else f"{clean[: 2 * _FIRST_SHOWN]}…"


def _summary(found: Inspected) -> dict[str, Any]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    unknown: Counter[str] = Counter()
    touched: dict[str, set[tuple[int, str]]] = {"refuse": set(), "fix": set()}
    for finding in found.findings:
        counts[finding.fault][finding.action] += 1
        unknown.update(finding.unknown)
        whole = finding.region is None and finding.place
        if finding.action == "fix" or (finding.action == "refuse" and whole):
            touched[finding.action].add((finding.source, finding.place))
    return {
        "format": FORMAT,
        "task": "det" if found.charset is None else "rec",
        "labels": found.labels,
        "refused": len(touched["refuse"]),
        "fixed": len(touched["fix"] - touched["refuse"]),
        "taken": {split: len(part) for split, part in found.splits.items()},
        "counts": {
            fault.name: {action: counts[fault.name][action] for action in _ACTIONS}
            for fault in FAULTS
            if fault.name in counts
        },
        "unknown_characters": dict(unknown.most_common()),
        "faults": {
            name: {"title": fault.title, "explanation": fault.explanation}
            for name, fault in FAULT_BY_NAME.items()
            if name in counts
        },
    }


def _write_json(stream: TextIO, summary: Mapping[str, Any], findings: Sequence[Finding]) -> None:
    """The summary, then one finding a line."""
    head = json.dumps(summary, ensure_ascii=False, indent=1)
    stream.write(head[: head.rindex("}")].rstrip())
    stream.write(',\n "findings": [')
    for number, finding in enumerate(findings):
        stream.write(",\n  " if number else "\n  ")
        stream.write(json.dumps(_finite(asdict(finding)), ensure_ascii=False, allow_nan=False))
    stream.write("\n ]\n}\n")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: such outlines are left out, the sentence names them."""
    points = values["points"]
    if points is not None and not np.isfinite(np.array(points, dtype=np.float64)).all():
        values["points"] = None
    return values


def _spread(findings: Sequence[Finding], most: int) -> list[Finding]:
    """Up to ``most`` findings: some of each fault, those that were refused first."""
    by_fault: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_fault[finding.fault].append(finding)
    for found in by_fault.values():
        found.sort(key=lambda finding: _ACTIONS.index(finding.action))
    names = [fault.name for fault in FAULTS if fault.name in by_fault]
    chosen: set[int] = set()
    turn = 0
    while len(chosen) < min(most, len(findings)):
        for name in names:
            if turn < len(by_fault[name]) and len(chosen) < most:
                chosen.add(id(by_fault[name][turn]))
        turn += 1
    return [f for name in names for f in by_fault[name] if id(f) in chosen]


class _Thumbnails:
    """Small JPEG pictures of findings, as data URIs."""

    def __init__(self, roots: Sequence[Root], limits: ImageLimits) -> None:
        self._roots = roots
        self._limits = limits

    def of(self, finding: Finding) -> str | None:
        """None: the picture cannot be shown."""
        if finding.fault == "too_large_picture":
            return None
        try:
            content = read_bounded(self._roots[finding.source], finding.image, self._limits)
            picture = decode_image(content, self._limits)
        except (DataError, ImageError, ValueError):
            return None
        return data_uri(thumbnail(picture, finding.points))
