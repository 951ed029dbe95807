"""``ocr-pipeline benchmark <name>``: speed against other code. Part of :mod:`ocr_pipeline.cli`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from ocr_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from ocr_pipeline.benchmarks.mixed_precision import PrecisionResult
    from ocr_pipeline.benchmarks.statistics import Estimate
    from ocr_pipeline.benchmarks.train_step import SideResult

app = typer.Typer(help="Speed against other code, side by side.", no_args_is_help=True)
_out = Console()
_err = Console(stderr=True)


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


@app.command()
def loader(
    task: Annotated[Literal["rec", "det"], typer.Option(help="lines or pages")],
    data: Annotated[Path, typer.Option(help="folder with rec_train.txt or det_train.txt")],
    labels: Annotated[str, typer.Option(help="another list in that folder")] = "",
    steps: Annotated[int, typer.Option(min=1, help="measured turns of each side")] = 10,
    warmup: Annotated[int, typer.Option(min=1, help="turns of each side before that")] = 2,
    batches: Annotated[int, typer.Option(min=1, help="drawn in one turn")] = 12,
    batch: Annotated[int, typer.Option(min=0, help="samples a batch; 0: 64 lines, 8 pages")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="processes of each side")] = 2,
) -> None:
    """Batches with full augmentation: our data pipeline and PaddleOCR's take turns."""
    from ocr_pipeline.benchmarks.loader import LoaderPlan, run_loader, summary
    from ocr_pipeline.paddle_environment import paddle_environment
    from ocr_pipeline.progress import counting

    plan = LoaderPlan(
        task=task,
        data=data,
        labels=labels,
        batches=batches,
        steps=steps,
        warmup=warmup,
        workers=workers,
        batch=batch,
    )
    with counting(_err, "rounds") as on_progress:
        results = run_loader(plan, paddle_environment(), on_progress=on_progress)
    table = Table()
    for column in ("pictures", "side"):
        table.add_column(column)
    for column in (
        "samples/s",
        "CPU ms a sample",
        "times ppocr's speed",
        "ppocr's CPU, times ours",
    ):
        table.add_column(column, justify="right")
    for result in results:
        cells = (f"{result.samples_per_s:,.0f}", f"{result.cpu_ms_per_sample:.2f}")
        ratios = (_shown(result.speedup), _shown(result.cpu_ratio))
        table.add_row(result.setting, result.name, *cells, *ratios)
    _out.print(table)
    typer.echo(json.dumps(summary(plan, results)))


@app.command()
def packs(
    pictures: Annotated[Path, typer.Argument(help="folder of pictures; they are repeated")],
    samples: Annotated[int, typer.Option(min=100, help="pictures in each format")] = 20_000,
    formats: Annotated[str, typer.Option(help="with commas between")] = (
        "tar,files,lmdb,array_record,parquet"
    ),
    rounds: Annotated[int, typer.Option(min=1, help="turns of each format")] = 7,
    s3: Annotated[bool, typer.Option("--s3", help="also from an S3 server started here")] = False,
) -> None:
    """Ways to store many small pictures, read in turns; needs lmdb, array_record and pyarrow."""
    from ocr_pipeline.benchmarks.packs import run_packs

    names = tuple(name.strip() for name in formats.split(","))
    report = run_packs(pictures, samples, names, rounds=rounds, s3=s3)
    _out.print(report.as_markdown(), highlight=False, soft_wrap=True)
    typer.echo(report.as_json())


@app.command(name="loader-memory")
def loader_memory(
    lines: Annotated[str, typer.Option(help="sizes of the lists, with commas between")] = (
        "10000,1000000"
    ),
    batches: Annotated[int, typer.Option(min=1, help="drawn from each")] = 50,
    workers: Annotated[int, typer.Option(min=0, help="processes that read")] = 2,
) -> None:
    """Memory and start-up time of the loader on generated lists of very different sizes."""
    from ocr_pipeline.benchmarks.loader_memory import run_loader_memory

    sizes = [int(size) for size in lines.split(",")]
    results = run_loader_memory(sizes, batches=batches, workers=workers)
    table = Table()
    for column in ("lines", "start-up s", "MB after it", "MB at most", "MB before it"):
        table.add_column(column, justify="right")
    for result in results:
        figures = (result.after_mb, result.peak_mb, result.before_mb)
        cells = (f"{figure:,.0f}" for figure in figures)
        table.add_row(f"{result.lines:,}", f"{result.start_s:.2f}", *cells)
    _out.print(table)
    typer.echo(json.dumps([result._asdict() for result in results]))


@app.command()
def pages(
    against: Annotated[
        str,
        typer.Option(
            help="rapidocr-openvino, rapidocr-openvino-cls, rapidocr-onnxruntime, paddleocr, "
            "faster-paddle, rapidocrlite, with commas between; none: our side alone"
        ),
    ] = "",
    size: Annotated[
        Literal["small", "tiny"], typer.Option(help="of the released v6 networks, on all sides")
    ] = "small",
    det: Annotated[str, typer.Option(help="our detector, instead: released name or folder")] = "",
    rec: Annotated[str, typer.Option(help="our recognizer, instead")] = "",
    folder: Annotated[
        Path | None,
        typer.Option("--pages", help="pictures with truth files; none: pages are drawn"),
    ] = None,
    variant: Annotated[
        str, typer.Option(help="runtime and precision of ours; a side for each")
    ] = "auto",
    det_rule: Annotated[
        str,
        typer.Option(
            help="size of our detector's input: own, rapidocr, faster-paddle; a side each"
        ),
    ] = "own",
    threads: Annotated[int, typer.Option(min=1, help="of each side")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="measured readings of each picture")] = 3,
    warmup: Annotated[int, typer.Option(min=0, help="readings of each picture before")] = 1,
    drawn: Annotated[int, typer.Option(min=1, help="pages to draw without --pages")] = 10,
    profile: Annotated[bool, typer.Option(help="also where our milliseconds go")] = True,
) -> None:
    """Whole pages on CPU: our reader and others take turns, picture by picture."""
    from ocr_pipeline.benchmarks.pages import PagesPlan, run_pages
    from ocr_pipeline.benchmarks.pages_report import as_markdown, summary
    from ocr_pipeline.paddle_environment import paddle_environment
    from ocr_pipeline.progress import counting

    plan = PagesPlan(
        against=against,
        size=size,
        det=det,
        rec=rec,
        pages=folder,
        variants=variant,
        det_rules=det_rule,
        threads=threads,
        rounds=rounds,
        warmup=warmup,
        drawn=drawn,
        profile=profile,
    )
    with counting(_err, "readings") as on_progress:
        report = run_pages(plan, paddle_environment(), on_progress=on_progress)
    _out.print(as_markdown(report), highlight=False, soft_wrap=True, markup=False)
    typer.echo(json.dumps(summary(report), ensure_ascii=False))


@app.command()
def serve(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PATH[=WEIGHT]...", help="pictures and folders that are sent"),
    ],
    url: Annotated[
        list[str] | None,
        typer.Option("--url", help="of a running service; several take turns; none: starts ours"),
    ] = None,
    key: Annotated[
        str, typer.Option(envvar="OCR_API_KEY", help="that these services ask for")
    ] = "",
    against: Annotated[
        str,
        typer.Option(
            help="servers to start beside: paddlex, rapidocr-api, rapidocr-api-openvino, with "
            "commas between"
        ),
    ] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="of our service, where it is started"),
    ] = None,
    threads: Annotated[int, typer.Option(help="of each server that is started")] = 2,
    clients: Annotated[
        str, typer.Option(help="that each wait for their answer, with commas between")
    ] = "",
    rate: Annotated[
        str, typer.Option(help="pictures a second that arrive at random, with commas between")
    ] = "",
    seconds: Annotated[float, typer.Option(help="of load in one turn, at least")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each service")] = 2,
    duration: Annotated[
        float | None, typer.Option(help="seconds of one long turn; shows whether memory grows")
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="for one answer")] = 60.0,
    in_flight: Annotated[
        int, typer.Option(help="with --rate: unanswered pictures, one more is not sent")
    ] = 256,
    seed: Annotated[int, typer.Option(help="of the order and of the arrivals")] = 0,
) -> None:
    """Load on services, side by side: pictures a second, how long one waits, CER, memory."""
    from ocr_pipeline.benchmarks.serve import LoadPlan, mixed, run_load
    from ocr_pipeline.benchmarks.serve_report import as_markdown, summary
    from ocr_pipeline.progress import counting

    if not clients and not rate:
        clients = "1,8" if duration is None else "8"
    plan = LoadPlan(
        pictures=mixed(pictures, seed),
        urls=tuple(url or ()),
        key=key,
        against=against,
        settings=tuple(setting or ()),
        threads=threads,
        clients=tuple(map(int, _numbers("clients", clients, r"\d+"))),
        rates=tuple(map(float, _numbers("rate", rate, r"\d+(\.\d+)?"))),
        seconds=seconds if duration is None else duration,
        soak=duration is not None,
        rounds=rounds if duration is None else 1,
        timeout_s=timeout_s,
        in_flight=in_flight,
        seed=seed,
    )
    with counting(_err, "turns") as on_turn:
        report = run_load(plan, on_turn=on_turn)
    _out.print(as_markdown(report), highlight=False, soft_wrap=True, markup=False)
    typer.echo(json.dumps(summary(report)))


def _numbers(name: str, text: str, form: str) -> list[str]:
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(re.fullmatch(form, word) for word in words):
        raise ConfigError(f"{name} {text!r}; allowed: numbers with commas between")
    return words


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


def _shown(ratio: "Estimate | None") -> str:
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
