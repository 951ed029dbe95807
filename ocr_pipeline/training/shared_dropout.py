"""Dropout of several processes that is that of one process with all their samples."""

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.training.distributed import Ranks


class SharedDropout(nn.Dropout):
    """``nn.Dropout`` that draws for the samples of all processes and takes its own.

    Args:
        dropout: is replaced.
        ranks: the processes; all draw the same where their generators have the same seed.
    """

    def __init__(self, dropout: nn.Dropout, ranks: Ranks) -> None:
        super().__init__(dropout.p, mode=dropout.mode)
        self._ranks = ranks
        self.training = dropout.training

    def forward(self, x: Tensor) -> Tensor:
        """``[N, ...]``."""
        if not self.training or self.p == 0:
            return x
        rank, world, own = self._ranks.rank, self._ranks.world, x.shape[0]
        count = self._ranks.samples
        if len(range(rank, count, world)) != own:
            count = own * world
        mask = F.dropout(paddle.ones([count, *x.shape[1:]], x.dtype), self.p, mode=self.mode)
        return x * mask[rank::world]


def share_dropout(network: nn.Layer, ranks: Ranks) -> None:
    """Replace every ``nn.Dropout`` below ``network``; nothing where a process is alone."""
    if ranks.world == 1:
        return
    for layer in network.sublayers(include_self=True):
        for name, child in layer.named_children():
            if type(child) is nn.Dropout and child.axis is None:
                setattr(layer, name, SharedDropout(child, ranks))
