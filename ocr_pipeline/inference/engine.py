"""An engine runs one exported network: arrays in, arrays out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Runs a network on one device. May be called from several threads at once."""

    @property
    def lanes(self) -> int:
        """So many calls are computed at the same time; more wait for their turn."""
        ...

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[N, 3, H, W]`` float32 to probabilities: ``[N, 1, H, W]`` or ``[N, T, K]``."""
        ...
