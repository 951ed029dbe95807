"""``ocr-pipeline dataset ...``: look at what was prepared, and at labels that are suspect."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ocr_pipeline.errors import AssetError, ConfigError
from ocr_pipeline.progress import counting

app = typer.Typer(
    help="Look at a dataset and its labels.", no_args_is_help=True, pretty_exceptions_enable=False
)
_out = Console()
_err = Console(stderr=True)
Presets = Literal["fine_tune", "released", "v6", "v4"]
_SHOWN = 15
"""Suspects in the table on the terminal."""


@app.command()
def show(
    dataset: Annotated[Path, typer.Argument(help="folder made by prepare")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file to write")],
    split: Annotated[Literal["train", "val"], typer.Option(help="part of the dataset")] = "train",
    count: Annotated[int, typer.Option(min=1, max=500, help="samples on the sheet")] = 24,
    augment: Annotated[
        Presets | None,
        typer.Option(help="also show augmented: fine_tune, released (lines), v6 or v4 (pages)"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="chooses samples and changes")] = 0,
) -> None:
    """Write a contact sheet: pictures with boxes and text, before and after augmentation."""
    import cv2

    from ocr_pipeline.artifacts.dataset import Dataset
    from ocr_pipeline.config.det_augment import DetAugmentConfig
    from ocr_pipeline.config.rec_augment import RecAugmentConfig
    from ocr_pipeline.preprocess.show import show_lines, show_pages

    found = Dataset.load(dataset)
    allowed = (
        ("fine_tune", "released") if found.manifest.task == "rec" else ("fine_tune", "v6", "v4")
    )
    if augment is not None and augment not in allowed:
        raise ConfigError(
            f"--augment {augment}: not for task={found.manifest.task}; allowed: "
            f"{', '.join(allowed)}"
        )
    font = _font()
    if found.manifest.task == "rec":
        lines = None if augment is None else RecAugmentConfig.model_validate(augment)
        sheet = show_lines(found, split, count=count, seed=seed, augment=lines, font=font)
    else:
        pages = None if augment is None else DetAugmentConfig.model_validate(augment)
        sheet = show_pages(found, split, count=count, seed=seed, augment=pages, font=font)
    done, content = cv2.imencode(".png", sheet)
    if not done:
        raise ConfigError(f"{out}: a sheet of {sheet.shape[1]} x {sheet.shape[0]} px is too large")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(content.tobytes())
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot write there ({error.strerror}); name a PNG file"
        ) from None
    _out.print(f"contact sheet: {out}", highlight=False, soft_wrap=True)


@app.command()
def suspects(
    model: Annotated[str, typer.Argument(help="released name, checkpoint, run or exported folder")],
    labels: Annotated[Path, typer.Argument(help="PaddleOCR list of lines, or a dataset")],
    images: Annotated[
        Path | None, typer.Option(help="folder of the pictures; default: beside the list")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder to make, to correct in PPOCRLabel")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=99999, help="suspects, at most")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List the labels that are probably wrong, worst first: those that a model reads otherwise."""
    from ocr_pipeline.evaluation.labelled import every_label
    from ocr_pipeline.evaluation.sources import load_any_recognizer
    from ocr_pipeline.evaluation.suspect_project import check_folder, row, write_project
    from ocr_pipeline.evaluation.suspects import find_suspects

    if out is not None:
        check_folder(out)
    parts = every_label(labels, images)
    recognizer = load_any_recognizer(model)
    with counting(_err, "reading") as on_step:
        ranking = find_suspects(recognizer, parts, on_step)
    listed = ranking.suspects[:count]
    title = f"{labels} read with {model}"
    written = None
    if out is not None:
        written = write_project(out, ranking, parts, count=count, title=title)
    if as_json:
        figures = {
            "samples": ranking.samples,
            "differing": len(ranking.suspects),
            "out": None if out is None else str(out),
            "suspects": [row(suspect) for suspect in listed],
        }
        typer.echo(json.dumps(figures, ensure_ascii=False))
        return
    says = (
        f"{title}: {ranking.samples:,} labels, {len(ranking.suspects):,} read differently, "
        f"the {len(listed):,} most suspect listed"
    )
    _out.print(escape(says), highlight=False, soft_wrap=True)
    _out.print(_table([row(suspect) for suspect in listed[:_SHOWN]]))
    if written is None:
        _out.print("next: --out FOLDER writes them to be corrected in PPOCRLabel", highlight=False)
        return
    for what, path in (("correct in PPOCRLabel", out), ("look at", written.page)):
        _out.print(f"{what}: {path}", highlight=False, soft_wrap=True)
    if written.rest is not None:
        _out.print(f"all other labels: {written.rest}", highlight=False, soft_wrap=True)


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    """The worst suspects for the terminal."""
    table = Table("image", "label", "read", "sure", "score")
    for values in rows:
        turned = " (upside-down)" if values["turned"] else ""
        table.add_row(
            escape(str(values["image"])),
            escape(str(values["label"])),
            escape(f"{values['read']}{turned}"),
            f"{values['confidence']:.2f}",
            f"{values['score']:.1f}",
        )
    return table


def _font() -> Path | None:
    """One with Chinese characters; without any the sheet is made with those of Latin script."""
    from ocr_pipeline.fonts import find_font

    try:
        return find_font(may_fetch=True)
    except AssetError as error:
        _err.print(f"[yellow]no Chinese text:[/] {escape(str(error))}", highlight=False)
        return None
