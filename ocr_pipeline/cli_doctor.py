"""``ocr-pipeline doctor``. Part of :mod:`ocr_pipeline.cli`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from ocr_pipeline.doctor import Finding

_out = Console()
_err = Console(stderr=True)
_COLOUR = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def doctor(
    det: Annotated[
        str | None, typer.Option("--det", help="also: which engine serves this detector")
    ] = None,
    rec: Annotated[
        str | None, typer.Option("--rec", help="also: which engine serves this recognizer")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of an engine")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON only")] = False,
) -> None:
    """What works on this machine, what does not, and the command that mends it."""
    from ocr_pipeline.doctor import as_dict, check_engines, examine, is_well

    with _err.status("looking") as status:
        findings = examine(lambda name: status.update(f"looking at: {name}"))
        for source in (det, rec):
            if source is not None:
                status.update(f"timing the engines of {escape(source)}")
                findings += check_engines(source, threads)
    if as_json:
        typer.echo(json.dumps(as_dict(findings), ensure_ascii=False))
    else:
        _show(findings)
    if not is_well(findings):
        raise typer.Exit(1)


def _show(findings: Sequence["Finding"]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        state = f"[{_COLOUR[finding.state]}]{finding.state}[/]"
        table.add_row(finding.name, state, escape(finding.detail))
    _out.print(table, highlight=False)
    to_mend = [finding for finding in findings if finding.mend is not None]
    for finding in to_mend:
        _out.print()
        _out.print(f"[bold]{escape(finding.name)}[/]: to mend it", highlight=False)
        # A line that is copied is not broken.
        _out.print(f"  {escape(finding.mend or '')}", highlight=False, soft_wrap=True)
    bad = sum(finding.state == "bad" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    _out.print()
    if bad or warned:
        _out.print(f"{bad} bad, {warned} to look at, {len(findings)} checked", highlight=False)
    else:
        _out.print(f"[green]all {len(findings)} are well[/]", highlight=False)
