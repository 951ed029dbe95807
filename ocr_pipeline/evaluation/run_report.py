"""The report of a training run: ``report.html`` to look at, ``report.json`` with its figures."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ocr_pipeline.artifacts.dataset import DetSample, RecSample, SourceCard
from ocr_pipeline.errors import DataError, OcrPipelineError
from ocr_pipeline.evaluation.compare_lines import LineComparison, ReadLine, compare_lines
from ocr_pipeline.evaluation.compare_regions import (
    ComparedPages,
    FoundPage,
    RegionComparison,
    compare_regions,
)
from ocr_pipeline.evaluation.comparison import plain
from ocr_pipeline.evaluation.lines import LineReport
from ocr_pipeline.evaluation.regions import RegionReport
from ocr_pipeline.evaluation.report_parts import RunFacts
from ocr_pipeline.evaluation.run_report_html import line_page, region_page
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.thumbnail import Drawn, data_uri, page_thumbnail, thumbnail

FORMAT = 1
"""Of ``report.json``; see docs/report.md."""
_RED, _AMBER, _GREEN, _GREY = (60, 60, 230), (28, 160, 232), (107, 154, 44), (152, 143, 138)

Read = Callable[[RecSample | DetSample], BGRImage]
"""Gives the picture of a sample, ``[H, W, 3]`` uint8 BGR."""


def write_line_report(
    folder: Path,
    *,
    run: RunFacts,
    log: Sequence[Mapping[str, object]],
    before: LineReport | None,
    after: LineReport,
    sources: Sequence[SourceCard],
    read: Read,
) -> Path:
    """Write the report of a recognizer's run.

    Args:
        folder: exists; gets ``report.html`` and ``report.json``.
        run: names and facts.
        log: rows of ``metrics.jsonl``; may be empty.
        before: what the model before the training reads; None: there is none.
        after: what the chosen checkpoint reads, on the same samples in the same order.
        sources: of the dataset, by number.
        read: gives pictures; one that it cannot give is left out of the page.

    Returns:
        Path of the page.

    Raises:
        DataError: the report cannot be written.
        ValueError: not the same samples, or none of your own.
    """
    found = compare_lines(before, after, sources)

    def picture(line: ReadLine) -> str | None:
        image = _read_or_none(read, line.sample)
        return None if image is None else data_uri(thumbnail(image, None))

    return _write(folder, line_page(found, run, log, picture), _line_figures(found), run)


def write_region_report(
    folder: Path,
    *,
    run: RunFacts,
    log: Sequence[Mapping[str, object]],
    before: RegionReport | None,
    after: RegionReport,
    sources: Sequence[SourceCard],
    read: Read,
) -> Path:
    """Write the report of a detector's run; see :func:`write_line_report`."""
    found = compare_regions(before, after, sources)

    def picture(page: ComparedPages) -> str | None:
        image = _read_or_none(read, page.sample)
        return None if image is None else data_uri(page_thumbnail(image, _drawn(page.after)))

    return _write(folder, region_page(found, run, log, picture), _region_figures(found), run)


def read_log(path: Path) -> list[dict[str, object]]:
    """Read ``metrics.jsonl``; an empty list where there is none.

    Raises:
        DataError: a line that is no JSON object (path and number given).
    """
    if not path.is_file():
        return []
    rows: list[dict[str, object]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: not a JSON object; a run writes one a line, remove what else "
                "is there"
            )
        rows.append(row)
    return rows


def _write(folder: Path, page: str, figures: Mapping[str, Any], run: RunFacts) -> Path:
    shown = folder / "report.html"
    head = {
        "format": FORMAT,
        "run": run.name,
        "before": run.before,
        "after": run.after,
        "best_step": run.best_step,
        "facts": dict(run.facts),
    }
    content = json.dumps(plain({**head, **figures}), ensure_ascii=False, indent=1, allow_nan=False)
    try:
        (folder / "report.json").write_text(f"{content}\n", "utf-8", errors="backslashreplace")
        shown.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the report there ({error.strerror}); check path and rights"
        ) from None
    return shown


def _read_or_none(read: Read, sample: RecSample | DetSample) -> BGRImage | None:
    """A page without one picture is better than none: it has been read once already."""
    try:
        return read(sample)
    except OcrPipelineError:
        return None


def _drawn(page: FoundPage) -> list[Drawn]:
    """What must be seen is drawn last."""
    kinds = (
        (page.aside, _GREY, 1),
        (page.right, _GREEN, 1),
        (page.false, _AMBER, 2),
        (page.missed, _RED, 2),
    )
    return [Drawn(points, color, width) for found, color, width in kinds for points in found]


def _line_figures(found: LineComparison) -> dict[str, Any]:
    figures = _plain_figures(found, ("surely_wrong", "worse", "better", "confusions"))
    figures["confusions"] = [
        {**asdict(one.confusion), "kind": one.confusion.kind, "count_before": one.before}
        for one in found.confusions
    ]
    for name in ("surely_wrong", "worse", "better"):
        figures[name] = [_line_values(line) for line in getattr(found, name)]
    return {"task": "rec", **figures}


def _line_values(line: ReadLine) -> dict[str, Any]:
    return {
        "image": line.sample.image,
        "source": line.source,
        "crop": line.sample.crop,
        "label": line.sample.text,
        "read": line.read,
        "confidence": line.confidence,
        "edits": line.edits,
        "before": line.before,
        "confidence_before": line.confidence_before,
        "edits_before": line.edits_before,
    }


def _region_figures(found: RegionComparison) -> dict[str, Any]:
    figures = _plain_figures(found, ("worst", "worse", "better"))
    for name in ("worst", "worse", "better"):
        figures[name] = [
            {
                "image": page.sample.image,
                "source": page.source,
                "before": None if page.before is None else _page_values(page.before),
                "after": _page_values(page.after),
            }
            for page in getattr(found, name)
        ]
    return {"task": "det", **figures}


def _page_values(page: FoundPage) -> dict[str, Any]:
    return {
        "found": page.score.matched,
        "missed": [list(points) for points in page.missed],
        "false": [list(points) for points in page.false],
    }


def _plain_figures(
    found: LineComparison | RegionComparison, without: Sequence[str]
) -> dict[str, Any]:
    kept = {name: getattr(found, name) for name in vars(found) if name not in without}
    return {name: _values(value) for name, value in kept.items()}


def _values(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_values(inner) for inner in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
