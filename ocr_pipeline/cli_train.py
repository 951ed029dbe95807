"""``ocr-pipeline train``. Part of :mod:`ocr_pipeline.cli`."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from ocr_pipeline.config.base import load_config
from ocr_pipeline.errors import ConfigError, TrainingError
from ocr_pipeline.paddle_environment import keep_freed_memory

if TYPE_CHECKING:  # Paddle is not imported before it is needed
    from ocr_pipeline.artifacts.checkpoint import Checkpoint
    from ocr_pipeline.config.train import DetTrainConfig, RecTrainConfig
    from ocr_pipeline.progress import TrainingDisplay
    from ocr_pipeline.training.made_up import Subject
    from ocr_pipeline.training.precision import Precision
    from ocr_pipeline.training.ready import Ready

_out = Console()
_PROFILE_FOLDER = "profile"
_MB, _GB = 1e6, 1e9


def train(
    config: Annotated[Path, typer.Option("--config", "-c", help="YAML file, see configs/")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. optim.lr=3e-4")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what time, memory and disk it would take")
    ] = False,
    find_lr: Annotated[
        int,
        typer.Option(
            metavar="STEPS", min=0, help="only look for a learning rate, in so many steps"
        ),
    ] = 0,
    profile: Annotated[
        int,
        typer.Option(metavar="STEPS", min=0, help="only say where the time of so many steps goes"),
    ] = 0,
    report: Annotated[bool, typer.Option(help="at the end, write report.html")] = True,
) -> None:
    """Stage 2: fine-tune a recognizer or a detector from released weights. Ctrl-C saves."""
    from ocr_pipeline.config.train import AnyTrainConfig

    settings = load_config(TypeAdapter(AnyTrainConfig), config, overrides or [])
    if sum((resume, dry_run, find_lr > 0, profile > 0)) > 1:
        raise ConfigError(
            "--resume, --dry-run, --find-lr and --profile are four different things; give one"
        )
    keep_freed_memory()
    if dry_run:
        _tell_estimate(settings)
    elif find_lr:
        _tell_rate(settings, find_lr)
    elif profile:
        _tell_profile(settings, profile)
    else:
        _train(settings, resume=resume, report=report)


def _train(settings: "RecTrainConfig | DetTrainConfig", *, resume: bool, report: bool) -> None:
    from ocr_pipeline.config.train import DetTrainConfig
    from ocr_pipeline.evaluation.report_run import report_run
    from ocr_pipeline.progress import TrainingDisplay, metrics_sentence
    from ocr_pipeline.training import train_detector, train_recognizer
    from ocr_pipeline.training.distributed import is_first_process

    with TrainingDisplay(_out) as display:
        best: Checkpoint
        if isinstance(settings, DetTrainConfig):
            best = train_detector(settings, display, resume=resume)
        else:
            best = train_recognizer(settings, display, resume=resume)
    if not is_first_process():
        return
    _say(f"best: {best.folder}  {metrics_sentence(best.card.metrics)}  (step {best.card.step})")
    if report:
        _say(f"report: {report_run(settings.run_dir)}")
    _say(f"next: python scripts/export.py {settings.run_dir} work/3_exported/<name>")


def _tell_estimate(settings: "RecTrainConfig | DetTrainConfig") -> None:
    from ocr_pipeline.progress import TrainingDisplay
    from ocr_pipeline.training.dry_run import estimate
    from ocr_pipeline.training.probe import most_samples

    with TrainingDisplay(_out) as display, _subject(settings, display) as (subject, precision):
        found = estimate(subject, settings, precision, most_samples(subject.train))
        largest, typical = subject.shapes
    if not found.trials:
        raise TrainingError(
            f"batch {found.batch} of {largest} px does not fit into {found.capacity / _GB:.1f} GB; "
            "set a smaller batch and accumulate, or find_batch=true"
        )
    table = Table("batch", "memory", "step", "samples/s", title=f"{largest} px, forward + backward")
    for column in table.columns[1:]:
        column.justify = "right"
    for trial in found.trials:
        table.add_row(
            f"{trial.batch}",
            f"{trial.peak / _GB:.2f} GB",
            f"{trial.seconds:.2f} s",
            f"{trial.batch / trial.seconds:.1f}",
        )
    _out.print(table)
    if found.reason:
        _say(f"find_batch takes {found.batch}: {found.reason}")
    memory = f" of {found.capacity / _GB:.1f} GB" if found.capacity else ""
    fitting = [trial for trial in found.trials if trial.batch == found.batch]
    peak = f"{fitting[0].peak / _GB:.2f} GB{memory}" if fitting else "not measured"
    _say(f"network: {found.parameters / _MB:.2f} million parameters; memory {peak}")
    evaluations = f"{found.evaluations} evaluations"
    if found.eval_seconds is None:
        evaluations += ", which are not counted: there is no validation part yet"
    else:
        evaluations += f" of {_duration(found.eval_seconds)}"
    times = f"{settings.accumulate} x " if settings.accumulate > 1 else ""
    _say(
        f"time: {settings.steps:,} steps of {times}{found.batch} samples of "
        f"{typical} px, {found.step_seconds:.2f} s each, and {evaluations}: "
        f"about {_duration(found.total_seconds())}, reading not counted"
    )
    _say(
        f"disk: checkpoints up to {found.checkpoint_bytes / _MB:,.0f} MB in {settings.run_dir}, "
        f"{found.disk_free / _GB:,.1f} GB are free"
    )
    if found.checkpoint_bytes > found.disk_free:
        raise TrainingError(f"{settings.run_dir}: too little room for its checkpoints; make more")


def _tell_rate(settings: "RecTrainConfig | DetTrainConfig", steps: int) -> None:
    from ocr_pipeline.progress import TrainingDisplay, counting
    from ocr_pipeline.training.find_lr import find_rate

    with TrainingDisplay(_out) as display, _ready(settings, display) as ready:
        with counting(_out, "raising the rate") as on_step:
            found = find_rate(ready, steps=steps, on_step=on_step)
        now = settings.optim
    table = Table("learning rate", "loss", "", title="rate test: loss as a share of that before it")
    every = max(1, len(found.rates) // 20)
    for rate, loss in list(zip(found.rates, found.smoothed, strict=True))[::every]:
        table.add_row(f"{rate:.1e}", f"{loss:.3f}", "█" * min(40, max(1, round(20 * loss))))
    _out.print(table)
    end = "above that it grew" if found.diverged else "it did not grow up to the highest rate"
    reference = f", reference_batch {now.reference_batch}" if now.reference_batch else ""
    _say(
        f"suggested: optim.lr={found.suggested:g}, a tenth of the rate where the loss was lowest; "
        f"{end}. The config says {now.lr:g}{reference}"
    )


def _tell_profile(settings: "RecTrainConfig | DetTrainConfig", steps: int) -> None:
    from ocr_pipeline.progress import TrainingDisplay, counting
    from ocr_pipeline.training.profiling import profile_steps

    folder = settings.run_dir / _PROFILE_FOLDER
    with (
        TrainingDisplay(_out) as display,
        _ready(settings, display) as ready,
        counting(_out, "profiling") as on_step,
    ):
        found = profile_steps(ready, folder, steps=steps, on_step=on_step)
    table = Table("part", "share", "", title=f"{found.steps} steps, median {found.seconds:.3f} s")
    table.columns[1].justify = "right"
    for name, share in found.shares.items():
        table.add_row(name, f"{share:.1%}", "█" * round(30 * share))
    _out.print(table)
    _say(found.advice)
    summary = {"steps": found.steps, "seconds": found.seconds, "shares": found.shares}
    path = folder / "profile.json"
    path.write_text(json.dumps({**summary, "advice": found.advice}, indent=2), encoding="utf-8")
    _say(f"figures: {path}  trace (for chrome://tracing or ui.perfetto.dev): {found.trace}")


def _subject(
    settings: "RecTrainConfig | DetTrainConfig", display: "TrainingDisplay"
) -> "AbstractContextManager[tuple[Subject, Precision]]":
    from ocr_pipeline.config.train import DetTrainConfig
    from ocr_pipeline.training.det_run import detector_subject
    from ocr_pipeline.training.rec_run import recognizer_subject

    if isinstance(settings, DetTrainConfig):
        return detector_subject(settings, display)
    return recognizer_subject(settings, display)


def _ready(
    settings: "RecTrainConfig | DetTrainConfig", display: "TrainingDisplay"
) -> "AbstractContextManager[Ready]":
    from ocr_pipeline.config.train import DetTrainConfig
    from ocr_pipeline.training.det_run import detector_ready
    from ocr_pipeline.training.rec_run import recognizer_ready

    if isinstance(settings, DetTrainConfig):
        return detector_ready(settings, display)
    return recognizer_ready(settings, display)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _say(text: str) -> None:
    _out.print(text, highlight=False, soft_wrap=True)
