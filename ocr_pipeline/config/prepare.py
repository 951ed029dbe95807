"""Stage 1."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.image import ImageLimits, RecImageSpec
from ocr_pipeline.config.replay import ReplayConfig
from ocr_pipeline.config.sources import PackConfig, Place, SourceConfig, StorageConfig, Task


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
    """Labels and pictures, from wherever they are, to a dataset."""

    task: Task = "rec"
    """rec: text lines for the recognizer. det: pictures with regions for the detector."""
    out: Path
    """Folder of the dataset; must not exist, unless told to overwrite."""
    images: Place | None = None
    """Folder or URL that the picture paths start from, for all sources that name none."""
    train_labels: list[SourceConfig] = Field(min_length=1)
    """Sources to train on; a path alone is a PaddleOCR list."""
    val_labels: list[SourceConfig] = []
    """Sources to validate on; empty: a part of ``train_labels`` is taken."""
    val_count: PositiveInt = 100
    """Samples to validate on where ``val_labels`` is empty; whole texts, pictures and groups stay
    together, so a few more."""
    model: str = "ppocrv6_small_rec"
    """Recognizer to be trained: name or folder, as `start` of the training."""
    dictionary: DictionaryConfig = DictionaryConfig()
    """Character set of the dataset; the training moves the model's weights to it."""
    image: RecImageSpec | None = None
    """Changes to the model's input rule, as in the training to come; it limits label lengths."""
    guide: bool = False
    """The training will use the NRTR decoder: labels longer than it was trained on are reported."""
    limits: ImageLimits = ImageLimits()
    """What a picture may be."""
    check: CheckConfig = CheckConfig()
    """What the linter looks for and does."""
    storage: StorageConfig = StorageConfig()
    """How files that are not on this machine are read."""
    pack: PackConfig = PackConfig()
    """Copy the pictures into shards."""
    replay: ReplayConfig | None = None
    """General lines to train on beside one's own; null: none. For recognition."""
    workers: NonNegativeInt = Field(default_factory=lambda: min(8, os.cpu_count() or 1))
    """Processes that decode and check; 0: this one. The result does not depend on it."""
    seed: NonNegativeInt = 0
    """Decides which samples are validated on."""

    @model_validator(mode="after")
    def _check(self) -> "PrepareConfig":
        if self.replay is not None and self.task == "det":
            raise ValueError(
                "replay is for recognition: its lines are of no use to a detector; leave replay "
                "out, or set task to rec"
            )
        return self
