"""Units with several branches: the same function before and after folding, and from a kernel."""

from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle import nn

from ocr_pipeline.models.layers import FoldableConv
from ocr_pipeline.models.reparam import LargeKernelConv, RepConv, TokenConv

CHANNELS = 6
UNITS: dict[str, Callable[[], FoldableConv]] = {
    "token": lambda: TokenConv(CHANNELS),
    "large 5": lambda: LargeKernelConv(CHANNELS, 5),
    "large 7": lambda: LargeKernelConv(CHANNELS, 7),
    "large 9": lambda: LargeKernelConv(CHANNELS, 9),
    "rep 3x3 depthwise": lambda: RepConv(
        CHANNELS, CHANNELS, kernel=3, stride=(1, 1), groups=CHANNELS
    ),
    "rep 5x5 depthwise, stride": lambda: RepConv(
        CHANNELS, CHANNELS, kernel=5, stride=(2, 1), groups=CHANNELS
    ),
    "rep 1x1": lambda: RepConv(CHANNELS, 8, kernel=1, stride=(1, 1), groups=1),
    "rep 1x1 with shortcut": lambda: RepConv(CHANNELS, CHANNELS, kernel=1, stride=(1, 1), groups=1),
}


@pytest.fixture(params=list(UNITS))
def unit(request: pytest.FixtureRequest) -> FoldableConv:
    """With statistics as after a training."""
    paddle.seed(5)
    made = UNITS[request.param]()
    random = np.random.default_rng(5)
    for layer in made.sublayers(include_self=True):
        if isinstance(layer, nn.BatchNorm2D):
            count = layer.weight.shape[0]
            layer.weight.set_value(random.normal(size=count).astype("float32"))
            layer.bias.set_value(random.normal(size=count).astype("float32"))
            layer._mean.set_value(random.normal(size=count).astype("float32"))
            layer._variance.set_value(random.uniform(0.2, 3, count).astype("float32"))
    made.eval()
    return made


def run(unit: FoldableConv, x: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return np.asarray(unit(paddle.to_tensor(x)).numpy())


def picture() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(2, CHANNELS, 20, 23)).astype("float32")


def test_folding_is_exact(unit: FoldableConv) -> None:
    before = run(unit, picture())
    branches = len(unit.state_dict())
    unit.fold()
    assert len(unit.state_dict()) == 2 < branches  # one kernel, one bias
    after = run(unit, picture())
    assert np.abs(after - before).max() <= 1e-6 * np.abs(before).max()
    unit.fold()  # a second time changes nothing
    np.testing.assert_array_equal(run(unit, picture()), after)


def test_a_folded_kernel_is_taken_over(unit: FoldableConv) -> None:
    random = np.random.default_rng(7)
    weight = random.normal(size=unit.kernel_shape).astype("float32")
    bias = random.normal(size=unit.kernel_shape[0]).astype("float32")
    unit.set_folded(weight, bias)
    branched = run(unit, picture())
    unit.fold()
    single = run(unit, picture())
    assert np.abs(branched - single).max() <= 2e-6 * np.abs(single).max()
    np.testing.assert_allclose(unit.deploy.weight.numpy(), weight, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(unit.deploy.bias.numpy(), bias, rtol=1e-6, atol=1e-6)


def test_every_branch_can_learn_after_a_kernel_was_taken_over() -> None:
    unit = RepConv(CHANNELS, CHANNELS, kernel=3, stride=(1, 1), groups=CHANNELS)
    unit.set_folded(
        np.random.default_rng(1).normal(size=unit.kernel_shape).astype("float32"),
        np.zeros(CHANNELS, "float32"),
    )
    unit.train()
    (unit(paddle.to_tensor(picture())) ** 3).mean().backward()
    for branch in [*unit.wide, unit.point]:
        assert np.abs(branch.norm.weight.grad.numpy()).max() > 0
    assert np.abs(unit.shortcut.weight.grad.numpy()).max() > 0
