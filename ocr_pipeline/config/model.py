"""What a model is: network, input and output rules. Travels in every checkpoint and export."""

from typing import Annotated, Literal

from pydantic import Field

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.image import DBDecodeSpec, DetImageSpec, RecImageSpec

Size = Literal["tiny", "small"]


class DetModelSpec(Config):
    """A DB text detector."""

    task: Literal["det"] = "det"
    family: Literal["ppocrv6"] = "ppocrv6"
    """Series of the released networks."""
    size: Size
    """Size within the series."""
    image: DetImageSpec = DetImageSpec()
    decode: DBDecodeSpec = DBDecodeSpec()


class RecModelSpec(Config):
    """A CTC text recognizer."""

    task: Literal["rec"] = "rec"
    family: Literal["ppocrv6"] = "ppocrv6"
    """Series of the released networks."""
    size: Size
    """Size within the series."""
    classes: int = Field(ge=3)
    """Number of outputs, blank and space included."""
    image: RecImageSpec = RecImageSpec()


ModelSpec = Annotated[DetModelSpec | RecModelSpec, Field(discriminator="task")]
