"""A page that was read once for all tests of formats."""

import pytest

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.inference import OcrReader
from ocr_pipeline.inference.reader import PageText
from ocr_pipeline.ops.golden import golden_pages
from tests.conftest import ExportedPair


@pytest.fixture(scope="session")
def golden_text(exported_tiny: ExportedPair) -> PageText:
    """The first golden page with its words, as the stock models read it."""
    engine = EngineConfig(variant="openvino-fp32")
    reader = OcrReader.load(exported_tiny.det, exported_tiny.rec, engine)
    return reader.read(golden_pages()[0], words=True)
