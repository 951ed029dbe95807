"""Rendered data: the demo's small set of slip lines, or lines and pages of a whole domain."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.artifacts.folder import staged
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.fonts import find_fonts
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.preprocess.dot_matrix import (
    random_wear,
    render_line,
    render_page,
    typical_wear,
)
from ocr_pipeline.preprocess.slips import slip_line, slip_page
from ocr_pipeline.preprocess.synthesis import synthesise

_PARTS = {"train": 0, "val": 1, "page": 2}
"""Each part draws its chance from its own stream of the seed."""


def render_set(
    config: RenderConfig,
    font: Path,
    on_progress: Callable[[int, int], None],
    *,
    charset: Charset | None = None,
) -> Path:
    """Write what ``config.domain`` asks for.

    demo: ``images/``, ``train.txt``, ``val.txt``, ``page.png`` and ``page.json``. Other domains:
    as :func:`~ocr_pipeline.preprocess.synthesis.synthesise` says; Noto Serif is fetched for them
    where the cache lacks it.

    Args:
        config: what to render.
        font: taken first; the only one of the demo.
        on_progress: called with (done, total) pictures.
        charset: characters that the texts of lines may hold, and that a coverage is meant for;
            None: any, and the coverage's own file. Not for the demo.

    Raises:
        DataError: the grammar cannot give so many different texts; or as ``synthesise``.
        ArtifactError: the folder exists, or cannot be written.
        AssetError: a font cannot be used.
    """
    if config.domain == "demo":
        return _render_demo(config, font, on_progress)
    fonts = list(dict.fromkeys([font, *find_fonts(config.fonts, may_fetch=True)]))
    return synthesise(config, fonts, charset=charset, on_progress=on_progress).folder


def _render_demo(config: RenderConfig, font: Path, on_progress: Callable[[int, int], None]) -> Path:
    """Texts of ``val.txt`` do not stand in ``train.txt``; each line has a printer of its own."""
    total = config.train_lines + config.val_lines
    with staged(config.out) as scratch:
        (scratch / "images").mkdir()
        used: set[str] = set()
        done = 0
        for part, count in (("val", config.val_lines), ("train", config.train_lines)):
            random = np.random.default_rng([config.seed, _PARTS[part]])
            rows = []
            for number in range(count):
                text = _new_text(random, used)
                name = f"images/{part}_{number:05d}.png"
                _save(render_line(text, font, random_wear(random), random), scratch / name)
                rows.append(f"{name}\t{text}\n")
                done += 1
                on_progress(done, total)
            (scratch / f"{part}.txt").write_text("".join(rows), encoding="utf-8")
        _render_page(config, font, scratch)
    return config.out


def _new_text(random: np.random.Generator, used: set[str]) -> str:
    for _ in range(1000):
        text = slip_line(random)
        if text not in used:
            used.add(text)
            return text
    raise DataError(f"no new slip text after {len(used):,}; ask for fewer lines")


def _render_page(config: RenderConfig, font: Path, folder: Path) -> None:
    random = np.random.default_rng([config.seed, _PARTS["page"]])
    lines = slip_page(random)
    picture, boxes = render_page(lines, font, typical_wear(), random)
    _save(picture, folder / "page.png")
    truth = [[_plain(box), text] for box, text in zip(boxes, lines, strict=True)]
    (folder / "page.json").write_text(json.dumps(truth, ensure_ascii=False), encoding="utf-8")


def _plain(box: NDArray[np.float32]) -> list[list[float]]:
    return [[float(x), float(y)] for x, y in box]


def _save(picture: BGRImage, path: Path) -> None:
    _, content = cv2.imencode(".png", picture)
    path.write_bytes(content.tobytes())
