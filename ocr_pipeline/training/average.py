"""Moving average of a network's weights, which generalises better than its last ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import Tensors
from ocr_pipeline.errors import ArtifactError


class WeightAverage:
    """Exponential moving average of all tensors of a network, running statistics included.

    After step n the decay is ``min(decay, (1 + n) / (10 + n))``: short trainings are averaged over
    about their last tenth.

    Args:
        network: is trained; its present weights are the first average.
        decay: 0 to 1.
    """

    def __init__(self, network: nn.Layer, decay: float) -> None:
        self._live: dict[str, Tensor] = dict(network.state_dict())
        self._decay = decay
        self._means = {name: tensor.clone().detach() for name, tensor in self._live.items()}

    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with paddle.no_grad():
            for name, tensor in self._live.items():
                mean = self._means[name]
                paddle.assign(mean * decay + tensor * (1 - decay), mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network computes with the averages inside."""
        live = {name: tensor.clone().detach() for name, tensor in self._live.items()}
        self._put(self._means)
        try:
            yield
        finally:
            self._put(live)

    def live(self) -> Tensors:
        """The weights themselves, as the optimiser left them."""
        return {name: np.asarray(tensor.numpy()) for name, tensor in self._live.items()}

    def restore(self, weights: Tensors) -> None:
        """Go on from a checkpoint: the network holds the averages, ``weights`` are its own.

        Raises:
            ArtifactError: they are of another network.
        """
        if weights.keys() != self._live.keys():
            raise ArtifactError(
                "the checkpoint has no weights beside their average, or those of another network; "
                "resume with the `average` that the run was started with"
            )
        self._means = {name: tensor.clone().detach() for name, tensor in self._live.items()}
        self._put({name: paddle.to_tensor(array) for name, array in weights.items()})

    def _put(self, weights: dict[str, Tensor]) -> None:
        with paddle.no_grad():
            for name, tensor in self._live.items():
                paddle.assign(weights[name], tensor)
