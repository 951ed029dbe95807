"""Released models as trainable networks."""

from ocr_pipeline.assets import fetch
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.weights.catalog import find_release, released_charset
from ocr_pipeline.weights.onnx_reader import read_onnx
from ocr_pipeline.weights.pairing import load_records
from ocr_pipeline.weights.trainable import TrainableModel


def load_released(name: str) -> TrainableModel:
    """Fetch a released model (once) and turn it into a trainable network.

    Raises:
        WeightsError: unknown name, or a file that does not fit the network.
        AssetError: the file cannot be fetched, or is not the pinned one.
    """
    release = find_release(name)
    spec = release.spec
    is_recognizer = isinstance(spec, RecModelSpec)
    network = build_network(spec)
    records = read_onnx(fetch(release.graph))
    load_records(network, records, [1, 3, 48 if is_recognizer else 64, 64], source=name)
    network.eval()
    return TrainableModel(
        spec=spec,
        network=network,
        charset=released_charset(name) if is_recognizer else None,
        golden=golden_lines() if is_recognizer else golden_pages(),
        started_from=name,
        sha256=release.graph.sha256,
    )
