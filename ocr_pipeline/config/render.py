"""Rendered practice data."""

from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from ocr_pipeline.config.base import Config


class RenderConfig(Config):
    """Bank slips as a worn 24-pin dot-matrix printer leaves them; all texts invented."""

    out: Path
    """Folder to write; must not exist."""
    train_lines: PositiveInt = 1200
    """Lines to train on."""
    val_lines: PositiveInt = 200
    """Lines to validate on, with texts of their own."""
    seed: NonNegativeInt = 0
    """Decides texts and wear."""
