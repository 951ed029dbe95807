"""Rendered data: pictures of invented texts, with their labels."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ocr_pipeline.config.base import Config

Domain = Literal["demo", "bank_slip", "government_form", "display", "corpus"]


class CoverageConfig(Config):
    """Which characters the training lines hold, and how often."""

    charset: str
    """Dictionary file (UTF-8, one character a line), or the name of a model whose characters are
    meant."""
    at_least: PositiveInt = 20
    """How often each of them stands in the training lines."""
    filler_length: PositiveInt = Field(default=12, ge=2, le=40)
    """Mean characters of a line that is added to reach that; half to one and a half of it."""


class DegradeConfig(Config):
    """What happens to pictures after drawing: for each effect the share of pictures that get it."""

    strength: float = Field(default=1.0, ge=0, le=1)
    """How strong the effects become at most: 0 hardly visible, 1 as far as people still read."""
    blur: float = Field(default=0.3, ge=0, le=1)
    """Out of focus, or moved."""
    perspective: float = Field(default=0.35, ge=0, le=1)
    """Photographed from the side."""
    jpeg: float = Field(default=0.4, ge=0, le=1)
    """Compressed too much."""
    light: float = Field(default=0.4, ge=0, le=1)
    """Lit from one side, with a shadow."""
    noise: float = Field(default=0.4, ge=0, le=1)
    """Grain of a camera."""
    fold: float = Field(default=0.15, ge=0, le=1)
    """Fold lines across paper; never on a display."""
    low_resolution: float = Field(default=0.2, ge=0, le=1)
    """Made smaller and larger again."""
    worn: float = Field(default=0.5, ge=0, le=1)
    """Printed with little ink, or with gaps."""
    stamp: float = Field(default=0.3, ge=0, le=1)
    """A red stamp over the print of slips and forms."""


class RenderConfig(Config):
    """Labelled lines and pages of one domain; all texts invented, or out of a file of yours."""

    out: Path
    """Folder to write; must not exist."""
    domain: Domain = "demo"
    """demo: lines of bank slips as a worn 24-pin dot-matrix printer leaves them, and one page.
    bank_slip: slips with form, print and stamp. government_form: ruled forms with seals. display:
    seven-segment and dot displays on panels. corpus: plain printed documents."""
    train_lines: NonNegativeInt = 1200
    """Lines to train on, drawn one by one."""
    val_lines: NonNegativeInt = 200
    """Lines to validate on, with texts of their own."""
    train_pages: NonNegativeInt = 0
    """Pages to train a detector on."""
    val_pages: NonNegativeInt = 0
    """Pages to validate a detector on."""
    page_crops: bool = True
    """Whether the lines of the pages are cut out and join the lines, where their text allows."""
    seed: NonNegativeInt = 0
    """Decides texts, layout and wear; picture k follows from the seed and k."""
    fonts: list[Path] = []
    """Font files, or folders of them, besides the two Noto fonts."""
    backgrounds: Path | None = None
    """Folder of pictures to draw on; null: paper and panels are made up."""
    corpus: Path | None = None
    """UTF-8 text file that the texts of lines (and of ``corpus`` pages) are taken out of; null:
    made up as the domain has it."""
    coverage: CoverageConfig | None = None
    """Ask for every character of a set."""
    vertical_share: float = Field(default=0.0, ge=0, le=1)
    """Share of lines that are drawn top to bottom, among texts of Chinese characters."""
    degrade: DegradeConfig = DegradeConfig()
    """Effects on the pictures."""
    workers: PositiveInt = 1
    """Processes; the files are the same whatever their number."""

    @model_validator(mode="after")
    def _check(self) -> "RenderConfig":
        if self.domain == "demo":
            self._check_demo()
        elif not self.train_lines + self.val_lines + self.train_pages + self.val_pages:
            raise ValueError(
                "nothing to render: train_lines, val_lines, train_pages and val_pages are all 0"
            )
        if self.coverage is not None and self.train_lines == 0:
            raise ValueError("coverage counts training lines: set train_lines above 0")
        return self

    def _check_demo(self) -> None:
        if not (self.train_lines and self.val_lines):
            raise ValueError("domain demo needs train_lines and val_lines above 0")
        fields = ("train_pages", "val_pages", "fonts", "backgrounds", "corpus", "coverage")
        set_ones = [name for name in fields if getattr(self, name)]
        if self.vertical_share:
            set_ones.append("vertical_share")
        if set_ones:
            raise ValueError(
                f"domain demo does not know {', '.join(set_ones)}; set domain to bank_slip, "
                "government_form, display or corpus"
            )
