"""Mixed precision as far as a machine without a GPU goes: the scaler is told that it has one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.amp import grad_scaler
from safetensors.numpy import load_file, save_file

from ocr_pipeline.config.train import OptimConfig
from ocr_pipeline.training.optimizer import build_optimizer, get_state, set_state
from ocr_pipeline.training.precision import Precision, StepScaler

FLOAT16 = Precision("float16", "a test")


@pytest.fixture(autouse=True)
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    place = SimpleNamespace(is_gpu_place=lambda: True)
    tracer = SimpleNamespace(_expected_place=place)
    monkeypatch.setattr(grad_scaler, "_dygraph_tracer", lambda: tracer)


def started() -> tuple[nn.Layer, Any, StepScaler]:
    paddle.seed(1)
    network = nn.Linear(3, 3)
    return network, build_optimizer(network, OptimConfig(lr=0.01)), StepScaler(FLOAT16)


def take_step(
    network: nn.Layer, optimizer: Any, scaler: StepScaler, number: int, by: float = 1
) -> None:
    batch = np.random.default_rng(number).normal(size=(4, 3)).astype("float32") * by
    with FLOAT16.autocast():
        loss = (network(paddle.to_tensor(batch)) ** 2).mean()
    scaler.backward(loss)
    scaler.step(optimizer)


def weights(network: nn.Layer) -> list[Any]:
    return [parameter.numpy() for parameter in network.parameters()]


@pytest.mark.filterwarnings("ignore:amp_guard can only be enabled")
def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    network, optimizer, scaler = started()
    take_step(network, optimizer, scaler, 0)
    before = weights(network)
    assert scaler.skipped == 0
    take_step(network, optimizer, scaler, 1, by=float("inf"))
    assert scaler.state()["scale"] == 2.0**14
    assert scaler.skipped == 1
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(network), strict=True))
    take_step(network, optimizer, scaler, 2)
    assert scaler.skipped == 1


@pytest.mark.filterwarnings("ignore:amp_guard can only be enabled")
def test_a_step_that_raises_the_scale_is_not_a_skipped_one() -> None:
    network, optimizer, scaler = started()
    scaler.restore({**scaler.state(), "incr_count": np.asarray(1999)})  # it grows at 2,000
    take_step(network, optimizer, scaler, 0)
    assert scaler.state()["incr_count"] == 0
    assert scaler.state()["scale"] == 2.0**16
    assert scaler.skipped == 0


@pytest.mark.filterwarnings("ignore:amp_guard can only be enabled")
def test_a_scaler_goes_on_from_its_file(tmp_path: Path) -> None:
    network, optimizer, scaler = started()
    for number, by in enumerate((1.0, float("inf"), 1.0)):
        take_step(network, optimizer, scaler, number, by)
    state = {f"scaler|{name}": value for name, value in scaler.state().items()}
    save_file(state | get_state(optimizer, network), tmp_path / "state.safetensors")
    again, other_optimizer, other_scaler = started()
    again.set_state_dict(network.state_dict())
    state = load_file(tmp_path / "state.safetensors")
    own = [name for name in state if name.startswith("scaler|")]
    other_scaler.restore({name.removeprefix("scaler|"): state.pop(name) for name in own})
    set_state(other_optimizer, again, state)
    assert other_scaler.state() == scaler.state()
    assert other_scaler.skipped == 1
    take_step(network, optimizer, scaler, 3)
    take_step(again, other_optimizer, other_scaler, 3)
    pairs = zip(weights(network), weights(again), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
