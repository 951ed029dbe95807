"""A detector's end, computed at the resolution of its features, says what it said before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference.openvino_engine import OpenVinoDetector, OpenVinoEngine
from ocr_pipeline.inference.openvino_graph import shuffle_last_upsampling
from ocr_pipeline.openvino_environment import openvino_core
from tests.conftest import ExportedPair

pytest.importorskip("openvino")


def head(
    *,
    kernel: int = 2,
    maps: int = 1,
    last: str = "sigmoid",
    middle: str = "relu",
    bias: Callable[[Any, Any, int], Any] | None = None,
) -> Any:
    """A graph that ends as a DB detector, or nearly so; its input has 6 channels."""
    import openvino
    from openvino import opset13 as ops

    random = np.random.default_rng(4)

    def up(source: Any, channels: int, kernel: int) -> Any:
        weights = random.normal(size=(source.shape[1], channels, kernel, kernel)).astype(np.float32)
        pads = [(kernel - 2) // 2] * 2
        return ops.convolution_backprop_data(
            source, ops.constant(weights), strides=[2, 2], pads_begin=pads, pads_end=pads
        )

    def added(source: Any, channels: int) -> Any:
        values = random.normal(size=(1, channels, 1, 1)).astype(np.float32)
        return ops.add(source, ops.constant(values))

    entry = ops.parameter([1, 6, 12, 20], np.float32)
    inner = getattr(ops, middle)(added(up(entry, 5, 2), 5))
    outer = up(inner, maps, kernel)
    outer = added(outer, maps) if bias is None else bias(ops, outer, maps)
    return openvino.Model([getattr(ops, last)(outer)], [entry])


def kinds(graph: Any) -> set[str]:
    return {node.get_type_name() for node in graph.get_ordered_ops()}


@pytest.mark.parametrize("bias", [None, lambda _ops, outer, _maps: outer], ids=["bias", "no bias"])
def test_a_head_becomes_pointwise_and_says_the_same(bias: Any) -> None:
    images = np.random.default_rng(7).normal(size=(1, 6, 12, 20)).astype(np.float32)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    before, after = head(bias=bias), head(bias=bias)
    assert shuffle_last_upsampling(after)
    assert "ConvolutionBackpropData" not in kinds(after)
    expected, found = (
        openvino_core().compile_model(graph, "CPU", settings)([images])[0]
        for graph in (before, after)
    )
    assert found.shape == expected.shape == (1, 1, 48, 80)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(expected) > 0.9


@pytest.mark.parametrize(
    "other",
    [
        {"kernel": 4},
        {"maps": 2},
        {"last": "tanh"},
        {"middle": "tanh"},
        {"bias": lambda ops, outer, _maps: ops.add(outer, outer)},
    ],
    ids=["a kernel of 4", "two maps", "no sigmoid", "no relu", "no constant bias"],
)
def test_any_other_end_is_left_as_it_is(other: dict[str, Any]) -> None:
    graph = head(**other)
    before = [node.get_friendly_name() for node in graph.get_ordered_ops()]
    assert not shuffle_last_upsampling(graph)
    assert [node.get_friendly_name() for node in graph.get_ordered_ops()] == before


def test_a_released_detector_says_the_same(exported_tiny: ExportedPair) -> None:
    folder: Path = ExportedModel.load(exported_tiny.det).folder / "openvino"
    assert shuffle_last_upsampling(openvino_core().read_model(folder / "model.xml"))
    plain, shuffled = (
        kind(folder, EngineConfig(), "fp32") for kind in (OpenVinoEngine, OpenVinoDetector)
    )
    images = np.random.default_rng(2).normal(size=(1, 3, 96, 160)).astype(np.float32)
    expected = plain.run(images)
    np.testing.assert_allclose(shuffled.run(images), expected, rtol=1e-4, atol=1e-8)
    assert np.ptp(expected) > 1e-4
