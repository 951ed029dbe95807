"""The command line: ``ocr-pipeline <name>`` and ``scripts/<name>.py`` both end here.

Imports of the heavy parts are inside the commands, so that ``--help`` answers at once.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ocr_pipeline import (
    cli_benchmark,
    cli_dataset,
    cli_doctor,
    cli_evaluate,
    cli_report,
    cli_train,
    cli_weights,
)
from ocr_pipeline.config.base import Config, load_config, overrides_from
from ocr_pipeline.errors import ConfigError, OcrPipelineError
from ocr_pipeline.paddle_environment import set_paddle_environment

app = typer.Typer(
    help="Fine-tune PP-OCR on your own pictures and serve it: prepare, train, export, serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_benchmark.app, name="benchmark")
app.add_typer(cli_dataset.app, name="dataset")
app.add_typer(cli_weights.app, name="weights")
_out = Console()
_err = Console(stderr=True)
_SHOWN_CHARACTERS = 60

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="YAML file, see configs/")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. optim.lr=3e-4")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing result")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON only")]
DetOption = Annotated[str, typer.Option("--det", help="exported detector: folder or released name")]
RecOption = Annotated[
    str, typer.Option("--rec", help="exported recognizer: folder or released name")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads of an engine")]
EngineOption = Annotated[
    str, typer.Option("--engine", help="variant, e.g. openvino-fp32; auto: the fastest that passes")
]


def main() -> None:
    """Run the command line; a fault that the user can mend is one message and an exit code."""
    _quiet_paddle()
    try:
        app()
    except OcrPipelineError as error:
        _err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say, and no trace.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _quiet_paddle() -> None:
    """Before paddle is imported: what makes it fast on this machine, no chatter of its C++ side."""
    set_paddle_environment()
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="When training, we now always track")


def _load(schema: type[Config], path: Path, overrides: list[str] | None) -> Any:
    return load_config(TypeAdapter(schema), path, overrides or [])


@app.command()
def render(config: ConfigPath, overrides: Overrides = None) -> None:
    """Practice data: labelled lines and pages of slips, forms, displays, or of your own texts."""
    from ocr_pipeline.config.render import RenderConfig
    from ocr_pipeline.fonts import find_font, find_fonts
    from ocr_pipeline.preprocess.render import render_set
    from ocr_pipeline.preprocess.synthesis import synthesise
    from ocr_pipeline.progress import counting

    settings: RenderConfig = _load(RenderConfig, config, overrides)
    font = find_font(may_fetch=True)
    if settings.domain == "demo":
        with counting(_err, "rendering lines") as on_progress:
            folder = render_set(settings, font, on_progress)
        _out.print(
            f"{settings.train_lines:,} lines to train on, {settings.val_lines:,} to validate, "
            f"one page: {folder}",
            highlight=False,
        )
        return
    fonts = list(dict.fromkeys([font, *find_fonts(settings.fonts, may_fetch=True)]))
    charset = _covered_charset(settings)
    with counting(_err, "rendering") as on_progress:
        made = synthesise(settings, fonts, charset=charset, on_progress=on_progress)
    counts = ", ".join(f"{name} {count:,}" for name, count in made.counts.items())
    _out.print(f"{made.folder}: {counts}", highlight=False, soft_wrap=True)
    for what, characters in (
        ("characters that no font draws", made.not_drawn),
        ("characters of the corpus that were passed over", made.left_out),
    ):
        if characters:
            shown = "".join(characters[:_SHOWN_CHARACTERS])
            more = " ..." if len(characters) > _SHOWN_CHARACTERS else ""
            text = f"[yellow]{len(characters):,} {what}:[/] {escape(shown)}{more}"
            _out.print(text, highlight=False, soft_wrap=True)


def _covered_charset(settings: Any) -> Any:
    """Character set of the model that a coverage names; None: it names a file, or there is none."""
    from ocr_pipeline.weights.source import recognizer_rules

    if settings.coverage is None or Path(settings.coverage.charset).is_file():
        return None
    return recognizer_rules(str(settings.coverage.charset))[0]


@app.command()
def prepare(
    config: ConfigPath,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
    check: Annotated[
        bool, typer.Option("--check", help="look only; exit code 1 if a label would be refused")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="with --check: folder for report.html and report.json")
    ] = None,
) -> None:
    """Stage 1: labels and pictures to a checked, split dataset."""
    from ocr_pipeline.config.prepare import PrepareConfig
    from ocr_pipeline.preprocess.prepare import inspect, prepare_and_tell
    from ocr_pipeline.preprocess.report import terminal_table, write_report
    from ocr_pipeline.progress import counting

    settings: PrepareConfig = _load(PrepareConfig, config, overrides)
    if report is not None and not check:
        raise ConfigError("--report goes with --check; a dataset has its report in its own folder")
    if report is not None and report.exists() and not report.is_dir():
        raise ConfigError(f"--report {report}: a file; name a folder")
    charset = image = None
    if settings.task == "rec":  # a detection dataset needs no network, so Paddle is not imported
        from ocr_pipeline.weights.source import recognizer_rules

        charset, image = recognizer_rules(settings.model)
    with counting(_err, "checking samples") as on_progress:
        if check:
            found = inspect(settings, charset, image=image, on_progress=on_progress)
            findings, counts = found.findings, {str(k): len(v) for k, v in found.splits.items()}
        else:
            dataset, findings = prepare_and_tell(
                settings, charset, image=image, replace=overwrite, on_progress=on_progress
            )
            counts = dataset.manifest.counts
    parts = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    if findings:
        _out.print(terminal_table(findings))
    if check:
        _out.print(f"would take {parts}", highlight=False)
        if report is not None:
            report.mkdir(parents=True, exist_ok=True)
            shown = write_report(report, found, limits=settings.limits, title=str(settings.out))[1]
            _out.print(f"report: {shown}", highlight=False, soft_wrap=True)
        if any(finding.action == "refuse" for finding in findings):
            raise typer.Exit(1)
        return
    _out.print(f"dataset {dataset.folder}: {dataset.parts()}", highlight=False, soft_wrap=True)
    if findings:
        _out.print(f"report: {dataset.folder / 'report.html'}", highlight=False, soft_wrap=True)


app.command()(cli_train.train)
app.command()(cli_doctor.doctor)
app.command()(cli_evaluate.evaluate)
app.command()(cli_report.report)


@app.command(name="evaluate-pages")
def evaluate_pages(
    folder: Annotated[Path, typer.Argument(help="pictures with truth files of the same name")],
    det: DetOption = "ppocrv6_small_det",
    rec: RecOption = "ppocrv6_small_rec",
    as_json: AsJson = False,
    threads: Threads = 2,
    engine: EngineOption = "auto",
) -> None:
    """Character error rate on whole pages; a truth file is ``[[points, text], ...]``."""
    from ocr_pipeline.evaluation.pages import score_pages

    reader = _reader(det, rec, threads, engine)
    scores = list(score_pages(folder, reader.read))
    characters = sum(score.characters for score in scores)
    cer = 100 * sum(score.edits for score in scores) / characters
    in_order = 100 * sum(score.edits_in_order for score in scores) / characters
    if as_json:
        figures = {"pages": len(scores), "characters": characters}
        print(json.dumps({**figures, "cer": cer, "cer_in_order": in_order}))
        return
    _out.print(f"{len(scores)} pages of {folder}", highlight=False, soft_wrap=True)
    table = Table()
    for column in ("page", "characters", "edits", "edits in order"):
        table.add_column(column, justify="left" if column == "page" else "right")
    for score in scores:
        cells = (score.characters, score.edits, score.edits_in_order)
        table.add_row(score.name, *(f"{cell:,}" for cell in cells))
    _out.print(table)
    _out.print(f"CER {cer:.3f} % line by line, {in_order:.3f} % in reading order", highlight=False)


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="checkpoint, run folder or released name")],
    out: Annotated[Path, typer.Argument(help="folder of the exported model")],
    overrides: Overrides = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file")] = None,
    to: Annotated[
        str | None,
        typer.Option(help="runtimes: static,onnx,openvino,lite,tensorrt; as `to=[...]`"),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="numbers: fp32,bf16,fp16,int8; as `precision=[...]`")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="measures on its validation part, calibrates INT8 on its training part"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="write the parity table to this Markdown file")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name in logs and answers")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Stage 3: freeze a model for serving; refused if one form does not say the same."""
    from ocr_pipeline.config.export import ExportConfig
    from ocr_pipeline.export import export_model, parity_table
    from ocr_pipeline.weights.source import load_trainable

    named = {"to": to, "precision": precision}
    words = [f"{key}=[{value}]" for key, value in named.items() if value is not None]
    words += [f"dataset={dataset}"] if dataset is not None else []
    settings: ExportConfig = load_config(
        TypeAdapter(ExportConfig), config, [*words, *(overrides or [])]
    )
    with _err.status("loading") as status:
        model = export_model(
            load_trainable(source),
            out,
            settings,
            name=name,
            replace=overwrite,
            on_step=status.update,
        )
    for variant, parity in model.card.backends.items():
        drop = parity.drop
        lost = ""
        if drop is not None:
            lost = f"; {drop.metric} {drop.value:.1f} % of {drop.reference:.1f} %"
        _out.print(
            f"[green]passed[/] {variant}: largest difference {parity.max_abs_diff:.1e} (allowed "
            f"{parity.tolerance:g}), same result on {parity.pictures} golden pictures{lost}",
            highlight=False,
            soft_wrap=True,
        )
    for form in settings.variants():
        if form.name not in model.card.backends:
            _out.print(
                f"[yellow]not run[/] {form.name}: written for another machine, compared with "
                "nothing here",
                highlight=False,
                soft_wrap=True,
            )
    if report is not None:
        report.write_text(parity_table(model), encoding="utf-8")
        _out.print(f"report: {report}", highlight=False, soft_wrap=True)
    _out.print(f"exported: {out}", highlight=False, soft_wrap=True)


@app.command()
def read(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="pictures, PDF, TIFF of several pages")],
    det: DetOption = "ppocrv6_small_det",
    rec: RecOption = "ppocrv6_small_rec",
    as_json: AsJson = False,
    pages: Annotated[
        str | None, typer.Option(help="of each document, e.g. 1-3,7; default: all")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="save the annotated picture; a folder for several")
    ] = None,
    threads: Threads = 2,
    engine: EngineOption = "auto",
    turn: Annotated[
        bool, typer.Option("--turn/--no-turn", help="read unsure lines upside-down too")
    ] = True,
    words: Annotated[
        bool, typer.Option("--words", help="with --json: boxes of words and characters")
    ] = False,
    hocr: Annotated[Path | None, typer.Option(help="write all pages to this file as hOCR")] = None,
    alto: Annotated[
        Path | None, typer.Option(help="write all pages to this file as ALTO XML")
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option(help="write all pages to this file as a searchable PDF")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="let this service read, e.g. http://127.0.0.1:8000")
    ] = None,
    key_env: Annotated[
        str | None, typer.Option(help="environment variable that holds the service's API key")
    ] = None,
) -> None:
    """Pictures and documents to text. A page that cannot be read does not stop the others."""
    from ocr_pipeline.cli_read import ReadCommand

    if server is None:
        reader = _reader(det, rec, threads, engine, turn=turn)
    else:
        reader = _remote_reader(server, key_env, context)
    command = ReadCommand(
        reader=reader,
        as_json=as_json,
        words=words,
        draw=draw,
        files={"hocr": hocr, "alto": alto, "pdf": pdf},
    )
    if command.run(images, pages):
        raise typer.Exit(1)


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file")] = None,
    overrides: Overrides = None,
) -> None:
    """Stage 4: the HTTP service."""
    from ocr_pipeline.config.serve import ServeConfig
    from ocr_pipeline.serving.app import create_app
    from ocr_pipeline.serving.logs import configure_logs
    from ocr_pipeline.serving.server import run
    from ocr_pipeline.stock import exported_folder

    def read_config() -> ServeConfig:
        schema = TypeAdapter(ServeConfig)
        words = [*overrides_from(os.environ, "OCR_SERVE", schema), *(overrides or [])]
        settings = load_config(schema, config, words)
        folders = {
            role: str(exported_folder(getattr(settings, role), _say_export))
            for role in ("detector", "recognizer")
        }
        return settings.model_copy(update=folders)

    settings = read_config()
    service = create_app(settings, reread=read_config)
    configure_logs(settings.logs)
    run(service, settings, service.state.metrics.refused)


@app.command()
def key(name: Annotated[str, typer.Argument(help="of whoever gets the key")]) -> None:
    """Make an API key for the service: its line of the keys file to stdout, itself to stderr."""
    from ocr_pipeline.serving.keys import new_key

    secret, line = new_key(name)
    print(line)
    _err.print(f"the key of {name}, shown this once: {secret}", highlight=False, soft_wrap=True)


@app.command()
def demo() -> None:
    """The whole pipeline on rendered slips: fine-tune, export, serve, read a page."""
    from ocr_pipeline.demo import run_demo

    root = Path.cwd()
    if not (root / "configs/2_train_rec_demo.yaml").is_file():
        raise ConfigError(f"{root}: holds no configs/; run the demo in the project's own folder")
    run_demo(root, root / "work/demo", _out)


def _reader(det: str, rec: str, threads: int, engine: str, *, turn: bool = True) -> Any:
    from ocr_pipeline.config.engine import EngineConfig
    from ocr_pipeline.config.orientation import OrientationConfig
    from ocr_pipeline.inference import OcrReader
    from ocr_pipeline.stock import exported_folder

    det_folder, rec_folder = (exported_folder(source, _say_export) for source in (det, rec))
    words = [f"variant={engine}", f"threads={threads}"]
    settings: EngineConfig = load_config(TypeAdapter(EngineConfig), None, words)
    return OcrReader.load(det_folder, rec_folder, settings, OrientationConfig(enabled=turn))


def _remote_reader(server: str, key_env: str | None, context: typer.Context) -> Any:
    from ocr_pipeline.client import OcrClient
    from ocr_pipeline.remote import RemoteReader

    for name in ("det", "rec", "threads", "engine", "turn"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"--{name}: that is the service's to choose; not with --server")
    key = None if key_env is None else os.environ.get(key_env)
    if key_env is not None and not key:
        raise ConfigError(f"--key-env {key_env}: no such environment variable; set it to the key")
    return RemoteReader(context.with_resource(OcrClient(server, key)))


def _say_export(name: str) -> None:
    _err.print(
        f"[dim]{name}: fetching and exporting it once, into the cache[/]",
        highlight=False,
        soft_wrap=True,
    )
