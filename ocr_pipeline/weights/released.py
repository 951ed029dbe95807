"""Released models as trainable networks."""

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.weights.catalog import find_release, released_charset, released_file
from ocr_pipeline.weights.pairing import load_records
from ocr_pipeline.weights.readers import read_records
from ocr_pipeline.weights.trainable import TrainableModel

REC_PROBE, DET_PROBE = [1, 3, 48, 64], [1, 3, 64, 64]
"""Smallest inputs that every network takes."""


def load_released(name: str, spec: DetModelSpec | RecModelSpec | None = None) -> TrainableModel:
    """Fetch a released model (once) and turn it into a trainable network.

    Args:
        name: ours or the official one.
        spec: the released model's spec with another training form or branches for training; None:
            as released.

    Raises:
        WeightsError: unknown name, or a file that does not fit the network.
        AssetError: the file cannot be fetched, or is not the pinned one.
    """
    release = find_release(name)
    spec = spec or release.spec
    is_recognizer = isinstance(spec, RecModelSpec)
    network = build_network(spec)
    records = read_records(released_file(name))
    load_records(network, records, REC_PROBE if is_recognizer else DET_PROBE, source=name)
    network.eval()
    return TrainableModel(
        spec=spec,
        network=network,
        charset=released_charset(name) if is_recognizer else None,
        golden=golden_lines() if is_recognizer else golden_pages(),
        started_from=name,
        sha256=(release.tensors or release.graph).sha256,
    )
