"""Mixed precision: which one this machine can train in."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import paddle
from paddle import Tensor

from ocr_pipeline.artifacts.checkpoint import Tensors
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


class StepScaler:
    """Scales losses so that float16 gradients do not vanish; leaves out steps that overflow.

    Attributes:
        skipped: steps left out so far.
    """

    def __init__(self, precision: Precision) -> None:
        self._scaler = precision.scaler()
        self.is_active = precision.dtype == "float16"
        self.skipped = 0

    def backward(self, loss: Tensor) -> None:
        """Gradients of the scaled loss, added to those that are there."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """A step with the true gradients, or none where one of them is not finite."""
        before = self._scale_and_count()
        self._scaler.unscale_(optimizer)
        self._scaler.step(optimizer)  # clips by global norm inside
        self._scaler.update()
        optimizer.clear_grad()
        if self.is_active:
            after = self._scale_and_count()
            # A good step counts towards the next growth of the scale, or is the one that grows it.
            self.skipped += after[1] == 0 and after[0] <= before[0]

    def state(self) -> Tensors:
        """For :meth:`restore`."""
        state = {name: np.asarray(value) for name, value in self._scaler.state_dict().items()}
        return state | {"skipped": np.asarray(self.skipped)} if state else {}

    def restore(self, state: Tensors) -> None:
        """Go on as :meth:`state` tells; from the start where it is empty."""
        if state:
            values = {name: _plain(value) for name, value in state.items()}
            self.skipped = values.pop("skipped", 0)
            self._scaler.load_state_dict(values)

    def _scale_and_count(self) -> tuple[float, int]:
        if not self.is_active:
            return 1.0, 0
        state = self._scaler.state_dict()
        return float(np.asarray(state["scale"]).item()), int(state["incr_count"])


def _plain(value: Any) -> Any:
    return value.item() if value.ndim == 0 else value


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
