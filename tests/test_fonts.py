import hashlib
import os
import re
import struct
import zipfile
from pathlib import Path

import pytest

from ocr_pipeline import fonts
from ocr_pipeline.assets import Asset, Wheel, fetch
from ocr_pipeline.errors import AssetError
from ocr_pipeline.fonts import characters_of, find_font, find_fonts


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


def font_with(layout: bytes, *, platform: int = 3, encoding: int = 1, start: int = 0) -> bytes:
    """A font file of one table, its characters; ``start``: bytes before it."""
    head = struct.pack(">IHHHH", 0x00010000, 1, 0, 0, 0)
    record = struct.pack(">4sIII", b"cmap", 0, start + 28, 12 + len(layout))
    cmap = struct.pack(">HHHHI", 0, 1, platform, encoding, 12) + layout
    return head + record + cmap


def first_plane() -> bytes:
    """A to C by distance, D and F by a list in which E is missing, and the end mark."""
    ends, starts = (0x43, 0x46, 0xFFFF), (0x41, 0x44, 0xFFFF)
    deltas, offsets = (0x10000 - 0x40, 0, 1), (0, 4, 0)
    body = struct.pack(">3H", *ends) + b"\0\0" + struct.pack(">3H", *starts)
    body += struct.pack(">3H", *deltas) + struct.pack(">3H", *offsets) + struct.pack(">3H", 7, 0, 9)
    return struct.pack(">HHHHHHH", 4, 14 + len(body), 0, 6, 0, 0, 0) + body


def all_planes() -> bytes:
    groups = struct.pack(">III", 0x41, 0x42, 5) + struct.pack(">III", 0x20000, 0x20001, 0)
    return struct.pack(">HHIII", 12, 0, 16 + len(groups), 0, 2) + groups


def test_characters_of_a_font_are_read_from_its_table(tmp_path: Path) -> None:
    path = tmp_path / "a.ttf"
    path.write_bytes(font_with(first_plane()))
    assert characters_of(path) == set(map(ord, "ABCDF"))
    other = tmp_path / "b.otf"
    other.write_bytes(font_with(all_planes(), encoding=10))
    assert characters_of(other) == {0x41, 0x42, 0x20001}, "glyph 0 stands for a missing character"
    many = tmp_path / "c.ttc"
    header = b"ttcf" + struct.pack(">III", 0x00010000, 1, 16)
    many.write_bytes(header + font_with(first_plane(), start=16))
    assert characters_of(many) == set(map(ord, "ABCDF"))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, I am no font at all", font_with(first_plane())[:50], font_with(b"\0\x06" * 9)],
)
def test_a_file_that_is_no_font_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.ttf"
    path.write_bytes(content)
    with pytest.raises(AssetError, match=r"broken\.ttf: not a TrueType or OpenType font .* name a"):
        characters_of(path)
    with pytest.raises(AssetError, match=r"absent\.ttf: cannot read this font"):
        characters_of(tmp_path / "absent.ttf")


def test_fonts_of_files_and_folders_join_the_found_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "NOTO_SANS", small_font(cache))
    found = fetch(fonts.NOTO_SANS)
    folder = tmp_path / "字体"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.TTF", "a.otf", "deeper/c.ttc", "licence.txt"):
        (folder / name).write_bytes(b"font")
    alone = tmp_path / "alone.ttf"
    alone.write_bytes(b"font")
    expected = [found, alone, folder / "a.otf", folder / "b.TTF", folder / "deeper/c.ttc"]
    assert find_fonts([alone, folder, alone], may_fetch=False) == expected


def test_absent_fonts_and_folders_without_fonts_are_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "NOTO_SANS", small_font(cache))
    fetch(fonts.NOTO_SANS)
    with pytest.raises(AssetError, match=r"nowhere: no such font file or folder; name a \.ttf"):
        find_fonts([tmp_path / "nowhere"], may_fetch=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssetError, match=r"empty: holds no font file; name a \.ttf"):
        find_fonts([tmp_path / "empty"], may_fetch=False)
