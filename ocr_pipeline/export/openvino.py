"""ONNX to OpenVINO IR."""

from pathlib import Path

from ocr_pipeline.errors import ExportError
from ocr_pipeline.inference.onnx_engine import GRAPH as ONNX_GRAPH
from ocr_pipeline.inference.openvino_engine import GRAPH
from ocr_pipeline.openvino_environment import forbid_openvino_telemetry, openvino_core


def save_openvino(onnx: Path, folder: Path) -> None:
    """Write ``model.xml`` and ``model.bin``, in float32, into a new folder.

    Args:
        onnx: folder of ``model.onnx``.
        folder: is made.

    Raises:
        ExportError: OpenVINO is not installed, or cannot convert the graph.
    """
    forbid_openvino_telemetry()
    try:
        import openvino
    except ImportError:
        raise ExportError("OpenVINO is not installed; install ocr_pipeline[convert]") from None
    folder.mkdir()
    try:
        graph = openvino_core().read_model(onnx / ONNX_GRAPH)
        openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ExportError(f"OpenVINO cannot convert the ONNX graph: {reason}") from None
