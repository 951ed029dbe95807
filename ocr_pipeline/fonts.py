"""Fonts with Chinese characters, for drawing text on pictures and for rendering lines."""

import os
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from ocr_pipeline.assets import Asset, Wheel, fetch, is_cached
from ocr_pipeline.errors import AssetError

FONT_VARIABLE = "OCR_PIPELINE_FONT"
_MPLFONTS = Wheel(
    "mplfonts==0.0.11",
    "mplfonts-0.0.11-py3-none-any.whl",
    "b5e05ba7fd9a59cae48d1db41f657f50e6765e6f04b8d78504438b93a66b6e13",
)
# Noto Sans CJK SC and Noto Serif CJK SC, SIL Open Font License 1.1.
NOTO_SANS = Asset(
    _MPLFONTS,
    "mplfonts/fonts/NotoSansCJKsc-Regular.otf",
    "1652500938055a232cfbfa321de6ebaadfc5635dd9f75e369bc991d14a6512dd",
)
NOTO_SERIF = Asset(
    _MPLFONTS,
    "mplfonts/fonts/NotoSerifCJKsc-Regular.otf",
    "efa5e49879a789c1ecad8f07e1813c7f9aa6c4b951fdbb5791d85d67345632d7",
)
_SUFFIXES = (".ttf", ".otf", ".ttc")
_WHOLE_UNICODE, _FIRST_PLANE = 12, 4
"""Layouts of a ``cmap`` table that are read."""
_SYSTEM = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)


def find_font(*, may_fetch: bool) -> Path:
    """Return a font: ``$OCR_PIPELINE_FONT``, the cached Noto Sans, the system's, or a fetched one.

    Raises:
        AssetError: the named file does not exist; or there is none and ``may_fetch`` is false.
    """
    if named := os.environ.get(FONT_VARIABLE):
        if not Path(named).is_file():
            raise AssetError(f"{FONT_VARIABLE}={named}: no such file; name a .ttf, .otf or .ttc")
        return Path(named)
    if is_cached(NOTO_SANS):
        return fetch(NOTO_SANS)
    for candidate in map(Path, _SYSTEM):
        if candidate.is_file():
            return candidate
    if may_fetch:
        return fetch(NOTO_SANS)
    raise AssetError(
        f"no font with Chinese characters found; set {FONT_VARIABLE} to a .ttf, .otf or .ttc file"
    )


def find_fonts(extra: Sequence[Path], *, may_fetch: bool) -> list[Path]:
    """Return the font of :func:`find_font`, Noto Serif where it is to be had, and ``extra`` ones.

    Args:
        extra: font files, or folders whose font files are taken, sorted by path.
        may_fetch: whether Noto Serif is fetched where the cache lacks it.

    Raises:
        AssetError: as :func:`find_font`; a path of ``extra`` is absent, or a folder without fonts.
    """
    found = [find_font(may_fetch=may_fetch)]
    if may_fetch or is_cached(NOTO_SERIF):
        found.append(fetch(NOTO_SERIF))
    for path in extra:
        found.extend(_font_files(path))
    return list(dict.fromkeys(found))


def _font_files(path: Path) -> list[Path]:
    allowed = "name a .ttf, .otf or .ttc file, or a folder of such"
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise AssetError(f"{path}: no such font file or folder; {allowed}")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    if not files:
        raise AssetError(f"{path}: holds no font file; {allowed}")
    return files


@lru_cache(maxsize=64)
def characters_of(font: Path) -> frozenset[int]:
    """Return the code points that a font has a glyph for, by its own table.

    Args:
        font: .ttf, .otf, or .ttc, of which the first font is read.

    Raises:
        AssetError: the file cannot be read, is no such font, or its table is of another layout.
    """
    try:
        content = font.read_bytes()
    except OSError as error:
        raise AssetError(f"{font}: cannot read this font ({error.strerror})") from None
    try:
        found = frozenset(_mapped(_best_map(content)))
    except (struct.error, IndexError, KeyError):
        raise AssetError(
            f"{font}: not a TrueType or OpenType font with a table of Unicode characters; name a "
            ".ttf, .otf or .ttc file"
        ) from None
    return found


def _best_map(content: bytes) -> bytes:
    """The character table of all planes, else that of the first one; from its start."""
    start = struct.unpack_from(">I", content, 12)[0] if content[:4] == b"ttcf" else 0
    (tables,) = struct.unpack_from(">H", content, start + 4)
    records = (struct.unpack_from(">4sIII", content, start + 12 + 16 * n) for n in range(tables))
    cmap = next((offset for tag, _, offset, _ in records if tag == b"cmap"), None)
    if cmap is None:
        raise KeyError("cmap")
    (count,) = struct.unpack_from(">H", content, cmap + 2)
    by_format: dict[int, bytes] = {}
    for number in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", content, cmap + 4 + 8 * number)
        (layout,) = struct.unpack_from(">H", content, cmap + offset)
        if platform == 0 or (platform == 3 and encoding in (1, 10)):
            by_format.setdefault(layout, content[cmap + offset :])
    return by_format[_WHOLE_UNICODE if _WHOLE_UNICODE in by_format else _FIRST_PLANE]


def _mapped(table: bytes) -> Iterator[int]:
    (layout,) = struct.unpack_from(">H", table)
    return _mapped_all_planes(table) if layout == _WHOLE_UNICODE else _mapped_first_plane(table)


def _mapped_all_planes(table: bytes) -> Iterator[int]:
    """Groups of (first character, last character, glyph of the first)."""
    (groups,) = struct.unpack_from(">I", table, 12)
    for number in range(groups):
        first, last, glyph = struct.unpack_from(">III", table, 16 + 12 * number)
        yield from range(first + (glyph == 0), last + 1)


def _mapped_first_plane(table: bytes) -> Iterator[int]:
    """Segments; glyph 0 stands for a missing character."""
    (doubled,) = struct.unpack_from(">H", table, 6)
    count = doubled // 2
    ends = struct.unpack_from(f">{count}H", table, 14)
    starts = struct.unpack_from(f">{count}H", table, 16 + doubled)
    deltas = struct.unpack_from(f">{count}H", table, 16 + 2 * doubled)
    place = 16 + 3 * doubled
    offsets = struct.unpack_from(f">{count}H", table, place)
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for code in range(start, min(end, 0xFFFE) + 1):
            glyph = code
            if offsets[number]:
                at = place + 2 * number + offsets[number] + 2 * (code - start)
                (glyph,) = struct.unpack_from(">H", table, at)
            if glyph and (glyph + deltas[number]) % 0x10000:
                yield code
