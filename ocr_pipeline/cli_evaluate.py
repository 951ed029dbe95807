"""``ocr-pipeline evaluate``. Part of :mod:`ocr_pipeline.cli`."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ocr_pipeline.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ocr_pipeline.artifacts.dataset import DetSample
    from ocr_pipeline.inference.detector import Detector
    from ocr_pipeline.inference.recognizer import Recognizer
    from ocr_pipeline.ops.det_metrics import RegionScore

_out = Console()
_err = Console(stderr=True)
SampleT = TypeVar("SampleT")
_ANY_MODEL = "released name, checkpoint, run or exported folder"


def evaluate(
    model: Annotated[str, typer.Argument(help=f"recognizer or detector: {_ANY_MODEL}")],
    labels: Annotated[Path, typer.Argument(help="PaddleOCR list, or a dataset (its val part)")],
    images: Annotated[
        Path | None, typer.Option(help="folder of the pictures; default: beside the list")
    ] = None,
    det: Annotated[
        str | None, typer.Option(help="beside a recognizer: detector, to read whole pages")
    ] = None,
    rec: Annotated[
        str | None, typer.Option(help="beside a detector: recognizer, to read whole pages")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON only")] = False,
    worst: Annotated[int, typer.Option(min=0, help="show so many of the worst lines, pages")] = 10,
    turn: Annotated[bool, typer.Option("--turn", help="read unsure lines upside-down too")] = False,
) -> None:
    """Accuracy: of a recognizer on lines, a detector on pages, or both on pages."""
    from ocr_pipeline.evaluation.sources import labels_task, load_any_model
    from ocr_pipeline.inference.recognizer import Recognizer

    task, why = labels_task(labels)
    first = load_any_model(model)
    is_recognizer = isinstance(first, Recognizer)
    _check_options(model, det, rec, is_recognizer=is_recognizer, turn=turn)
    both = det is not None or rec is not None
    if task == "rec" and (both or not is_recognizer):
        raise DataError(
            f"{labels}: labelled lines ({why}), and {det or model} is a detector; lines are "
            'evaluated with a recognizer alone, pages (image<TAB>[{"transcription": ..., "points": '
            "...}]) with a detector"
        )
    if task == "det" and is_recognizer and not both:
        raise DataError(
            f"{labels}: pages with regions ({why}), and {model} is a recognizer; pages are "
            "evaluated with a detector; give one, or name it with --det to read from end to end"
        )
    title = f"{model}{f' with {det or rec}' if both else ''} on {labels}"
    if isinstance(first, Recognizer) and not both:
        figures = _lines(title, first, labels, images, turn=turn, worst=worst, quiet=as_json)
    elif both:
        pair = _pair(first, det, rec)
        figures = _reading(title, *pair, labels, images, turn=turn, worst=worst, quiet=as_json)
    else:
        assert not isinstance(first, Recognizer)  # noqa: S101  (it is one of two)
        figures = _regions(title, first, labels, images, worst=worst, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(figures))


def _check_options(
    model: str, det: str | None, rec: str | None, *, is_recognizer: bool, turn: bool
) -> None:
    """Refuse a second model of the same kind, and what would have no effect."""
    if is_recognizer and rec is not None:
        raise ConfigError(
            f"--rec {rec}: {model} is a recognizer already; name a detector beside it with --det"
        )
    if not is_recognizer and det is not None:
        raise ConfigError(
            f"--det {det}: {model} is a detector already; name a recognizer beside it with --rec"
        )
    if turn and not is_recognizer and rec is None:
        raise ConfigError(f"--turn: {model} reads no lines; name a recognizer beside it with --rec")


def _pair(
    first: "Detector | Recognizer", det: str | None, rec: str | None
) -> "tuple[Detector, Recognizer]":
    """The model and the one named beside it."""
    from ocr_pipeline.evaluation.sources import load_any_detector, load_any_recognizer
    from ocr_pipeline.inference.recognizer import Recognizer

    if isinstance(first, Recognizer):
        return load_any_detector(str(det)), first
    return first, load_any_recognizer(str(rec))


def _lines(
    title: str,
    recognizer: "Recognizer",
    labels: Path,
    images: Path | None,
    *,
    turn: bool,
    worst: int,
    quiet: bool,
) -> dict[str, Any]:
    """Evaluate a recognizer on lines; say it unless ``quiet``; return the figures."""
    from ocr_pipeline.config.orientation import OrientationConfig
    from ocr_pipeline.evaluation.lines import evaluate_lines
    from ocr_pipeline.evaluation.sources import labelled_lines
    from ocr_pipeline.inference.orientation import TurningRecognizer

    samples, read = labelled_lines(labels, images)
    turning = TurningRecognizer(recognizer, OrientationConfig(enabled=turn))
    with _counted(read, len(samples), "lines") as read_counted:
        report = evaluate_lines(turning, samples, read_counted)
    raw, normalised = (
        {"exact": score.exact, "cer": score.cer, "ned": score.ned}
        for score in (report.raw, report.normalised)
    )
    if not quiet:
        _say(f"{escape(title)}: {len(samples):,} lines")
        table = _table("exact %", "CER %", "1-NED %")
        for name, row in (("raw", raw), ("normalised", normalised)):
            table.add_row(name, f"{row['exact']:.1f}", f"{row['cer']:.2f}", f"{row['ned']:.2f}")
        _out.print(table)
        wrong = [(s, t) for s, t in zip(samples, report.lines, strict=True) if s.text != t.text]
        for sample, line in sorted(wrong, key=lambda pair: -pair[1].confidence)[:worst]:
            _say(
                f"{escape(sample.image)}: [green]{escape(sample.text)}[/] read as "
                f"[red]{escape(line.text) or '(nothing)'}[/] ({line.confidence:.2f})"
            )
    return {"samples": len(samples), "raw": raw, "normalised": normalised, **raw}


def _regions(
    title: str,
    detector: "Detector",
    labels: Path,
    images: Path | None,
    *,
    worst: int,
    quiet: bool,
) -> dict[str, Any]:
    """Evaluate a detector on pages; say it unless ``quiet``; return the figures."""
    from ocr_pipeline.evaluation.regions import evaluate_regions
    from ocr_pipeline.evaluation.sources import labelled_pages

    samples, read = labelled_pages(labels, images)
    with _counted(read, len(samples), "pages") as read_counted:
        report = evaluate_regions(detector, samples, read_counted)
    if not quiet:
        _say_pages(title, len(samples), report.score)
        _out.print(_region_table([("regions", report.score)]))
        _say_worst(samples, report.pages, worst, right="found", made="detections")
    return {"samples": len(samples), **_region_figures(report.score)}


def _reading(
    title: str,
    detector: "Detector",
    recognizer: "Recognizer",
    labels: Path,
    images: Path | None,
    *,
    turn: bool,
    worst: int,
    quiet: bool,
) -> dict[str, Any]:
    """Evaluate both on pages; say it unless ``quiet``; return the figures."""
    from ocr_pipeline.config.orientation import OrientationConfig
    from ocr_pipeline.evaluation.regions import evaluate_reading
    from ocr_pipeline.evaluation.sources import labelled_pages
    from ocr_pipeline.inference import OcrReader

    samples, read = labelled_pages(labels, images)
    reader = OcrReader(detector, recognizer, OrientationConfig(enabled=turn))
    with _counted(read, len(samples), "pages") as read_counted:
        report = evaluate_reading(reader, samples, read_counted)
    if not quiet:
        _say_pages(title, len(samples), report.found)
        if report.without_text:
            _say(f"[yellow]{report.without_text:,} regions have no text: left out of account[/]")
        scores = {
            "regions": report.found,
            "text, raw": report.raw,
            "text, normalised": report.normalised,
        }
        _out.print(_region_table(list(scores.items())))
        _say_worst(samples, report.pages, worst, right="read right", made="lines")
    return {
        "samples": len(samples),
        "without_text": report.without_text,
        "raw": _region_figures(report.raw),
        "normalised": _region_figures(report.normalised),
        **_region_figures(report.found),
    }


@contextmanager
def _counted(
    read: Callable[[SampleT], Any], count: int, what: str
) -> Iterator[Callable[[SampleT], Any]]:
    """Show a bar on stderr that moves with each picture that is read."""
    from ocr_pipeline.progress import counting

    done = 0

    def read_and_count(sample: SampleT) -> Any:
        nonlocal done
        picture = read(sample)
        done += 1
        on_progress(done, count)
        return picture

    with counting(_err, f"evaluating {what}") as on_progress:
        yield read_and_count


def _say(text: str) -> None:
    _out.print(text, highlight=False, soft_wrap=True)


def _say_pages(title: str, pages: int, score: "RegionScore") -> None:
    ignored = f" ({score.ignored_truths:,} more are ignored)" if score.ignored_truths else ""
    _say(f"{escape(title)}: {pages:,} pages, {score.truths:,} regions{ignored}")


def _table(*figures: str) -> Table:
    table = Table()
    for column in ("", *figures):
        table.add_column(column, justify="right" if column else "left")
    return table


def _region_table(rows: "Sequence[tuple[str, RegionScore]]") -> Table:
    table = _table("precision %", "recall %", "hmean %", "right", "wrong", "missed")
    for name, score in rows:
        percents = (f"{v:.1f}" for v in (score.precision, score.recall, score.hmean))
        wrong, missed = score.detections - score.matched, score.truths - score.matched
        table.add_row(name, *percents, *(f"{n:,}" for n in (score.matched, wrong, missed)))
    return table


def _say_worst(
    samples: "Sequence[DetSample]",
    pages: "Sequence[RegionScore]",
    count: int,
    *,
    right: str,
    made: str,
) -> None:
    """Name the pages of the lowest hmean; of equal ones, those with more faults."""
    faulty = [pair for pair in zip(samples, pages, strict=True) if _faults(pair[1])]
    for sample, page in sorted(faulty, key=lambda pair: (pair[1].hmean, -_faults(pair[1])))[:count]:
        _say(
            f"{escape(sample.image)}: hmean [red]{page.hmean:.1f} %[/]: {page.matched} of "
            f"{page.truths} regions {right}, {page.detections - page.matched} of "
            f"{page.detections} {made} wrong"
        )


def _faults(score: "RegionScore") -> int:
    return score.truths + score.detections - 2 * score.matched


def _region_figures(score: "RegionScore") -> dict[str, Any]:
    from ocr_pipeline.evaluation.regions import region_figures

    return {**region_figures(score), "counts": asdict(score)}
