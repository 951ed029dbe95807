"""Normalisation over several processes, held against Paddle's own over the joined batch."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.moments import channel_moments
from ocr_pipeline.training.synced_norm import SyncedNorm, synchronise
from tests.training.made_up_ranks import together

CHANNELS = 3
Arrays = dict[str, NDArray[np.float32]]
random = np.random.default_rng(0)
X = (random.normal(size=(7, CHANNELS, 4, 5)) * [[[[1.0]], [[0.1]], [[5.0]]]] + 3).astype("float32")
UPSTREAM = random.normal(size=X.shape).astype(np.float32)


def fresh_norm() -> nn.BatchNorm2D:
    norm = nn.BatchNorm2D(CHANNELS, momentum=0.7)
    norm.weight.set_value(np.array([0.5, 1.0, -2.0], dtype=np.float32))
    norm.bias.set_value(np.array([0.1, 0.0, 3.0], dtype=np.float32))
    return norm


def passed(
    norm: nn.BatchNorm2D,
    rows: slice,
    frozen: Callable[[nn.BatchNorm2D], None] = lambda norm: None,
    *,
    input_learns: bool = True,
) -> Arrays:
    """What a training step on these rows leaves: output, gradients, running statistics."""
    frozen(norm)
    x = paddle.to_tensor(X[rows], stop_gradient=not input_learns)
    y = norm(x)
    (y * paddle.to_tensor(UPSTREAM[rows])).sum().backward()
    found = {"y": y, "dx": x.grad, "dweight": norm.weight.grad, "dbias": norm.bias.grad}
    found |= {"mean": norm._mean, "variance": norm._variance}
    return {name: tensor.numpy() for name, tensor in found.items() if tensor is not None}


def parts(world: int) -> list[slice]:
    """Of unequal length."""
    edges = {1: [0, 7], 2: [0, 4, 7], 3: [0, 1, 5, 7]}[world]
    return [slice(low, high) for low, high in pairwise(edges)]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_all_processes_together_do_what_one_does_alone(world: int) -> None:
    whole = passed(fresh_norm(), slice(None))

    def work(ranks: Ranks) -> Arrays:
        return passed(SyncedNorm(fresh_norm(), ranks), parts(world)[ranks.rank])

    found = together(world, work)
    for name in ("y", "dx"):
        joined = np.concatenate([one[name] for one in found])
        np.testing.assert_allclose(joined, whole[name], rtol=1e-4, atol=2e-5, err_msg=name)
    for name in ("dweight", "dbias"):
        total = sum(one[name] for one in found)
        np.testing.assert_allclose(total, whole[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for one in found:
        for name in ("mean", "variance"):
            np.testing.assert_allclose(one[name], whole[name], rtol=1e-5, err_msg=name)


def test_without_it_the_processes_do_something_else() -> None:
    whole = passed(fresh_norm(), slice(None))
    apart = np.concatenate([passed(fresh_norm(), part)["y"] for part in parts(2)])
    assert np.abs(apart - whole["y"]).max() > 0.1


def hold_weight(norm: nn.BatchNorm2D) -> None:
    norm.weight.stop_gradient = True


def test_what_does_not_learn_gets_no_gradient() -> None:
    norm = SyncedNorm(fresh_norm(), ALONE)
    found = passed(norm, slice(None), hold_weight)
    assert "dweight" not in found
    np.testing.assert_allclose(
        found["dx"], passed(fresh_norm(), slice(None))["dx"], rtol=1e-4, atol=2e-5
    )
    found = passed(SyncedNorm(fresh_norm(), ALONE), slice(None), input_learns=False)
    assert "dx" not in found
    assert "dweight" in found


def test_in_evaluation_it_is_its_base() -> None:
    norm = fresh_norm()
    norm.eval()
    synced = SyncedNorm(norm, ALONE)
    assert not synced.training
    x = paddle.to_tensor(X)
    assert np.array_equal(synced(x).numpy(), norm(x).numpy())
    assert np.array_equal(synced._mean.numpy(), np.zeros(CHANNELS))


def test_every_normalisation_of_a_network_is_replaced_and_its_tensors_kept() -> None:
    network = nn.Sequential(nn.Conv2D(3, CHANNELS, 1), nn.Sequential(fresh_norm()), fresh_norm())
    before = dict(network.state_dict())
    synchronise(network, ALONE)
    assert not any(isinstance(layer, SyncedNorm) for layer in network.sublayers())
    synchronise(network, Ranks(0, 2))
    norms = [layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    assert [type(norm) for norm in norms] == [SyncedNorm, SyncedNorm]
    assert norms[0]._momentum == 0.7
    after = dict(network.state_dict())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_moments_are_exact_where_the_mean_is_far_from_zero() -> None:
    """Mean square less squared mean has no digit left here."""
    x = (random.normal(size=(8, 2, 50, 300)) * 0.01 + 100).astype(np.float32)
    mean, variance = (moment.numpy() for moment in channel_moments(paddle.to_tensor(x)))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var(axis=(0, 2, 3)), rtol=1e-3)
