"""Mixed precision: which one this machine can train in."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import paddle

from ocr_pipeline.config.train import AmpConfig
from ocr_pipeline.errors import TrainingError

_BF16_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Precision:
    """What training computes in.

    Attributes:
        dtype: of the mixed part; ``float32`` is plain training.
        reason: one sentence for the log.
    """

    dtype: Literal["float32", "float16", "bfloat16"]
    reason: str

    def autocast(self) -> AbstractContextManager[None]:
        """The context to compute a loss in (O1: listed operations only)."""
        context: AbstractContextManager[None] = paddle.amp.auto_cast(
            enable=self.dtype != "float32",
            level="O1",
            dtype="float16" if self.dtype == "float32" else self.dtype,
        )
        return context

    def scaler(self) -> paddle.amp.GradScaler:
        """Dynamic loss scaling for float16; does nothing otherwise."""
        return paddle.amp.GradScaler(enable=self.dtype == "float16", init_loss_scaling=2.0**15)


def choose_device(wanted: Literal["auto", "cpu", "gpu"]) -> str:
    """Set and return Paddle's device.

    Raises:
        TrainingError: a GPU is wanted and this Paddle finds none.
    """
    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if wanted == "gpu" and not has_gpu:
        raise TrainingError(
            f"device gpu: paddlepaddle {paddle.__version__} finds no GPU here; install "
            "paddlepaddle-gpu for your CUDA, or set device=cpu"
        )
    device = "gpu" if has_gpu and wanted != "cpu" else "cpu"
    paddle.set_device(device)
    return device


def choose_precision(config: AmpConfig, device: str) -> Precision:
    """Decide by device and compute capability; said once, never a silent no-op."""
    if not config.enabled:
        return Precision("float32", "float32: amp.enabled is false")
    if device == "cpu":
        return Precision("float32", "float32: mixed precision (paddle.amp) has no effect on CPU")
    capability = paddle.device.cuda.get_device_capability()
    if config.dtype == "float16":
        return Precision("float16", "float16 with loss scaling, as configured")
    if tuple(capability) >= _BF16_CAPABILITY:
        return Precision("bfloat16", f"bfloat16: compute capability {capability} has it")
    if config.dtype == "bfloat16":
        raise TrainingError(
            f"amp.dtype bfloat16: compute capability {capability} lacks it (8.0 needed); set "
            "amp.dtype=auto"
        )
    return Precision("float16", f"float16 with loss scaling: capability {capability} is below 8.0")
