"""``ocr-pipeline benchmark <name>``: speed against other code. Part of :mod:`ocr_pipeline.cli`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ocr_pipeline.benchmarks.mixed_precision import PrecisionResult
    from ocr_pipeline.benchmarks.statistics import Ratio
    from ocr_pipeline.benchmarks.train_step import SideResult

app = typer.Typer(help="Speed against other code, side by side.", no_args_is_help=True)
_out = Console()
_err = Console(stderr=True)


@app.callback()
def _benchmark() -> None:
    """Keeps `train-step` a command of its own while it is the only one."""


@app.command(name="train-step")
def train_step(
    network: Annotated[str, typer.Option(help="released name")] = "ppocrv4_mobile_rec",
    form: Annotated[
        str, typer.Option(help="calibrated, multi_branch, or both with a comma between")
    ] = "calibrated",
    steps: Annotated[int, typer.Option(min=1, help="measured steps of each side")] = 12,
    warmup: Annotated[int, typer.Option(min=0, help="steps of each side before that")] = 3,
    batch: Annotated[int, typer.Option(min=1, help="samples a step")] = 16,
    width: Annotated[int, typer.Option(min=8, help="of the pictures, px")] = 320,
    threads: Annotated[int, typer.Option(min=1, help="OpenMP threads of each side")] = 2,
    tuned: Annotated[
        bool, typer.Option(help="also ppocr with the environment and allocator that ours sets")
    ] = True,
    amp: Annotated[
        str | None,
        typer.Option(help="on a GPU instead: v6 small det and rec in fp32,fp16,bf16"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON as the last line")] = False,
) -> None:
    """One training step on CPU: ours and PaddleOCR's training code take turns."""
    if amp is not None:
        _mixed_precision(amp, batch=batch, steps=steps, warmup=warmup, as_json=as_json)
        return
    from ocr_pipeline.benchmarks.train_step import TrainStepPlan, run_train_step
    from ocr_pipeline.paddle_environment import paddle_environment
    from ocr_pipeline.progress import counting

    plan = TrainStepPlan(
        network=network,
        forms=tuple(name.strip() for name in form.split(",")),
        steps=steps,
        warmup=warmup,
        batch=batch,
        width=width,
        threads=threads,
        tuned=tuned,
    )
    with counting(_err, "rounds") as on_progress:
        results = run_train_step(plan, paddle_environment(), on_progress=on_progress)
    _out.print(
        f"{network}, batch {batch}, 48x{width}, {threads} threads; medians of {steps} steps, "
        f"interleaved, after {warmup}",
        highlight=False,
    )
    _out.print(_table(results))
    if as_json:
        typer.echo(json.dumps([_figures(result) for result in results]))


def _table(results: "Sequence[SideResult]") -> Table:
    table = Table()
    table.add_column("side")
    for column in ("s a step", "CPU s", "parameters", "of ppocr", "of ppocr, our settings"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            result.name,
            f"{result.seconds:.3f}",
            f"{result.cpu_seconds:.3f}",
            f"{result.parameters:,}",
            _shown(result.against_ppocr),
            _shown(result.against_tuned),
        )
    return table


def _shown(ratio: "Ratio | None") -> str:
    return "" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _figures(result: "SideResult") -> dict[str, object]:
    figures = result._asdict()
    for name in ("against_ppocr", "against_tuned"):
        ratio = figures[name]
        figures[name] = None if ratio is None else ratio._asdict()
    return figures


def _mixed_precision(amp: str, *, batch: int, steps: int, warmup: int, as_json: bool) -> None:
    from ocr_pipeline.benchmarks.mixed_precision import parse_dtypes, run_mixed_precision

    results = run_mixed_precision(parse_dtypes(amp), batch=batch, steps=steps, warmup=warmup)
    _out.print(_precision_table(results))
    if as_json:
        typer.echo(json.dumps([result._asdict() for result in results]))


def _precision_table(results: "Sequence[PrecisionResult]") -> Table:
    table = Table()
    for column in ("network", "precision", "samples/s", "peak MB"):
        table.add_column(column, justify="right" if column in ("samples/s", "peak MB") else "left")
    for result in results:
        cells = (f"{result.samples_per_s:,.1f}", f"{result.peak_mb:,.0f}")
        table.add_row(result.network, result.dtype, *cells)
    return table
