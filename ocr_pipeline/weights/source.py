"""One word for where a model comes from: a released name, a checkpoint folder, a run folder."""

from pathlib import Path

import paddle
from paddle import nn

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.weights.catalog import RELEASED_NAMES
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.trainable import TrainableModel


def load_trainable(source: str) -> TrainableModel:
    """Load a released model by name, or a checkpoint by folder (a run's folder: its best one).

    Raises:
        WeightsError: neither a known name nor a folder; or tensors that do not fit the network.
        ArtifactError: the folder is not a complete checkpoint.
        AssetError: a released file cannot be fetched.
    """
    if source in RELEASED_NAMES:
        return load_released(source)
    folder = Path(source)
    if not folder.exists():
        raise WeightsError(
            f"{source!r}: neither a released model ({', '.join(RELEASED_NAMES)}) nor a folder of a "
            "checkpoint; check the spelling or the path"
        )
    checkpoint = Checkpoint.load(folder)
    network = build_network(checkpoint.card.model)
    set_weights(network, checkpoint.weights(), source=str(checkpoint.folder))
    network.eval()
    return TrainableModel(
        spec=checkpoint.card.model,
        network=network,
        charset=checkpoint.charset(),
        golden=checkpoint.golden(),
        started_from=checkpoint.card.started_from,
        sha256=checkpoint.card.files["model.safetensors"],
        metrics=checkpoint.card.metrics,
    )


def get_weights(network: nn.Layer) -> Tensors:
    """Structured name to array, of all parameters and running statistics."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def set_weights(network: nn.Layer, tensors: Tensors, *, source: str) -> None:
    """Fill ``network``; every tensor must be there, and fit.

    Raises:
        WeightsError: missing, extra or misshapen tensors; all listed.
    """
    wanted = network.state_dict()
    faults = [f"missing {name}" for name in wanted if name not in tensors]
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
            tensor.set_value(tensors[name])
