"""Networks without released weights: trained from scratch, on any character set."""

from paddle import nn

from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.models.crnn import TIME_STRIDE
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.golden import golden_lines
from ocr_pipeline.weights.trainable import TrainableModel

_CLASSIC = RecImageSpec(height=32, time_stride=TIME_STRIDE)
_SPECS = {
    "crnn_mobile": RecModelSpec(family="crnn", size="mobile", classes=3, image=_CLASSIC),
    "crnn_resnet": RecModelSpec(family="crnn", size="resnet", classes=3, image=_CLASSIC),
}
FRESH_NAMES = tuple(_SPECS)


def fresh_image(name: str) -> RecImageSpec:
    """Input rule of a network that is trained from scratch."""
    return _SPECS[name].image


def load_fresh(name: str, charset: Charset) -> TrainableModel:
    """Build a recognizer with random weights (Paddle's global seed) for ``charset``.

    Raises:
        WeightsError: unknown name.
    """
    if name not in _SPECS:
        raise WeightsError(f"network {name!r}; from scratch: {', '.join(FRESH_NAMES)}")
    spec = _SPECS[name].model_copy(update={"classes": charset.classes})
    network: nn.Layer = build_network(spec)
    network.eval()
    return TrainableModel(
        spec=spec,
        network=network,
        charset=charset,
        golden=golden_lines(),
        started_from=name,
        sha256="",
    )
