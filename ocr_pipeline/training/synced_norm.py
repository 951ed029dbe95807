"""Batch normalisation over the batches of all processes.

Paddle's own (``nn.SyncBatchNorm``) has no kernel for CPU.
"""

from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer, PyLayerContext

from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.moments import channel_moments, channel_sum


class SyncedNorm(nn.BatchNorm2D):
    """``nn.BatchNorm2D`` whose statistics are those of all processes' samples together.

    Args:
        norm: is replaced; its parameters and running statistics are taken over, not copied.
        ranks: the processes.
    """

    def __init__(self, norm: nn.BatchNorm2D, ranks: Ranks) -> None:
        super().__init__(norm.weight.shape[0], momentum=norm._momentum, epsilon=norm._epsilon)
        self.weight, self.bias = norm.weight, norm.bias
        self._mean, self._variance = norm._mean, norm._variance
        self._ranks = ranks
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``; like its base in evaluation mode."""
        if not self.training:
            return super().forward(x)
        with paddle.no_grad():
            batch = _statistics(x.detach().astype("float32"), self._ranks)
            for running, value in ((self._mean, batch.mean), (self._variance, batch.variance)):
                kept = running * self._momentum + value * (1 - self._momentum)
                paddle.assign(kept, running)
        result: Tensor = _Normalise.apply(
            x, self.weight, self.bias, batch, self._epsilon, self._ranks
        )
        return result


def synchronise(network: nn.Layer, ranks: Ranks) -> None:
    """Replace every ``nn.BatchNorm2D`` below ``network``; nothing where a process is alone."""
    if ranks.world == 1:
        return
    for layer in network.sublayers(include_self=True):
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2D) and not isinstance(child, SyncedNorm):
                setattr(layer, name, SyncedNorm(child, ranks))


@dataclass(frozen=True)
class _Statistics:
    """Of the samples of all processes: ``[C]`` each, and the number of values a channel."""

    mean: Tensor
    variance: Tensor
    count: float


def _statistics(x: Tensor, ranks: Ranks) -> _Statistics:
    """Each process's mean and variance, put together (Chan et al., 1979)."""
    own_count = float(x.shape[0] * x.shape[2] * x.shape[3])
    row = paddle.concat([paddle.full([1], own_count), *channel_moments(x)])
    rows = ranks.rows(row).astype("float64")
    channels = x.shape[1]
    counts, means, variances = rows[:, :1], rows[:, 1 : channels + 1], rows[:, channels + 1 :]
    count = counts.sum()
    mean = (means * counts).sum(axis=0) / count
    variance = (counts * (variances + (means - mean) ** 2)).sum(axis=0) / count
    return _Statistics(mean.astype("float32"), variance.astype("float32"), float(count))


class _Normalise(PyLayer):
    """The normalisation itself; its gradient needs two sums over all processes."""

    @staticmethod
    def forward(
        ctx: PyLayerContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        batch: _Statistics,
        epsilon: float,
        ranks: Ranks,
    ) -> Tensor:
        scale = paddle.rsqrt(batch.variance + epsilon).reshape([1, -1, 1, 1])
        hat = (x.astype("float32") - batch.mean.reshape([1, -1, 1, 1])) * scale
        ctx.save_for_backward(hat, weight, scale)
        ctx.rest = (batch.count, ranks, x.dtype)
        ctx.learns = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        y = hat * weight.reshape([1, -1, 1, 1]) + bias.reshape([1, -1, 1, 1])
        return y.astype(x.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hat, weight, scale = ctx.saved_tensor()
        count, ranks, dtype = ctx.rest
        dy = upstream[0].astype("float32")
        of_bias, of_weight = channel_sum(dy), channel_sum(dy * hat)
        channels = weight.shape[0]
        both = ranks.total(paddle.concat([of_bias, of_weight])) / count
        mean, slope = (part.reshape([1, -1, 1, 1]) for part in (both[:channels], both[channels:]))
        dx = (dy - mean - hat * slope) * (weight.reshape([1, -1, 1, 1]) * scale)
        gradients = (dx.astype(dtype), of_weight, of_bias)
        # Paddle wants None where none is asked for.
        return tuple(g if wanted else None for g, wanted in zip(gradients, ctx.learns, strict=True))
