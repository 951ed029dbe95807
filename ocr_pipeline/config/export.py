"""Stage 3."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.variant import PRECISIONS, Backend, Precision, Variant

Target = Literal["static", "onnx", "openvino", "lite", "tensorrt"]
_BACKENDS: dict[Target, Backend] = {
    "static": "paddle",
    "onnx": "onnx",
    "openvino": "openvino",
    "lite": "lite",
    "tensorrt": "tensorrt",
}


class LargestDifference(Config):
    """How far any one probability may be from the checkpoint's, by precision.

    Single precision alone gave up to 2.8e-4 between PP-OCRv6 small and its export, on 70 lines. In
    few bits, a time step between two characters may fall to either, and differ by 1: there the mean
    says more, and the texts and the drop of accuracy most.
    """

    fp32: PositiveFloat = 1e-3
    fp16: PositiveFloat = 0.2
    bf16: PositiveFloat = 1.0
    int8: PositiveFloat = 1.0


class RecMeanDifference(Config):
    """How far the probabilities of lines may be on average, over time steps; of each, the class
    that differs most. Released recognizers had up to 0.06 in bf16."""

    fp32: PositiveFloat = 1e-4
    fp16: PositiveFloat = 0.02
    bf16: PositiveFloat = 0.1
    int8: PositiveFloat = 0.15


class DetMeanDifference(Config):
    """The same over the pixels of pages; released detectors had up to 0.004 in bf16."""

    fp32: PositiveFloat = 1e-4
    fp16: PositiveFloat = 0.005
    bf16: PositiveFloat = 0.02
    int8: PositiveFloat = 0.03


class ExportConfig(Config):
    """How a checkpoint is frozen, in which forms, and how close each must come to it."""

    to: tuple[Target, ...] = ("static",)
    """Runtimes: static (Paddle Inference; always made, the others are made from it), onnx,
    openvino, lite, tensorrt."""
    precision: tuple[Precision, ...] = ("fp32",)
    """Numbers that they compute in: fp32 (always made), bf16, fp16, int8."""
    rec_tolerance: LargestDifference = LargestDifference()
    det_tolerance: LargestDifference = LargestDifference()
    rec_mean_tolerance: RecMeanDifference = RecMeanDifference()
    det_mean_tolerance: DetMeanDifference = DetMeanDifference()
    decode: DBDecodeSpec | None = None
    """Detectors only: decode rules that differ from the model's own, e.g. {unclip_ratio: 1.6}. The
    rest stays, and the card carries the result to whatever serves it."""
    dataset: Path | None = None
    """Dataset whose validation part every form is measured on, and whose training part INT8 is
    calibrated on; without one, the golden pictures alone decide, and there is no INT8."""
    validation_samples: PositiveInt = 300
    """So many of its validation samples are used, evenly spread."""
    calibration_samples: PositiveInt = 300
    """So many of its training samples are used, drawn with ``seed``."""
    max_drop: NonNegativeFloat = 0.5
    """Percentage points of exact match (normalised) or of hmean that a form may lose."""
    seed: int = Field(default=0, ge=0)
    engine: EngineConfig = EngineConfig()
    """Device and threads of the check."""

    @model_validator(mode="after")
    def _check(self) -> "ExportConfig":
        for precision in self.precision:
            fitting = [t for t in get_args(Target) if precision in PRECISIONS[_BACKENDS[t]]]
            if precision != "fp32" and not set(fitting) & set(self.to):
                raise ValueError(
                    f"precision {precision}: none of {', '.join(self.to)} computes in it; add "
                    f"{' or '.join(fitting)} to `to`"
                )
        if "int8" in self.precision and self.dataset is None:
            raise ValueError(
                "precision int8: is calibrated on a dataset's training part and measured on its "
                "validation part; set dataset to a folder made by scripts/prepare.py"
            )
        return self

    def variants(self) -> list[Variant]:
        """All forms that are to be made; Paddle Inference in fp32 is the first."""
        targets: list[Target] = ["static", *(t for t in get_args(Target)[1:] if t in self.to)]
        wanted: list[Precision] = [
            "fp32",
            *(p for p in ("bf16", "fp16", "int8") if p in self.precision),
        ]
        return [
            Variant(_BACKENDS[target], precision)
            for target in targets
            for precision in wanted
            if precision in PRECISIONS[_BACKENDS[target]]
            and (precision == "fp32" or target in self.to)
        ]
