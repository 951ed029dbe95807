"""Dropout over several processes, held against Paddle's own over the joined batch."""

from itertools import pairwise

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.shared_dropout import SharedDropout, share_dropout

X = np.random.default_rng(0).normal(size=(7, 5, 40)).astype(np.float32)


def dropped(layers: nn.Layer, x: NDArray[np.float32]) -> NDArray[np.float32]:
    paddle.seed(3)
    return np.asarray(layers(paddle.to_tensor(x)).numpy())


def two() -> nn.Layer:
    return nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.4))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("count", [6, 7])
def test_each_process_has_its_rows_of_what_one_process_drops(world: int, count: int) -> None:
    whole = dropped(two(), X[:count])
    assert 0.3 < (whole == 0).mean() < 0.6
    for rank in range(world):
        ranks, layers = Ranks(rank, world), two()
        share_dropout(layers, ranks)
        own = X[:count][rank::world]
        ranks.expect(len(own), len(own) * world / count)
        np.testing.assert_allclose(dropped(layers, own), whole[rank::world], rtol=1e-6)


def test_processes_drop_different_things_where_nobody_says_how_many_there_are() -> None:
    parts = []
    for rank in range(2):
        layers = two()
        share_dropout(layers, Ranks(rank, 2))
        parts.append(dropped(layers, X[:3]) == 0)
    for one, other in pairwise(parts):
        assert 0.2 < (one != other).mean() < 0.8


def test_in_evaluation_nothing_is_dropped_and_alone_nothing_is_replaced() -> None:
    layers = two()
    share_dropout(layers, Ranks(0, 1))
    assert not any(isinstance(layer, SharedDropout) for layer in layers.sublayers())
    share_dropout(layers, Ranks(0, 2))
    assert all(isinstance(layer, SharedDropout) for layer in layers.sublayers())
    layers.eval()
    assert np.array_equal(dropped(layers, X), X)
