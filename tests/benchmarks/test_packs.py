import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocr_pipeline.benchmarks import packs
from ocr_pipeline.benchmarks.packs import (
    FORMATS,
    LOCAL_METRICS,
    S3_METRICS,
    FormatFigures,
    PacksReport,
    run_packs,
)
from ocr_pipeline.benchmarks.statistics import Estimate
from ocr_pipeline.errors import ConfigError, DataError

ALWAYS = ("tar", "files")
PACKAGES = {"lmdb": "lmdb", "array_record": "array_record", "parquet": "pyarrow"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Seven files of random bytes: what is measured does not look into them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(7):
        (folder / f"{number}.jpg").write_bytes(random.bytes(1000 + number))
    return folder


def need(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def run(pictures: Path, *formats: str, samples: int = 130, s3: bool = False) -> PacksReport:
    return run_packs(pictures, samples, formats, rounds=2, draws=20, s3=s3)


def test_all_is_measured_in_every_round(pictures: Path) -> None:
    report = run(pictures, *ALWAYS)
    assert (report.samples, report.draws, report.rounds) == (130, 20, 2)
    assert report.pictures_mb == pytest.approx(130 * 1003 / 1e6, rel=0.01)
    for figures in report.formats.values():
        assert tuple(figures.seconds) == LOCAL_METRICS
        assert all(len(seconds) == 2 for seconds in figures.seconds.values())
        assert all(value > 0 for seconds in figures.seconds.values() for value in seconds)
    assert report.formats["tar"].ratios == {}
    assert set(report.formats["files"].ratios) == set(LOCAL_METRICS)
    # A file takes whole blocks of 4 kB, in a shard it takes 512-byte ones.
    assert report.formats["files"].disk_mb > 1.5 * report.formats["tar"].disk_mb


@pytest.mark.parametrize("name", list(PACKAGES))
def test_other_format_gives_what_was_written(pictures: Path, tmp_path: Path, name: str) -> None:
    need(PACKAGES[name])
    contents = [np.random.default_rng(n).bytes(n) for n in range(1, 200)]
    folder = tmp_path / "pack"
    folder.mkdir()
    FORMATS[name].write(folder, contents)
    pack = FORMATS[name].open(folder)
    assert list(pack.scan()) == contents
    assert [pack.read(number) for number in (0, 198, 63, 64, 65)] == [
        contents[number] for number in (0, 198, 63, 64, 65)
    ]
    pack.close()


def test_format_that_gives_other_bytes_is_refused(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs._Files, "read", lambda self, number: b"other")
    with pytest.raises(DataError, match="files: sample 0 is not what was written"):
        run(pictures, "files")


def test_formats_take_turns(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    read_time = packs._read_time

    def noted(name: str, *rest: Any) -> float:
        order.append(name)
        return read_time(name, *rest)

    monkeypatch.setattr(packs, "_read_time", noted)
    run(pictures, *ALWAYS)
    assert order == ["tar", "files"] * 4 + ["files", "tar"] * 4


@pytest.mark.parametrize("formats", [("tar", "zip"), ()])
def test_unknown_format_is_refused_before_anything_is_written(
    pictures: Path, formats: tuple[str, ...]
) -> None:
    message = "; allowed formats: tar, files, lmdb, array_record, parquet"
    with pytest.raises(ConfigError, match=message):
        run_packs(pictures, 10, formats)


def test_package_that_is_absent_is_named(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = packs.Format(FORMATS["tar"].write, FORMATS["tar"].open, "no_such.package")
    monkeypatch.setitem(FORMATS, "gone", gone)
    with pytest.raises(ConfigError, match=r"no_such.package: cannot be .*; pip install no_such;"):
        run_packs(pictures, 10, ["gone"])


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ConfigError, match="0 pictures for 10 samples; name a folder with at least"):
        run_packs(tmp_path, 10, ALWAYS)


def test_table_and_json_tell_the_figures() -> None:
    base = FormatFigures(disk_mb=2.0, memory_mb=0.5, seconds={m: [5e-6] for m in LOCAL_METRICS})
    other = FormatFigures(
        disk_mb=3.0,
        memory_mb=70.0,
        seconds={m: [1e-5, 2e-3, 2.5e-5] for m in LOCAL_METRICS + S3_METRICS},
        ratios={"write": Estimate(5.0, 4.0, 6.0)},
        requests=dict.fromkeys(S3_METRICS, 1.0),
        bytes_read=dict.fromkeys(S3_METRICS, 61.6),
    )
    report = PacksReport(10, 1.5, 4, 3, {"tar": base, "parquet": other})
    local, remote = report.as_markdown().split("\n\n")
    head, _, tar, parquet = local.splitlines()
    assert head.startswith("| format | MB on disk | MB of memory | write, µs | scan, cold, µs |")
    assert tar == "| tar | 2.0 | 0.5 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 |"
    assert parquet.startswith("| parquet | 3.0 | 70.0 | 25.0 (5.00, 4.00 to 6.00) | 25.0 | ")
    assert [line.split(" | ")[0] for line in remote.splitlines()[2:]] == ["| parquet"]
    assert remote.splitlines()[2] == "| parquet | 25.0 | 1 | 61.6 | 25.0 | 1 | 61.6 |"
    assert json.loads(report.as_json())["formats"]["parquet"]["seconds"]["write"][1] == 2e-3


@pytest.mark.slow
def test_s3_is_measured_by_requests_and_bytes(pictures: Path) -> None:
    for name in ("moto", "flask", "s3fs", "pyarrow"):
        need(name)
    formats = run(pictures, "tar", "files", "parquet", "lmdb", s3=True).formats
    assert "s3 scan" not in formats["lmdb"].seconds
    assert formats["files"].requests["s3 random"] == 1
    assert formats["files"].bytes_read["s3 random"] == 1
    assert formats["tar"].requests["s3 random"] == pytest.approx(1, abs=0.06)
    assert 1.4 < formats["tar"].bytes_read["s3 random"] < 1.6
    assert formats["tar"].requests["s3 scan"] <= 0.1
    assert formats["parquet"].bytes_read["s3 random"] > 10
