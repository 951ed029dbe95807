"""OpenVINO: bf16 on the CPUs that have it, float32 and int8 on the others."""

import queue
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.variant import Precision
from ocr_pipeline.errors import EngineError
from ocr_pipeline.openvino_environment import forbid_openvino_telemetry

GRAPH = "model.xml"
_KERNELS_KEPT = 64
"""Shapes and layers whose prepared kernels are kept, a stream; OpenVINO's 5,000 grow for hours."""


class OpenVinoEngine:
    """One compiled network, with as many requests as run at the same time.

    Args:
        folder: holds ``model.xml`` and ``model.bin``.
        config: threads.
        precision: fp32 and bf16 come from the same files; int8 is in the graph.
        lanes: calls that are computed at the same time, each on its share of the threads.

    Raises:
        EngineError: OpenVINO is not installed, cannot load the files, or this machine does not
            compute in that precision.
    """

    def __init__(
        self, folder: Path, config: EngineConfig, precision: Precision, *, lanes: int = 1
    ) -> None:
        if config.device != "cpu":
            raise EngineError(
                f"device {config.device}: OpenVINO is run on the CPU here; set engine.device=cpu, "
                "or engine.variant to paddle-fp32 or a tensorrt one"
            )
        forbid_openvino_telemetry()
        try:
            import openvino
        except ImportError:
            raise EngineError(
                "OpenVINO is not installed; install ocr_pipeline[openvino], or set "
                "engine.variant=paddle-fp32"
            ) from None
        core = openvino.Core()
        if precision == "bf16" and not computes_bf16():
            raise EngineError("this CPU does not compute in bf16; set engine.variant=openvino-fp32")
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": config.threads,
            "NUM_STREAMS": lanes,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS_KEPT,
        }
        try:
            compiled = core.compile_model(core.read_model(folder / GRAPH), "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"{folder}: OpenVINO cannot load it: {reason}") from None
        self._lanes = lanes
        self._free: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(lanes):
            self._free.put(compiled.create_infer_request())

    @property
    def lanes(self) -> int:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return self._lanes

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        request = self._free.get()
        try:
            request.infer([np.ascontiguousarray(images, dtype=np.float32)], share_inputs=True)
            return np.array(request.get_output_tensor(0).data, dtype=np.float32)
        except RuntimeError as error:
            raise EngineError(_refused(images, error)) from None
        finally:
            self._free.put(request)


def computes_bf16() -> bool:
    """Tell whether this CPU has bf16; OpenVINO must be installed."""
    forbid_openvino_telemetry()
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _refused(images: NDArray[np.float32], error: RuntimeError) -> str:
    reason = str(error).strip().splitlines()[-1]
    return f"OpenVINO cannot run the network on an input of {images.shape}: {reason}"
