"""How a model is run."""

from typing import Literal

from pydantic import PositiveInt

from ocr_pipeline.config.base import Config


class EngineConfig(Config):
    """Settings of an inference engine; none of them changes what is read."""

    device: Literal["cpu", "gpu"] = "cpu"
    """Where the network runs."""
    threads: PositiveInt = 2
    """CPU threads of one engine."""
    rec_batch: PositiveInt = 8
    """Text lines of one width that are recognised together, at most."""
