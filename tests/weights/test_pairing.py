from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.weights.catalog import find_release, released_charset, released_file
from ocr_pipeline.weights.onnx_reader import read_onnx
from ocr_pipeline.weights.pairing import load_records
from ocr_pipeline.weights.source import load_trainable
from ocr_pipeline.weights.tensors import get_weights, set_weights

DET_INPUT, REC_INPUT = [1, 3, 64, 64], [1, 3, 48, 64]


def test_another_size_is_refused_with_both_shapes(released_weights: None) -> None:
    records = read_onnx(released_file("ppocrv6_small_det"))
    with pytest.raises(WeightsError, match=r"expects backbone\.stem\.first: conv \[16, 3"):
        load_records(build_network(DetModelSpec(size="tiny")), records, DET_INPUT, source="x.onnx")


def test_another_number_of_classes_is_refused(released_weights: None) -> None:
    network = build_network(RecModelSpec(size="tiny", classes=100))
    records = read_onnx(released_file("ppocrv6_tiny_rec"))
    with pytest.raises(WeightsError, match=r"head: linear \[80, 100\].*linear \[80, 6906\]"):
        load_records(network, records, REC_INPUT, source="x.onnx")


def test_missing_and_extra_layers_are_refused(released_weights: None) -> None:
    records = read_onnx(released_file("ppocrv6_tiny_rec"))
    network = build_network(RecModelSpec(size="tiny", classes=6906))
    with pytest.raises(WeightsError, match="no record left for head"):
        load_records(network, records[:-1], REC_INPUT, source="x.onnx")
    with pytest.raises(WeightsError, match="44 layers in the file, 43 in the network"):
        load_records(network, [*records, records[-1]], REC_INPUT, source="x.onnx")


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xff not a protobuf")
    with pytest.raises(WeightsError, match="not a readable ONNX model"):
        read_onnx(path)


@pytest.mark.parametrize("external", [False, True])
def test_half_precision_and_external_weights_are_refused(tmp_path: Path, external: bool) -> None:
    dtype = np.float32 if external else np.float16
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), dtype), "w")
    if external:
        weight.data_location = TensorProto.EXTERNAL
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [], [], [weight])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    expected = "outside the file" if external else "half precision"
    with pytest.raises(WeightsError, match=f"w .*{expected}"):
        read_onnx(path)
    assert onnx.__version__


def test_unknown_names_list_the_allowed_ones() -> None:
    with pytest.raises(WeightsError, match="'ppocrv9'; allowed: ppocrv6_tiny_det"):
        find_release("ppocrv9")
    with pytest.raises(WeightsError, match="neither a released model .* nor a folder"):
        load_trainable("no/such/folder")
    with pytest.raises(WeightsError, match="a detector has no character set"):
        released_charset("ppocrv6_tiny_det")


def test_all_tensors_that_do_not_fit_are_named() -> None:
    network = build_network(DetModelSpec(size="tiny"))
    weights = get_weights(network)
    first, second = list(weights)[:2]
    weights["stranger"] = weights.pop(first)
    weights[second] = np.zeros((7, 7), np.float32)
    with pytest.raises(WeightsError, match="3 tensors") as caught:
        set_weights(network, weights, source="folder")
    for part in (f"missing {first}", "extra stranger", f"{second} [7, 7] instead of"):
        assert part in str(caught.value)


def test_weights_of_a_layer_that_is_not_known_are_not_dropped(tmp_path: Path) -> None:
    stored = {"w": (2, 3, 1, 1), "slope": (2, 1, 1), "factor": (1, 2, 1, 1)}
    tensors = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in stored.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("PRelu", ["a", "slope"], ["b"]),
        helper.make_node("Mul", ["b", "factor"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(WeightsError, match="2 parameters belong to layers that are not known here"):
        read_onnx(path)
