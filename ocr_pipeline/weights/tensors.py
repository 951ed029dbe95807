"""The tensors of a network by structured name."""

from collections.abc import Iterable

import paddle
from paddle import nn

from ocr_pipeline.artifacts.checkpoint import Tensors
from ocr_pipeline.errors import WeightsError


def get_weights(network: nn.Layer) -> Tensors:
    """Structured name to array, of all parameters and running statistics."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def without_training_parts(weights: Tensors, network: nn.Layer) -> Tensors:
    """Leave out the tensors that only the loss needs."""
    return {
        name: array for name, array in weights.items() if not name.startswith(network.TRAINING_ONLY)
    }


def set_weights(
    network: nn.Layer, tensors: Tensors, *, source: str, may_be_fresh: Iterable[str] = ()
) -> None:
    """Fill ``network``; every tensor must be there, and fit.

    Args:
        may_be_fresh: prefixes of names that may be missing; they keep their fresh weights.

    Raises:
        WeightsError: missing, extra or misshapen tensors; all listed.
    """
    wanted = network.state_dict()
    allowed = tuple(may_be_fresh)
    missing = [name for name in wanted if name not in tensors and not name.startswith(allowed)]
    faults = [f"missing {name}" for name in missing]
    faults += [f"extra {name}" for name in tensors if name not in wanted]
    faults += [
        f"{name} {list(tensors[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and list(tensors[name].shape) != list(tensor.shape)
    ]
    if faults:
        raise WeightsError(
            f"{source}: {len(faults)} tensors do not fit the network: {'; '.join(faults[:10])}"
        )
    with paddle.no_grad():
        for name, tensor in wanted.items():
            if name in tensors:
                tensor.set_value(tensors[name])
