"""Pages with their text, drawn here, where nobody has any."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.fonts import find_font
from ocr_pipeline.preprocess.render import render_set

_SEED = 6


def draw_pages(
    folder: Path, count: int, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Draw printed documents; the same ones each time.

    Args:
        folder: an empty one; gets ``drawn/`` and ``pages/``, pictures with truth files of the
            same name.
        count: how many, at least 1.
        on_progress: called with (done, total) pictures.

    Returns:
        The folder of the pages.

    Raises:
        AssetError: no font with Chinese characters can be had.
    """
    config = RenderConfig(
        out=folder / "drawn",
        domain="corpus",
        train_lines=0,
        val_lines=0,
        val_pages=count,
        page_crops=False,
        seed=_SEED,
    )
    drawn = render_set(config, find_font(may_fetch=True), on_progress or _nobody)
    pages = folder / "pages"
    pages.mkdir()
    for row in (drawn / "det_val.txt").read_text(encoding="utf-8").splitlines():
        name, _, regions = row.partition("\t")
        truth = [[r["points"], r["transcription"]] for r in json.loads(regions)]
        target = pages / Path(name).name
        shutil.move(drawn / name, target)
        target.with_suffix(".json").write_text(
            json.dumps(truth, ensure_ascii=False), encoding="utf-8"
        )
    return pages


def _nobody(_done: int, _total: int) -> None:
    pass
