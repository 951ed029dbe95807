"""The examples of docs/sources.md are read as the page says."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ocr_pipeline.config.sources import Kind, SourceConfig
from ocr_pipeline.preprocess.sources import RawRegion
from tests.preprocess.sources.writers import read

POINTS = ((10.0, 8.0), (90.0, 8.0), (90.0, 30.0), (10.0, 30.0))


def example(root: Path, title: str, language: str) -> str:
    page = (root / "docs/sources.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {title}\n")[2] if title else page
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_configuration_loads(root: Path) -> None:
    entries = yaml.safe_load(example(root, "", "yaml"))["train_labels"]
    sources = [SourceConfig.model_validate(entry) for entry in entries]
    assert [source.kind for source in sources] == ["list", "ppocrlabel", "xfund"]


@pytest.mark.parametrize(
    ("kind", "image"), [("labelme", "1.jpg"), ("coco", "1.jpg"), ("xfund", "zh_1.jpg")]
)
def test_the_json_is_read(root: Path, tmp_path: Path, kind: Kind, image: str) -> None:
    text = example(root, kind, "json")
    assert json.loads(text)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    (sample,) = read(tmp_path / "a.json", "det", kind)
    assert sample.image == image
    assert sample.regions == (RawRegion(POINTS, "合计", False),)
    assert sample.size is not None


def test_the_lists_are_read(root: Path, tmp_path: Path) -> None:
    page = (root / "docs/sources.md").read_text(encoding="utf-8")
    section = page.partition("\n## list\n")[2]
    rec, det = re.findall(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[:2]
    (tmp_path / "rec.txt").write_text(rec, encoding="utf-8")
    (tmp_path / "det.txt").write_text(det, encoding="utf-8")
    assert [s.image for s in read(tmp_path / "rec.txt", "rec")] == [
        "crops/发票 01.jpg",
        "crops/a.jpg",
        "crops/b.jpg",
    ]
    pictures = read(tmp_path / "det.txt", "det")
    assert [s.regions for s in pictures] == [(RawRegion(POINTS, "合计", False),), ()]


def test_the_icdar_line_is_read(root: Path, tmp_path: Path) -> None:
    line = example(root, "icdar2015", "text").splitlines()[0].partition("    ")[2]
    (tmp_path / "gt_img_1.txt").write_text(line, encoding="utf-8")
    assert [s.text for s in read(tmp_path, "rec", "icdar2015")] == ['Genaxis, "Theatre"']
