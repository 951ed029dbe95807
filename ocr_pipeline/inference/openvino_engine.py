"""OpenVINO: bf16 on the CPUs that have it, float32 and int8 on the others."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.config.variant import Precision
from ocr_pipeline.errors import EngineError
from ocr_pipeline.inference.engine import ResultT
from ocr_pipeline.inference.openvino_graph import shuffle_last_upsampling, without_last_softmax
from ocr_pipeline.openvino_environment import openvino_core

GRAPH = "model.xml"
_ANY = 64
"""A height or width that every network takes, px."""
_FIRST_CALL = threading.Lock()


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

    _kernels_kept = 64
    """Kernels of layers, each prepared for one shape, that a stream keeps. Pages come in any size:
    with OpenVINO's own 5,000, memory grows for hours."""
    _int8_kernels_kept = 64

    def __init__(
        self,
        folder: Path,
        config: EngineConfig,
        precision: Precision,
        *,
        lanes: int = 1,
    ) -> None:
        if config.device != "cpu":
            raise EngineError(
                f"device {config.device}: OpenVINO is run on the CPU here; set engine.device=cpu, "
                "or engine.variant to paddle-fp32 or a tensorrt one"
            )
        try:
            core = openvino_core()
        except ImportError:
            raise EngineError(
                "OpenVINO is not installed; install ocr_pipeline[openvino], or set "
                "engine.variant=paddle-fp32"
            ) from None
        has_bf16 = computes_bf16()
        if precision == "bf16" and not has_bf16:
            raise EngineError("this CPU does not compute in bf16; set engine.variant=openvino-fp32")
        settings = {
            # What an int8 graph leaves in float.
            "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" or not has_bf16 else "bf16",
            "INFERENCE_NUM_THREADS": config.threads,
            "NUM_STREAMS": lanes,
            "CPU_RUNTIME_CACHE_CAPACITY": (
                self._int8_kernels_kept if precision == "int8" else self._kernels_kept
            ),
        }
        try:
            graph = core.read_model(folder / GRAPH)
            self._prepare(graph)
            compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"{folder}: OpenVINO cannot load it: {reason}") from None
        self._lanes = lanes
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(lanes):
            self._free.put(compiled.create_infer_request())
        # Its Python part sets itself up at the first call of a process; two threads that come
        # first at the same time would wait for each other for ever.
        shape = [
            size.get_length() if size.is_static else _ANY for size in graph.input(0).partial_shape
        ]
        with _FIRST_CALL:
            self._infer(np.zeros((1, *shape[1:]), dtype=np.float32), np.shape)

    @property
    def lanes(self) -> int:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return self._lanes

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return self._infer(images, np.array)

    def _prepare(self, graph: Any) -> None:
        """Change the graph before it is compiled."""

    def _infer(
        self, images: NDArray[np.float32], use: Callable[[NDArray[np.float32]], ResultT]
    ) -> ResultT:
        images = np.ascontiguousarray(images, dtype=np.float32)
        request = self._free.get()
        try:
            try:
                request.infer([images], share_inputs=True, share_outputs=True)
            except RuntimeError as error:
                raise EngineError(_refused(images, error)) from None
            return use(request.get_output_tensor(0).data)
        finally:
            self._free.put(request)


class OpenVinoRecognizer(OpenVinoEngine):
    """The same for a recognizer, whose last softmax is left out of the graph.

    Raises:
        EngineError: as :class:`OpenVinoEngine`, or the graph does not end in a softmax.
    """

    _kernels_kept = 1000
    """Its few shapes come again and again: with 64 it takes a fifth longer."""
    _int8_kernels_kept = 3000
    """In int8 a shape needs more of them: with 1,000 a page takes a tenth longer."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~ocr_pipeline.inference.engine.Engine`."""
        return self._infer(images, _softmax)

    def with_logits(
        self, images: NDArray[np.float32], use: Callable[[NDArray[np.float32]], ResultT]
    ) -> ResultT:
        """See :class:`~ocr_pipeline.inference.engine.LogitEngine`."""
        return self._infer(images, use)

    def _prepare(self, graph: Any) -> None:
        if not without_last_softmax(graph):
            raise EngineError("the graph does not end in a softmax: it is no recognizer's")


class OpenVinoDetector(OpenVinoEngine):
    """The same for a detector, whose last layers are put more cheaply where they can be."""

    def _prepare(self, graph: Any) -> None:
        shuffle_last_upsampling(graph)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the last axis, into an array of its own."""
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    exps /= exps.sum(axis=-1, keepdims=True)
    return np.asarray(exps, dtype=np.float32)


def computes_bf16() -> bool:
    """Tell whether this CPU has bf16; OpenVINO must be installed."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _refused(images: NDArray[np.float32], error: RuntimeError) -> str:
    reason = str(error).strip().splitlines()[-1]
    return f"OpenVINO cannot run the network on an input of {images.shape}: {reason}"
