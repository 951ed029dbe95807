"""ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import EngineError

GRAPH = "model.onnx"


class OnnxEngine:
    """One session; several threads may call it.

    Args:
        folder: holds ``model.onnx``.
        config: threads.
        lanes: calls that are computed at the same time, each on its share of the threads.

    Raises:
        EngineError: ONNX Runtime is not installed, or cannot load the file.
    """

    def __init__(self, folder: Path, config: EngineConfig, *, lanes: int = 1) -> None:
        if config.device != "cpu":
            raise EngineError(
                f"device {config.device}: ONNX Runtime is run on the CPU here; set "
                "engine.device=cpu, or engine.variant to paddle-fp32 or a tensorrt one"
            )
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError:
            raise EngineError(
                "ONNX Runtime is not installed; install ocr_pipeline[onnx], or set "
                "engine.variant=paddle-fp32"
            ) from None
        kinds = (kind for kind in vars(state).values() if isinstance(kind, type))
        # Its errors have no base of their own.
        self._faults: tuple[type[Exception], ...] = (RuntimeError, ValueError)
        self._faults += tuple(kind for kind in kinds if issubclass(kind, Exception))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, config.threads // lanes)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Between two calls its threads would wait by spinning, on cores that others need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # It would keep the largest batch's memory of each shape for ever.
        options.enable_cpu_mem_arena = False
        path = folder / GRAPH
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except self._faults as error:
            raise EngineError(f"{path}: ONNX Runtime cannot load it: {error}") from None
        self._input = self._session.get_inputs()[0].name
        self._lanes = lanes

    @property
    def lanes(self) -> int:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return self._lanes

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        images = np.ascontiguousarray(images, dtype=np.float32)
        try:
            return np.asarray(self._session.run(None, {self._input: images})[0], dtype=np.float32)
        except self._faults as error:
            raise EngineError(
                f"ONNX Runtime cannot run the network on an input of {images.shape}: {error}"
            ) from None
