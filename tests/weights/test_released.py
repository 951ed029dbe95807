"""Our networks against ONNX Runtime on the released files themselves."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from ocr_pipeline.evaluation.pages import load_truth
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.build import parameter_count
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.models.layers import fold
from ocr_pipeline.ops.decode import BGRImage, read_image
from ocr_pipeline.ops.geometry import crop_line
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.ops.resize import det_input, rec_input
from ocr_pipeline.weights.catalog import RELEASED_NAMES, released_file
from ocr_pipeline.weights.released import load_released

REC_TOLERANCE, DET_TOLERANCE = 1e-4, 1e-3


class OnnxEngine:
    """The reference: the released file, run by ONNX Runtime."""

    def __init__(self, name: str) -> None:
        self.session = onnxruntime.InferenceSession(str(released_file(name)))
        self.input = self.session.get_inputs()[0].name

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.session.run(None, {self.input: images})[0])


# ARCHITECTURES: values in the released (folded) form, 0-d constants not counted.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("ppocrv6_small_det", 2_453_353), ("ppocrv6_tiny_det", 428_405)],
)
def test_a_folded_detector_has_as_many_values_as_the_released_one(
    name: str, parameters: int, released_weights: None
) -> None:
    network = load_released(name).network
    fold(network)
    assert parameter_count(network) == parameters


@pytest.mark.parametrize("name", RELEASED_NAMES)
def test_a_released_model_says_the_same_here(name: str, released_weights: None) -> None:
    model = load_released(name)
    reference, ours = OnnxEngine(name), NetworkEngine(model.network, task=model.spec.task)
    if model.spec.task == "det":
        inputs = [det_input(page, model.spec.image) for page in golden_pages()]
        tolerance = DET_TOLERANCE
    else:
        inputs = [rec_input(line, model.spec.image)[None] for line in golden_lines()]
        tolerance = REC_TOLERANCE
    for array in inputs:
        expected = reference.run(array)
        assert expected.max() > 0.5  # there is something to see
        assert np.abs(ours.run(array) - expected).max() <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_detectors_agree_on_the_shared_pages(
    size: str, shared_pages: list[Path], released_weights: None
) -> None:
    model = load_released(f"ppocrv6_{size}_det")
    reference, ours = OnnxEngine(f"ppocrv6_{size}_det"), NetworkEngine(model.network, task="det")
    worst = 0.0
    for path in shared_pages:
        array = det_input(read_image(path), model.spec.image)
        worst = max(worst, float(np.abs(ours.run(array) - reference.run(array)).max()))
    print(f"ppocrv6_{size}_det: largest difference {worst:.1e} on {len(shared_pages)} pages")
    assert worst <= DET_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_recognizers_agree_on_every_line_of_the_shared_pages(
    size: str, shared_pages: list[Path], released_weights: None
) -> None:
    name = f"ppocrv6_{size}_rec"
    model = load_released(name)
    assert model.charset is not None
    reference, ours = OnnxEngine(name), NetworkEngine(model.network, task="rec")
    lines = [line for path in shared_pages for line in cut_lines(path)]
    worst = 0.0
    for line in lines:
        array = rec_input(line, model.spec.image)[None]
        worst = max(worst, float(np.abs(ours.run(array) - reference.run(array)).max()))
    texts = [
        [read.text for read in Recognizer(e, model.spec, model.charset, batch=8).recognize(lines)]
        for e in (reference, ours)
    ]
    print(f"{name}: largest difference {worst:.1e} on {len(lines)} lines")
    assert worst <= REC_TOLERANCE
    assert texts[0] == texts[1]


def cut_lines(path: Path) -> list[BGRImage]:
    image = read_image(path)
    truth = load_truth(path.with_suffix(".json"))
    return [crop_line(image, line.points) for line in truth]
