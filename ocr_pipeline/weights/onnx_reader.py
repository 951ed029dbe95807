"""Read the layers of an ONNX file: initialisers grouped by the node that uses them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ocr_pipeline.errors import WeightsError
from ocr_pipeline.weights.records import Operator, OperatorKind, Record, collect_records

_KINDS: dict[str, OperatorKind] = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "MatMul": "matmul",
    "Mul": "multiply",
    "Add": "add",
    "Clip": "clip",
    "Reshape": "reshape",
    "Identity": "pass",
    "Cast": "pass",
    "Dropout": "pass",
}
_ARITHMETIC = (
    *("Conv", "ConvTranspose", "BatchNormalization", "LayerNormalization", "MatMul", "Gemm"),
    *("Mul", "Add", "Sub", "Div", "PRelu", "LSTM", "GRU"),
)
_MAX_DIMENSIONS = 16
_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
# Per element type: numpy's name, and the field that holds values outside ``raw_data``.
_TYPES = {
    onnx.TensorProto.FLOAT: ("<f4", "float_data"),
    onnx.TensorProto.DOUBLE: ("<f8", "double_data"),
    onnx.TensorProto.INT64: ("<i8", "int64_data"),
    onnx.TensorProto.INT32: ("<i4", "int32_data"),
    onnx.TensorProto.INT8: ("i1", "int32_data"),
    onnx.TensorProto.UINT8: ("u1", "int32_data"),
}


def read_onnx(path: Path) -> list[Record]:
    """Return the weight-carrying layers of an ONNX model, in graph order.

    Args:
        path: the file; weights inside it (no external data), float32.

    Raises:
        WeightsError: not an ONNX file, external data, weights of another type than float32, or a
            tensor with more or fewer bytes than its shape says.
    """
    try:
        content = path.read_bytes()
        graph = onnx.load_model_from_string(content).graph
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except DecodeError as error:
        raise WeightsError(
            f"{path}: not a readable ONNX model ({error}); {len(content):,} bytes: another kind of "
            "file, or half-downloaded"
        ) from None
    if not graph.node:
        raise WeightsError(
            f"{path}: not a readable ONNX model (no nodes in its {len(content):,} bytes)"
        )
    constants = _Constants(path, graph)
    operators = [_operator(node) for node in graph.node if node.op_type != "Constant"]
    parameters = _parameters(graph, constants)
    return collect_records(operators, constants.get, source=str(path), parameters=parameters)


def _parameters(graph: onnx.GraphProto, constants: "_Constants") -> list[str]:
    """Stored float32 tensors of more than one element that enter the arithmetic of a node."""
    used = {
        name for node in graph.node if node.op_type in _ARITHMETIC for name in node.input if name
    }
    found = ((name, constants.get(name)) for name in sorted(used))
    return [n for n, a in found if a is not None and a.dtype == np.float32 and a.size > 1]


def _operator(node: onnx.NodeProto) -> Operator:
    return Operator(
        kind=_KINDS.get(node.op_type, "other"),
        node=node.name,
        inputs=tuple(node.input),
        output=node.output[0] if node.output else "",
        groups=next((a.i for a in node.attribute if a.name == "group"), 1),
    )


class _Constants:
    def __init__(self, path: Path, graph: onnx.GraphProto) -> None:
        self.path = path
        self.tensors: dict[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}
        for node in graph.node:
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if node.op_type == "Constant" and value is not None and node.output:
                self.tensors[node.output[0]] = value
        self._arrays: dict[str, NDArray[Any] | None] = {}

    def get(self, name: str) -> NDArray[Any] | None:
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def _read(self, name: str) -> NDArray[Any] | None:
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise WeightsError(
                f"{self.path}: {name} is stored outside the file; give a single-file model"
            )
        if tensor.data_type in _HALF:
            raise WeightsError(
                f"{self.path}: {name} is half precision; float32 weights are needed to train"
            )
        if tensor.data_type not in _TYPES or 0 in tensor.dims:
            return None
        return self._array(name, tensor)

    def _array(self, name: str, tensor: onnx.TensorProto) -> NDArray[Any]:
        type_name, field = _TYPES[tensor.data_type]
        dtype, shape = np.dtype(type_name), list(tensor.dims)
        raw = tensor.HasField("raw_data")
        values = getattr(tensor, field)
        present = len(tensor.raw_data) if raw else len(values) * dtype.itemsize
        needed = math.prod(shape[:_MAX_DIMENSIONS]) * dtype.itemsize
        if len(shape) > _MAX_DIMENSIONS or min(shape, default=1) < 1:
            raise WeightsError(
                f"{self.path}: {name} has shape {shape[: _MAX_DIMENSIONS + 1]}; allowed: at most "
                f"{_MAX_DIMENSIONS} sizes of 1 or more. It is damaged: get it again"
            )
        if needed != present:
            raise WeightsError(
                f"{self.path}: {name} has shape {shape}, which needs {needed:,} bytes; the file "
                f"holds {present:,}. It is damaged: get it again"
            )
        array = np.frombuffer(tensor.raw_data, dtype) if raw else np.array(values, dtype)
        return array.reshape(shape)
