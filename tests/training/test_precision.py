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
from ocr_pipeline.training.fit import _state, _take_scaler
from ocr_pipeline.training.optimizer import build_optimizer, set_state
from ocr_pipeline.training.precision import Precision

FLOAT16 = Precision("float16", "a test")


@pytest.fixture(autouse=True)
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    place = SimpleNamespace(is_gpu_place=lambda: True)
    tracer = SimpleNamespace(_expected_place=place)
    monkeypatch.setattr(grad_scaler, "_dygraph_tracer", lambda: tracer)


def started() -> tuple[nn.Layer, Any, Any]:
    paddle.seed(1)
    network = nn.Linear(3, 3)
    return network, build_optimizer(network, OptimConfig(lr=0.01)), FLOAT16.scaler()


def take_step(network: nn.Layer, optimizer: Any, scaler: Any, number: int, by: float = 1) -> None:
    batch = np.random.default_rng(number).normal(size=(4, 3)).astype("float32") * by
    with FLOAT16.autocast():
        loss = (network(paddle.to_tensor(batch)) ** 2).mean()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    optimizer.clear_grad()


def weights(network: nn.Layer) -> list[Any]:
    return [parameter.numpy() for parameter in network.parameters()]


@pytest.mark.filterwarnings("ignore:amp_guard can only be enabled")
def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    network, optimizer, scaler = started()
    take_step(network, optimizer, scaler, 0)
    before = weights(network)
    take_step(network, optimizer, scaler, 1, by=float("inf"))
    assert scaler.state_dict()["scale"][0] == 2.0**14
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(network), strict=True))


@pytest.mark.filterwarnings("ignore:amp_guard can only be enabled")
def test_a_scaler_goes_on_from_its_file(tmp_path: Path) -> None:
    network, optimizer, scaler = started()
    for number in range(3):
        take_step(network, optimizer, scaler, number)
    save_file(_state(optimizer, scaler, network), tmp_path / "state.safetensors")
    again, other_optimizer, other_scaler = started()
    again.set_state_dict(network.state_dict())
    state = load_file(tmp_path / "state.safetensors")
    other_scaler.load_state_dict(_take_scaler(state))
    set_state(other_optimizer, again, state)
    assert other_scaler.state_dict() == scaler.state_dict()
    take_step(network, optimizer, scaler, 3)
    take_step(again, other_optimizer, other_scaler, 3)
    pairs = zip(weights(network), weights(again), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
