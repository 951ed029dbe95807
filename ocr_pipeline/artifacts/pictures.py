"""Golden pictures: carried from the checkpoint to the export and on to the service's self-test."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.ops.decode import BGRImage, read_image


def save_pictures(pictures: Sequence[BGRImage], folder: Path) -> None:
    """Write pictures losslessly as ``00.png``, ``01.png``, ..."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        done, content = cv2.imencode(".png", picture)
        if not done:
            raise ArtifactError(f"{folder}: cannot encode a picture of shape {picture.shape}")
        (folder / f"{number:02d}.png").write_bytes(content.tobytes())


def load_pictures(folder: Path) -> list[BGRImage]:
    """Read back what :func:`save_pictures` wrote, in order."""
    return [read_image(path) for path in sorted(folder.glob("*.png"))]
