"""From a spec to layers, and from logits to probabilities."""

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.models.crnn import CRNN
from ocr_pipeline.models.ctc_recognizer import CTCRecognizer
from ocr_pipeline.models.db_detector import DBDetector


def build_network(spec: DetModelSpec | RecModelSpec) -> nn.Layer:
    """Return the trainable network of ``spec``, with fresh weights, in training mode.

    Every network has ``predict(images)``, the logits that are served, and ``forward``, which may
    give more for the loss; ``TRAINING_ONLY`` names the tensors that only the latter needs.
    """
    if isinstance(spec, DetModelSpec):
        return DBDetector(
            family=spec.family,
            size=spec.size,
            form=spec.form,
            threshold=spec.threshold,
            auxiliary=spec.auxiliary,
        )
    if spec.family == "crnn":
        return CRNN(backbone=spec.size, classes=spec.classes)
    return CTCRecognizer(
        family=spec.family,
        size=spec.size,
        classes=spec.classes,
        form=spec.form,
        guide=spec.guide,
    )


class ProbabilityNet(nn.Layer):
    """What is served: images in, probabilities out.

    ``[N, 1, H, W]`` for a detector, ``[N, T, K]`` for a recognizer, float32 in [0, 1].
    """

    def __init__(self, network: nn.Layer, *, task: str) -> None:
        super().__init__()
        self.network = network
        self.is_detector = task == "det"

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network.predict(images)
        return F.sigmoid(logits) if self.is_detector else F.softmax(logits, axis=-1)


def evaluation_network(network: nn.Layer, *, task: str) -> ProbabilityNet:
    """Wrap a network for prediction and put it into evaluation mode."""
    wrapped = ProbabilityNet(network, task=task)
    wrapped.eval()
    return wrapped


def parameter_count(network: nn.Layer) -> int:
    """Number of values in all tensors of a network, running statistics included."""
    return int(sum(paddle.numel(tensor).item() for tensor in network.state_dict().values()))
