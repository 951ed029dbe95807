"""A network that can be trained, with all that belongs to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paddle import nn

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage


@dataclass(frozen=True)
class TrainableModel:
    """A network in its trainable form, in evaluation mode.

    Attributes:
        spec: network, input and output rules.
        network: from :func:`~ocr_pipeline.models.build.build_network`, filled with weights.
        charset: recognizers only.
        golden: pictures on which an export must say the same.
        started_from: the released model at the beginning.
        sha256: of the file that the weights come from.
        metrics: on the validation part of the run that made it; empty for a released model.
    """

    spec: DetModelSpec | RecModelSpec
    network: nn.Layer
    charset: Charset | None
    golden: Sequence[BGRImage]
    started_from: str
    sha256: str
    metrics: Mapping[str, float] = field(default_factory=dict)
