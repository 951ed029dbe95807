import hashlib
import os
import re
import zipfile
from pathlib import Path

import pytest

from ocr_pipeline import fonts
from ocr_pipeline.assets import Asset, Wheel, fetch
from ocr_pipeline.errors import AssetError
from ocr_pipeline.fonts import find_font


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no font named, no font of the system, and a pip that knows no index."""
    monkeypatch.setenv("OCR_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("OCR_PIPELINE_FONT", raising=False)
    monkeypatch.setattr(fonts, "_SYSTEM", ())
    return tmp_path / "cache"


def small_font(cache: Path) -> Asset:
    """An asset as the released font is one, in a wheel that lies in the cache."""
    content = b"not really a font"
    path = cache / "wheels" / "small-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small/font.otf", content)
    wheel = Wheel("small==1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    return Asset(wheel, "small/font.otf", hashlib.sha256(content).hexdigest())


def test_named_font_is_taken_before_all_others(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "NOTO_SANS", small_font(cache))
    fetch(fonts.NOTO_SANS)
    named = tmp_path / "我的字体.ttf"
    named.write_bytes(b"font")
    monkeypatch.setenv("OCR_PIPELINE_FONT", str(named))
    assert find_font(may_fetch=True) == named


def test_named_font_that_is_absent_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent.ttf"
    monkeypatch.setenv("OCR_PIPELINE_FONT", str(absent))
    message = f"OCR_PIPELINE_FONT={absent}: no such file; name a .ttf, .otf or .ttc"
    with pytest.raises(AssetError, match=re.escape(message)):
        find_font(may_fetch=True)


def test_cached_font_is_taken_before_one_of_the_system(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system.ttc"
    system.write_bytes(b"font")
    monkeypatch.setattr(fonts, "_SYSTEM", (str(system),))
    monkeypatch.setattr(fonts, "NOTO_SANS", small_font(cache))
    cached = fetch(fonts.NOTO_SANS)
    assert find_font(may_fetch=False) == cached


def test_first_font_of_the_system_saves_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system.ttc"
    system.write_bytes(b"font")
    monkeypatch.setattr(fonts, "_SYSTEM", (str(tmp_path / "absent.ttc"), str(system)))
    assert find_font(may_fetch=True) == system


def test_font_is_fetched_where_that_is_allowed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "NOTO_SANS", small_font(cache))
    assert find_font(may_fetch=True).read_bytes() == b"not really a font"


def test_font_is_not_fetched_where_that_is_not_allowed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "NOTO_SANS", small_font(cache))
    message = (
        "no font with Chinese characters found; set OCR_PIPELINE_FONT to a .ttf, .otf or .ttc file"
    )
    with pytest.raises(AssetError, match=re.escape(message)):
        find_font(may_fetch=False)
    assert not (cache / "files").exists()


def test_font_that_cannot_be_fetched_names_the_next_step(cache: Path) -> None:
    message = r"^mplfonts==0\.0\.11: pip could not download it .*, or put mplfonts-.* by hand$"
    with pytest.raises(AssetError, match=message):
        find_font(may_fetch=True)
