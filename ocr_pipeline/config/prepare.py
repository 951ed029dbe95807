"""Stage 1."""

from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveInt

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.image import ImageLimits, RecImageSpec


class PrepareConfig(Config):
    """PaddleOCR recognition lists (``image<TAB>text``) to a dataset."""

    out: Path
    """Folder of the dataset; must not exist, unless told to overwrite."""
    images: Path
    """Folder that the image paths of the lists start from."""
    train_labels: list[Path] = Field(min_length=1)
    """Label lists, UTF-8."""
    val_labels: list[Path] = []
    """Label lists of the validation part; empty: a part of ``train_labels`` is taken."""
    val_count: PositiveInt = 100
    """Samples to validate on where ``val_labels`` is empty; whole label texts, so a few more."""
    model: str = "ppocrv6_small_rec"
    """Released recognizer whose character set the labels must be in."""
    image: RecImageSpec = RecImageSpec()
    """Input rule of the training to come: decides how long a label can be."""
    limits: ImageLimits = ImageLimits()
    """What a picture may be."""
    seed: NonNegativeInt = 0
    """Decides which texts are validated on."""
