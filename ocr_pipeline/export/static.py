"""Checkpoint to ``paddle.jit`` program."""

from pathlib import Path

import paddle
from paddle.jit import to_static
from paddle.static import InputSpec

from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.models.build import build_network, evaluation_network
from ocr_pipeline.models.layers import fold
from ocr_pipeline.weights.tensors import get_weights, set_weights, without_training_parts
from ocr_pipeline.weights.trainable import TrainableModel


def save_program(model: TrainableModel, folder: Path) -> None:
    """Fold a copy of the network and write ``inference.json`` and ``inference.pdiparams``.

    The graph ends in probabilities: ``[N, 1, H, W]`` (det) or ``[N, T, K]`` (rec, K with the blank
    at index 0). The batch is dynamic; so are H and W (det) or W (rec).

    Args:
        model: a checkpoint or a released model; it stays as it is.
        folder: is made.
    """
    deploy = build_network(model.spec.deployed())
    weights = without_training_parts(get_weights(model.network), deploy)
    set_weights(deploy, weights, source="checkpoint")
    fold(deploy)
    if isinstance(model.spec, DetModelSpec):
        shape = [None, 3, None, None]
    else:
        shape = [None, 3, model.spec.image.height, None]
    program = to_static(
        evaluation_network(deploy, task=model.spec.task),
        input_spec=[InputSpec(shape, "float32", "images")],
        full_graph=True,
    )
    folder.mkdir()
    paddle.jit.save(program, str(folder / "inference"))
