"""``ocr-pipeline dataset ...``: look at what was prepared."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from ocr_pipeline.errors import AssetError, ConfigError

app = typer.Typer(
    help="Look at a prepared dataset.", no_args_is_help=True, pretty_exceptions_enable=False
)
_out = Console()
_err = Console(stderr=True)
Presets = Literal["fine_tune", "released", "v6", "v4"]


@app.callback()
def _group() -> None:
    """Keep `show` a command of its own while there is no other."""


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


def _font() -> Path | None:
    """One with Chinese characters; without any the sheet is made with those of Latin script."""
    from ocr_pipeline.fonts import find_font

    try:
        return find_font(may_fetch=True)
    except AssetError as error:
        _err.print(f"[yellow]no Chinese text:[/] {escape(str(error))}", highlight=False)
        return None
