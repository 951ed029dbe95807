"""Paddle Inference: oneDNN on CPU, CUDA on GPU."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import EngineError

_ONEDNN_SHAPES = 16
"""Input shapes whose oneDNN primitives are kept; unset, they would be kept for ever."""
_GPU_MEMORY_MB = 512


class PaddleEngine:
    """One predictor of one exported network.

    Args:
        folder: holds ``inference.json`` and ``inference.pdiparams``.
        config: device and threads.

    Raises:
        EngineError: the files cannot be loaded, or there is no such device in this Paddle.
    """

    def __init__(self, folder: Path, config: EngineConfig) -> None:
        import paddle
        from paddle import inference

        if not hasattr(inference.Config, "enable_new_ir"):
            raise EngineError(
                f"paddlepaddle {paddle.__version__} does not know inference.json; export, read and "
                "serve with Paddle 3 (make setup): checkpoints of 2.6 load there"
            )
        if config.device == "gpu" and not paddle.is_compiled_with_cuda():
            raise EngineError(
                f"device gpu: paddlepaddle {paddle.__version__} is the CPU build; install "
                "paddlepaddle-gpu, or set engine.device=cpu"
            )
        graph, params = folder / "inference.json", folder / "inference.pdiparams"
        settings = inference.Config(str(graph), str(params))
        settings.disable_glog_info()
        # Memory reuse works with the PIR executor only; without these two it fails to load.
        settings.enable_new_ir(True)
        settings.enable_new_executor()
        settings.enable_memory_optim()
        if config.device == "gpu":
            settings.enable_use_gpu(_GPU_MEMORY_MB, 0)
        else:
            settings.disable_gpu()
            settings.set_cpu_math_library_num_threads(config.threads)
            settings.enable_mkldnn()
            settings.set_mkldnn_cache_capacity(_ONEDNN_SHAPES)
        try:
            self._predictor = inference.create_predictor(settings)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"{folder}: Paddle Inference cannot load it: {reason}") from None
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        # A predictor serves one caller at a time, or results get mixed up.
        self._lock = threading.Lock()

    @property
    def lanes(self) -> int:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return 1

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        with self._lock:
            self._input.reshape(images.shape)
            self._input.copy_from_cpu(np.ascontiguousarray(images, dtype=np.float32))
            self._predictor.run()
            return np.asarray(self._output.copy_to_cpu(), dtype=np.float32)
