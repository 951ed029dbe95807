"""Stage 1."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.image import ImageLimits, RecImageSpec


class DictionaryConfig(Config):
    """Which characters the labels may hold."""

    mode: Literal["model", "union", "new"] = "model"
    """model: those of the model. union: these and new ones. new: only new ones."""
    file: Path | None = None
    """The new ones, one a line, UTF-8; null: all characters of the training labels."""

    @model_validator(mode="after")
    def _check(self) -> "DictionaryConfig":
        if self.file is not None and self.mode == "model":
            raise ValueError("file is used with mode union or new; set mode, or leave file out")
        return self


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
    """Recognizer to be trained: name or folder, as `start` of the training."""
    dictionary: DictionaryConfig = DictionaryConfig()
    """Character set of the dataset; the training moves the model's weights to it."""
    image: RecImageSpec | None = None
    """Changes to the model's input rule, as in the training to come; it limits label lengths."""
    limits: ImageLimits = ImageLimits()
    """What a picture may be."""
    seed: NonNegativeInt = 0
    """Decides which texts are validated on."""
