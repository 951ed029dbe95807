"""An engine runs one exported network: arrays in, arrays out."""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ResultT = TypeVar("ResultT")


class Engine(Protocol):
    """Runs a network on one device. May be called from several threads at once."""

    @property
    def lanes(self) -> int:
        """So many calls are computed at the same time; more wait for their turn."""
        ...

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[N, 3, H, W]`` float32 to probabilities: ``[N, 1, H, W]`` or ``[N, T, K]``."""
        ...


@runtime_checkable
class LogitEngine(Protocol):
    """An engine of a recognizer that can also leave the last softmax out."""

    def with_logits(
        self, images: NDArray[np.float32], use: Callable[[NDArray[np.float32]], ResultT]
    ) -> ResultT:
        """Return what ``use`` makes of ``[N, T, K]`` float32, which is valid in there only."""
        ...


def compute(engine: Engine, images: NDArray[np.float32]) -> None:
    """Run the network as readers do, and drop what comes out; for measuring time."""
    if isinstance(engine, LogitEngine):
        engine.with_logits(images, np.shape)
    else:
        engine.run(images)
