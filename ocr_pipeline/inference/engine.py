"""An engine runs one exported network: arrays in, arrays out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Runs a network on one device. Calls from several threads are served one after another."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[N, 3, H, W]`` float32 to probabilities: ``[N, 1, H, W]`` or ``[N, T, K]``."""
        ...
