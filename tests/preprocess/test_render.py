import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from ocr_pipeline.config.base import load_config
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.preprocess.render import render_set

SCHEMA = TypeAdapter(RenderConfig)


def test_the_demo_writes_its_own_layout(tmp_path: Path) -> None:
    config = RenderConfig(out=tmp_path / "out", train_lines=3, val_lines=2, seed=1)
    seen: list[tuple[int, int]] = []
    folder = render_set(
        config, find_font(may_fetch=True), lambda done, total: seen.append((done, total))
    )
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["images", "page.json", "page.png", "train.txt", "val.txt"]
    assert seen == [(n, 5) for n in range(1, 6)]
    assert len(json.loads((folder / "page.json").read_text(encoding="utf-8"))) == 10


def test_other_domains_write_paddleocr_lists(tmp_path: Path) -> None:
    config = RenderConfig(
        out=tmp_path / "out", domain="display", train_lines=3, val_lines=2, train_pages=1
    )
    charset = Charset([chr(code) for code in range(0x21, 0x7F)])
    folder = render_set(config, find_font(may_fetch=True), lambda *_: None, charset=charset)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert names == [
        "det_train.txt", "det_val.txt", "rec_train.txt", "rec_val.txt", "synthesis.json",
    ]  # fmt: skip
    rows = (folder / "rec_train.txt").read_text(encoding="utf-8").splitlines()
    assert len(rows) >= 3
    assert all(charset.encode(row.split("\t")[1]) for row in rows)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["train_lines=0"], "domain demo needs train_lines and val_lines above 0"),
        (
            ["train_pages=2", "vertical_share=0.1", "coverage.charset=a.txt"],
            "domain demo does not know train_pages, coverage, vertical_share; set domain to",
        ),
        (
            ["domain=display", "train_lines=0", "val_lines=0"],
            "nothing to render: train_lines, val_lines, train_pages and val_pages are all 0",
        ),
        (
            ["domain=corpus", "train_lines=0", "coverage.charset=a.txt"],
            "coverage counts training lines: set train_lines above 0",
        ),
        (["domain=cheque"], "domain"),
        (["degrade.blur=1.5"], "degrade.blur"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(keys: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(SCHEMA, None, ["out=work/x", *keys])
