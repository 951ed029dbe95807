from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ocr_pipeline.models.layers import (
    ConvNorm,
    SqueezeExcite,
    fold,
    named_units,
    set_statistics,
)
from ocr_pipeline.training.calibrate import calibrate


def random_unit(**kwargs: Any) -> ConvNorm:
    """A unit whose normalisation has statistics as after a training."""
    paddle.seed(3)
    unit = ConvNorm(4, 4, **kwargs)
    random = np.random.default_rng(3)
    unit.norm._mean.set_value(random.normal(size=4).astype("float32"))
    unit.norm._variance.set_value(random.uniform(0.2, 3, 4).astype("float32"))
    unit.norm.weight.set_value(random.normal(size=4).astype("float32"))
    unit.norm.bias.set_value(random.normal(size=4).astype("float32"))
    unit.eval()
    return unit


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"kernel": (1, 1)},
        {"groups": 4, "kernel": (5, 5)},
        {"kernel": (2, 2), "same": True},
        {"kernel": (2, 2), "stride": (2, 2), "transposed": True},
    ],
)
def test_folding_keeps_the_function(kwargs: dict[str, object]) -> None:
    unit = random_unit(**kwargs)
    x = paddle.randn([2, 4, 8, 10])
    before = unit(x).numpy()
    fold(unit)
    assert unit.norm is None
    np.testing.assert_allclose(unit(x).numpy(), before, rtol=1e-5, atol=1e-5)


def test_a_2x2_convolution_keeps_the_size() -> None:
    assert random_unit(kernel=(2, 2), same=True)(paddle.zeros([1, 4, 7, 9])).shape == [1, 4, 7, 9]


def test_new_statistics_keep_the_function_in_evaluation_mode() -> None:
    unit = random_unit()
    x = paddle.randn([2, 4, 8, 10])
    before = unit(x).numpy()
    set_statistics(unit.norm, np.array([1.0, -2, 0.5, 9]), np.array([4.0, 0.1, 1, 30]))
    np.testing.assert_allclose(unit(x).numpy(), before, rtol=1e-4, atol=1e-4)


class Predicting(nn.Sequential):
    def predict(self, x: paddle.Tensor) -> paddle.Tensor:
        return self(x)


def test_calibration_makes_training_mode_agree_with_evaluation_mode() -> None:
    network = Predicting(random_unit(), nn.ReLU(), random_unit(groups=4))
    batch = paddle.randn([8, 4, 12, 12])
    network.eval()
    expected = network(batch).numpy()
    network.train()
    uncalibrated = np.abs(network(batch).numpy() - expected).max()
    fresh = Predicting(random_unit(), nn.ReLU(), random_unit(groups=4))
    fresh.train()
    calibrate(fresh, [batch])
    assert fresh.training
    calibrated = np.abs(fresh(batch).numpy() - expected).max()
    assert calibrated < 1e-3 < uncalibrated
    assert [name for name, _ in named_units(fresh)] == ["0", "2"]


def test_the_gate_is_one_number_a_channel() -> None:
    gate = SqueezeExcite(8, slope=0.2)
    x = paddle.rand([1, 8, 6, 5]) + 1
    ratio = (gate(x) / x).numpy()
    assert np.ptp(ratio, axis=(2, 3)).max() < 1e-5
    assert 0 <= ratio.min() <= ratio.max() <= 1
    residual = SqueezeExcite(8, slope=0.2, residual=True)
    residual.set_state_dict(gate.state_dict())
    np.testing.assert_allclose(residual(x).numpy(), (x + gate(x)).numpy(), rtol=1e-5)
