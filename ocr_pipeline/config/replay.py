"""General text that is trained on beside one's own, so that a model keeps what it knew."""

from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ocr_pipeline.config.base import Config


class ReplayConfig(Config):
    """Printed lines of general text that ``prepare`` draws into a dataset."""

    share: float = Field(default=0.25, ge=0, le=0.9)
    """Share of the training lines shown that are replay. 0: none are trained on; the held-out
    ones still measure what is forgotten."""
    lines: PositiveInt = 2000
    """Lines to train on; with a small share each is shown every few epochs only."""
    val_lines: NonNegativeInt = 200
    """Lines held out, with texts of their own, on which forgetting is measured."""
    longest: int = Field(default=24, ge=4, le=60)
    """Longest line, in Chinese characters' widths (a Latin letter has about half of one); long
    lines cost time in training."""
    corpus: Path | None = None
    """UTF-8 text file that the texts are taken out of; null: made up, Chinese and English."""
    fonts: list[Path] = []
    """Font files, or folders of them, besides the two Noto fonts."""
    seed: NonNegativeInt = 0
    """Decides texts and pictures; picture k follows from the seed and k."""

    @model_validator(mode="after")
    def _check(self) -> "ReplayConfig":
        if not self.share and not self.val_lines:
            raise ValueError(
                "nothing to draw: share and val_lines are both 0; leave replay out, or set one"
            )
        return self
