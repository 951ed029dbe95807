"""Sums over a batch and its pixels, a channel.

Axis by axis: over all axes in one call, Paddle loses three digits on CPU.
"""

from paddle import Tensor


def channel_sum(x: Tensor) -> Tensor:
    """``[N, C, H, W]`` to ``[C]``."""
    return x.sum(axis=3).sum(axis=2).sum(axis=0)


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and mean squared deviation from it, of ``[N, C, H, W]``: ``[C]`` each."""
    count = x.shape[0] * x.shape[2] * x.shape[3]
    mean = channel_sum(x) / count
    away = x - mean.reshape([1, -1, 1, 1])
    return mean, channel_sum(away * away) / count
