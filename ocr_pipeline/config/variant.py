"""Which runtime computes an exported model, and in which numbers."""

from dataclasses import dataclass
from typing import Literal, get_args

from ocr_pipeline.errors import ConfigError

Backend = Literal["paddle", "onnx", "openvino", "tensorrt", "lite"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]

PRECISIONS: dict[Backend, tuple[Precision, ...]] = {
    "paddle": ("fp32",),  # bf16 of 3.2.2: recognizers do not load, detectors are off by 0.9
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "tensorrt": ("fp32", "fp16"),
    "lite": ("fp32", "fp16"),
}


@dataclass(frozen=True, order=True)
class Variant:
    """A runtime and the precision that it computes in."""

    backend: Backend
    precision: Precision

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS[self.backend]:
            raise ConfigError(
                f"{self.backend} does not compute in {self.precision} here; allowed: "
                f"{', '.join(PRECISIONS[self.backend])}"
            )

    @property
    def name(self) -> str:
        """For example ``openvino-bf16``: key of a card's figures, word in logs."""
        return f"{self.backend}-{self.precision}"

    @property
    def folder(self) -> str:
        """Sub-folder of an exported model; precisions that are chosen at run time share one."""
        return f"{self.backend}_int8" if self.precision == "int8" else self.backend

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """The reverse of :attr:`name`.

        Raises:
            ConfigError: no such runtime or precision.
        """
        known = {
            f"{backend}-{precision}": cls(backend, precision)
            for backend in get_args(Backend)
            for precision in PRECISIONS[backend]
        }
        if name not in known:
            raise ConfigError(f"{name!r}: no such variant; allowed: {', '.join(known)}")
        return known[name]
