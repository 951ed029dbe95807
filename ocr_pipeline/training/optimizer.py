"""Adam with coupled L2, its schedule, and its state by structured names."""

from math import cos, pi
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ocr_pipeline.artifacts.checkpoint import Tensors
from ocr_pipeline.config.train import OptimConfig
from ocr_pipeline.errors import ArtifactError


def build_optimizer(network: nn.Layer, config: OptimConfig) -> paddle.optimizer.Adam:
    """Adam over all trainable parameters; L2 on convolution and linear weights only."""
    trainable = [p for p in network.parameters() if not p.stop_gradient]
    decayed = [p for p in trainable if p.ndim > 1]
    plain = [p for p in trainable if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain},
    ]
    return paddle.optimizer.Adam(
        learning_rate=config.lr,
        parameters=[group for group in groups if group["params"]],
        grad_clip=nn.ClipGradByGlobalNorm(config.max_grad_norm),
    )


def learning_rate(step: int, *, steps: int, config: OptimConfig) -> float:
    """The rate of step ``step`` (from 0) of ``steps``: linear warm-up, then a cosine to zero."""
    warmup = min(config.warmup_steps, steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.lr * 0.5 * (1 + cos(pi * done))


def get_state(optimizer: paddle.optimizer.Adam, network: nn.Layer) -> Tensors:
    """Moments as arrays by structured parameter name: Paddle's own names differ per process."""
    names = _names(network)
    state: Tensors = {}
    for key, value in optimizer.state_dict().items():
        if isinstance(value, paddle.Tensor):
            owner = _owner(key, names)
            state[f"{names[owner]}|{key[len(owner) :]}"] = value.numpy()
    return state


def set_state(optimizer: paddle.optimizer.Adam, network: nn.Layer, state: Tensors) -> None:
    """Put back what :func:`get_state` returned.

    Raises:
        ArtifactError: the state belongs to another network.
    """
    internal = {structured: name for name, structured in _names(network).items()}
    values: dict[str, paddle.Tensor] = {}
    for key, array in state.items():
        structured, _, suffix = key.partition("|")
        if structured not in internal:
            raise ArtifactError(
                f"optimiser state for {structured}: this network has no such parameter"
            )
        values[internal[structured] + suffix] = paddle.to_tensor(np.asarray(array))
    optimizer.set_state_dict(values)


def _names(network: nn.Layer) -> dict[str, str]:
    return {parameter.name: name for name, parameter in network.named_parameters()}


def _owner(key: str, names: dict[str, str]) -> str:
    """The parameter that a state key belongs to: the longest name that it starts with."""
    return max((name for name in names if key.startswith(f"{name}_")), key=len)
