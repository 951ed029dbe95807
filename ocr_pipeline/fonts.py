"""A font with Chinese characters, for drawing text on pictures and for rendering lines."""

import os
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
