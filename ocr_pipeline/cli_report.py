"""``ocr-pipeline report``. Part of :mod:`ocr_pipeline.cli`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_out = Console()


def report(
    run: Annotated[Path, typer.Argument(help="folder of a run, made by train")],
    model: Annotated[
        str | None,
        typer.Option(help="compare with this model in the place of step 0: name or folder"),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="evaluate on this one; default: the run's own")
    ] = None,
) -> None:
    """Before against after, as a page: curves, intervals, worst samples, thresholds."""
    from ocr_pipeline.evaluation.report_run import report_run

    page = report_run(run, before=model, dataset=dataset)
    _out.print(f"report: {page}", highlight=False, soft_wrap=True)
