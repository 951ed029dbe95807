"""A detector skips blank borders, and finds on the rest what it finds on the whole page."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast
from unittest import mock

import numpy as np
import pytest

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.export.parity import expect
from ocr_pipeline.inference.choose import load_detector
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.load import self_test
from ocr_pipeline.ops.det_metrics import overlap_area, region_area
from ocr_pipeline.ops.golden import golden_pages
from ocr_pipeline.weights.trainable import TrainableModel
from tests.conftest import ExportedPair
from tests.inference.scripted import DarkIsText


@pytest.mark.parametrize(
    ("max_side", "seen", "whole_page"),
    [(4000, (352, 608), (1280, 960)), (640, (288, 416), (640, 480))],
)
def test_boxes_are_where_they_are_without_skipping(
    max_side: int, seen: tuple[int, int], whole_page: tuple[int, int]
) -> None:
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
    assert engine.shapes == [(1, 3, *seen), (1, 3, *whole_page)]


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
            # Its means over the map see less blank paper, so borders of text may move by a pixel.
            np.testing.assert_allclose(one.points.mean(axis=0), other.points.mean(axis=0), atol=1.1)
            shared = overlap_area(one.points, other.points)
            areas = region_area(one.points) + region_area(other.points)
            assert shared / (areas - shared) > 0.85


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
