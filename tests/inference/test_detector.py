"""A detector skips blank borders, and finds on the rest what it finds on the whole page."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.export.parity import expect
from ocr_pipeline.inference.choose import load_detector
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.load import self_test
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import ExportedPair


class DarkIsText:
    """A network whose map says where the picture is dark; keeps the shapes that it was given."""

    lanes = 1

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(images.shape)
        return (images[:, :1] < 0).astype(np.float32)


@pytest.mark.parametrize("max_side", [4000, 640])
def test_boxes_are_where_they_are_without_skipping(max_side: int) -> None:
    page = np.full((1280, 960, 3), 255, dtype=np.uint8)
    page[500:540, 300:700] = 0
    page[600:640, 320:500] = 0
    spec = DetModelSpec(size="tiny", image=DetImageSpec(max_side=max_side))
    engine = DarkIsText()
    skipping = Detector(engine, spec).detect(page).polygons
    whole = Detector(engine, spec, skip_blank=False).detect(page).polygons
    assert len(skipping) == 2
    for one, other in zip(skipping, whole, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        assert one.score == other.score
    small, large = (int(np.prod(shape)) for shape in engine.shapes)
    assert small < 0.4 * large


def test_a_blank_page_needs_no_network() -> None:
    engine = DarkIsText()
    found = Detector(engine, DetModelSpec(size="tiny")).detect(np.full((300, 400, 3), 9, np.uint8))
    assert found.polygons == []
    assert engine.shapes == []


def test_the_real_network_finds_the_same_lines(exported_tiny: ExportedPair) -> None:
    config = EngineConfig(variant="openvino-fp32")
    model = ExportedModel.load(exported_tiny.det)
    skipping = load_detector(model, config)
    whole = load_detector(model, config.model_copy(update={"skip_blank": False}))
    for page in golden_pages():
        wide = np.full((page.shape[0] + 300, page.shape[1] + 400, 3), page[0, 0], np.uint8)
        wide[160:-140, 192:-208] = page
        found, expected = (d.detect(wide).polygons for d in (skipping, whole))
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            # One pixel more of a contour may tilt the rectangle around it.
            np.testing.assert_allclose(one.points, other.points, atol=4)


def test_golden_pages_are_looked_at_as_a_whole_at_export_and_in_the_self_test(
    exported_tiny: ExportedPair,
) -> None:
    page = np.full((960, 1280, 3), 255, dtype=np.uint8)
    page[500:540, 300:700] = 0
    model = ExportedModel.load(exported_tiny.det)
    at_export = DarkIsText()
    stands_in = SimpleNamespace(golden=[page], spec=model.card.model, charset=None)
    expected = expect(at_export, cast(TrainableModel, stands_in))
    assert {shape[2:] for shape in at_export.shapes} == {page.shape[:2]}
    card = model.card.model_copy(update={"golden": expected.golden})
    served = replace(model, card=card)
    in_test = DarkIsText()
    with mock.patch.object(ExportedModel, "golden", return_value=[page]):
        self_test(served, in_test, Variant("openvino", "fp32"), EngineConfig())
    assert in_test.shapes == [(1, 3, *page.shape[:2])]
