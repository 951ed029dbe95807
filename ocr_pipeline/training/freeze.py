"""Parts of a network that stand still for the first steps."""

from collections.abc import Sequence

from paddle import Tensor, nn

from ocr_pipeline.errors import TrainingError


class Freezer:
    """Freezes parts and lets them go.

    Args:
        network: is trained.
        parts: names of sublayers.

    Raises:
        TrainingError: the network has no such part.
    """

    def __init__(self, network: nn.Layer, parts: Sequence[str]) -> None:
        found = dict(network.named_children())
        missing = [part for part in parts if part not in found]
        if missing:
            raise TrainingError(
                f"freeze.parts {missing}: this network has {', '.join(found)}; leave them out"
            )
        self._network = network
        self._layers = [found[part] for part in parts]
        self._trained: list[Tensor] = [
            parameter
            for layer in self._layers
            for parameter in layer.parameters()
            if not parameter.stop_gradient
        ]

    def set_mode(self, *, frozen: bool) -> None:
        """Training mode; where frozen, these parts have no gradients and keep their statistics."""
        self._network.train()
        for parameter in self._trained:
            parameter.stop_gradient = frozen
        if frozen:
            for layer in self._layers:
                layer.eval()
