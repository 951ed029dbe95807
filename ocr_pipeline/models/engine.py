"""A live network behind the engine protocol: what training evaluates, what an export is held to."""

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from ocr_pipeline.models.build import ProbabilityNet


class NetworkEngine:
    """Runs a trainable network in evaluation mode; afterwards its mode is as before.

    Args:
        network: trainable or folded.
        task: ``det`` or ``rec``.
    """

    def __init__(self, network: nn.Layer, *, task: str) -> None:
        self._network = network
        self._probabilities = ProbabilityNet(network, task=task)

    @property
    def lanes(self) -> int:
        """Calls that are computed at the same time."""
        return 1

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[N, 3, H, W]`` float32 to probabilities: ``[N, 1, H, W]`` or ``[N, T, K]``."""
        was_training = self._network.training
        self._network.eval()
        try:
            with paddle.no_grad():
                probs = self._probabilities(paddle.to_tensor(images))
        finally:
            if was_training:
                self._network.train()
        return np.asarray(probs.astype("float32").numpy())
