"""How training samples are read."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat

from ocr_pipeline.config.base import Config


class LoaderConfig(Config):
    """Worker processes and what a batch is made of."""

    workers: NonNegativeInt = 0
    """Processes that read and change pictures; 0: the training process itself."""
    heights: list[Annotated[int, Field(ge=16, le=256, multiple_of=16)]] = Field(
        default=[], max_length=8
    )
    """Recognition at several line heights, px, multiples of 16, one drawn for each batch; e.g.
    [32, 48, 64]. Empty: the input rule's height alone."""
    own_shards: bool = False
    """With several processes and packed data: each reads shards of its own, which suits storage
    across a network. False: all read from all, and batches of one step have the same width."""
    sample_timeout_s: PositiveFloat = 120.0
    """A worker that is at one sample for longer hangs: it is ended and the sample named, s."""
