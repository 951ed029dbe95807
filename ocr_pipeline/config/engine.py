"""How a model is run."""

from typing import Literal

from pydantic import PositiveInt, field_validator

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.tiling import TilingConfig
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.errors import ConfigError

AUTO = "auto"


class EngineConfig(Config):
    """Settings of an inference engine."""

    variant: str = AUTO
    """Runtime and precision, e.g. openvino-bf16; auto: the fastest on this machine of those that
    the model was exported for and that pass its self-test here."""
    device: Literal["cpu", "gpu"] = "cpu"
    """Where the network runs."""
    threads: PositiveInt = 2
    """CPU threads of one engine."""
    rec_batch: PositiveInt = 4
    """Text lines of the narrowest width that are recognised together, at most; fewer of wider ones.
    More is slower on a CPU (pages of long lines: 8 by a twentieth, since what a batch needs no
    longer fits its caches); set more on a GPU."""
    skip_blank: bool = True
    """Leave out the blank borders of a page when text is looked for. Off: paper is looked at, too;
    what is found near borders, and how sure it is, changes a little."""
    tiling: TilingConfig = TilingConfig()
    """Of pictures that are larger than the detector takes as a whole."""

    @field_validator("variant")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != AUTO:
            try:
                Variant.parse(name)
            except ConfigError as error:
                raise ValueError(f"{error}, or auto") from None
        return name
