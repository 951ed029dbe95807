"""Adam with coupled L2, its schedule, and its state by structured names."""

from math import cos, pi
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ocr_pipeline.artifacts.checkpoint import Tensors
from ocr_pipeline.config.train import OptimConfig, TrainConfig
from ocr_pipeline.errors import ArtifactError

_FIRST = {
    "_moment1_0": 0.0,
    "_moment2_0": 0.0,
    "_beta1_pow_acc_0": 0.9,
    "_beta2_pow_acc_0": 0.999,
}
"""State of Adam before a parameter's first step; the last two are the decays' powers."""


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


def peak_rate(config: TrainConfig, world: int = 1) -> float:
    """The peak learning rate, in proportion to the samples of a step where the config says so.

    Args:
        config: batch and rate.
        world: number of processes.
    """
    reference = config.optim.reference_batch
    scale = 1.0 if reference is None else config.batch * config.accumulate * world / reference
    return config.optim.lr * scale


def learning_rate(
    step: int, *, steps: int, config: OptimConfig, peak: float | None = None
) -> float:
    """The rate of step ``step`` (from 0) of ``steps``: linear warm-up, then a cosine to zero.

    Args:
        step: number of steps taken.
        steps: of the whole training.
        config: warm-up, and the peak where none is given.
        peak: of :func:`peak_rate`.
    """
    peak = config.lr if peak is None else peak
    warmup = min(config.warmup_steps, steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + cos(pi * done))


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
    names = _names(network)
    internal = {structured: name for name, structured in names.items()}
    values: dict[str, paddle.Tensor] = {}
    for key, array in state.items():
        structured, _, suffix = key.partition("|")
        if structured not in internal:
            raise ArtifactError(
                f"optimiser state for {structured}: this network has no such parameter"
            )
        values[internal[structured] + suffix] = paddle.to_tensor(np.asarray(array))
    # Paddle takes all or nothing; what was frozen until now has no moments yet.
    have = {key.partition("|")[0] for key in state}
    for parameter in network.parameters():
        name = parameter.name
        if have and not parameter.stop_gradient and names[name] not in have:
            for suffix, value in _FIRST.items():
                shape = parameter.shape if suffix.startswith("_moment") else [1]
                values[name + suffix] = paddle.full(shape, value, dtype="float32")
    optimizer.set_state_dict(values)


def _names(network: nn.Layer) -> dict[str, str]:
    return {parameter.name: name for name, parameter in network.named_parameters()}


def _owner(key: str, names: dict[str, str]) -> str:
    """The parameter that a state key belongs to: the longest name that it starts with."""
    return max((name for name in names if key.startswith(f"{name}_")), key=len)
