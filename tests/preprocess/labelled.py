"""Small labelled sets for the tests of ``prepare``: pictures of noise, no two alike."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.prepare import PrepareConfig

Picture = NDArray[np.uint8]


def noise(name: str, height: int = 24, width: int = 96) -> Picture:
    """``[H, W, 3]`` uint8, the same for the same name; coarse, so that copies look alike."""
    random = np.random.default_rng(list(name.encode()))
    small = random.integers(0, 255, (max(1, height // 4), max(1, width // 4), 3), np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, dtype=np.uint8)


def encoded(picture: Picture) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1].tobytes())


def save(folder: Path, name: str, picture: Picture | None = None) -> None:
    """Write a picture (else noise) below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(noise(name) if picture is None else picture))


def write_list(path: Path, rows: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def lines(folder: Path, count: int, *, prefix: str = "ok", text: str = "A") -> list[str]:
    """Write lines; return their labels: A0, A1, ..."""
    for number in range(count):
        save(folder, f"{prefix}{number}.png")
    return [f"{prefix}{number}.png\t{text}{number}" for number in range(count)]


def pages(folder: Path, count: int, *, prefix: str = "page") -> list[str]:
    """Write pages of 240 x 160 px with two regions each; return their labels."""
    for number in range(count):
        name = f"{prefix}{number}.png"
        save(folder, name, noise(name, 160, 240))
    return [f"{prefix}{n}.png\t{json.dumps(regions(n), ensure_ascii=False)}" for n in range(count)]


def regions(number: int) -> list[dict[str, object]]:
    upright = [[20, 20], [140, 20], [140, 52], [20, 52]]
    slanted = [[30, 90], [200, 100], [198, 134], [28, 124]]
    return [
        {"transcription": f"B{number}", "points": upright, "difficult": False},
        {"transcription": f"C{number}", "points": slanted, "difficult": False},
    ]


def settings(root: Path, labels: Path, **changes: object) -> PrepareConfig:
    """For one list; in this process."""
    values: dict[str, object] = {
        "out": root / "out",
        "images": root,
        "train_labels": [labels],
        "val_count": 2,
        "workers": 0,
    }
    return PrepareConfig.model_validate(values | changes)
