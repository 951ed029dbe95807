"""Make folded weights trainable: give each normalisation the statistics that it really sees."""

from collections.abc import Callable, Iterable

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn

from ocr_pipeline.models.layers import set_statistics
from ocr_pipeline.training.moments import channel_moments

Moments = NDArray[np.float64]


def calibrate(
    network: nn.Layer,
    batches: Iterable[Tensor],
    *,
    mean_of: Callable[[Moments], Moments] = lambda moments: np.asarray(moments.mean(axis=0)),
) -> None:
    """Set the running statistics of every normalisation from the pictures themselves.

    The function in evaluation mode stays what it was. Without this, the first training step
    normalises by statistics that the weights never knew, and accuracy collapses.

    Normalisations that ``predict`` does not pass (branches for training only, fresh) stay as they
    are.

    Args:
        network: trainable form.
        batches: images ``[N, 3, H, W]`` float32; a few suffice.
        mean_of: means and mean squares ``[batches, 2, channels]`` of the normalisations, all behind
            each other -> their mean over the batches ``[2, channels]``; is given those of this
            process and may take in those of others.
    """
    norms = [layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    seen: dict[int, list[Moments]] = {id(norm): [] for norm in norms}

    def record(norm: nn.BatchNorm2D, inputs: tuple[Tensor, ...]) -> None:
        moments = channel_moments(inputs[0].astype("float32"))
        mean, variance = (moment.numpy().astype(np.float64) for moment in moments)
        seen[id(norm)].append(np.stack([mean, variance + mean * mean]))

    hooks = [norm.register_forward_pre_hook(record) for norm in norms]
    was_training = network.training
    network.eval()
    with paddle.no_grad():
        for images in batches:
            network.predict(images)
    for hook in hooks:
        hook.remove()
    if was_training:
        network.train()
    passed = [norm for norm in norms if seen[id(norm)]]
    if not passed:
        return
    joined = mean_of(np.concatenate([np.stack(seen[id(norm)]) for norm in passed], axis=2))
    ends = np.cumsum([norm.weight.shape[0] for norm in passed])[:-1]
    for norm, (mean, square) in zip(passed, np.split(joined, ends, axis=1), strict=True):
        set_statistics(norm, mean, np.maximum(square - mean * mean, 0.0))
