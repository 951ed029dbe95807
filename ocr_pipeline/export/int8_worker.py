"""The process that quantises: ``python -P int8_worker.py JOB.json``. Part of export/int8.py."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.model import ModelSpec, RecModelSpec
from ocr_pipeline.inference.openvino_graph import shuffle_last_upsampling
from ocr_pipeline.openvino_environment import forbid_openvino_telemetry, openvino_core
from ocr_pipeline.ops.resize import det_input, rec_input

_PAGE_SIDE = 960
"""Pages are calibrated on at this size, px: memory and time grow with it, ranges hardly."""
_STEM = 5
"""At most so many convolutions before the first depthwise one stay in float."""
_XML, _ONNX = "model.xml", "model.onnx"


class Inputs:
    """Network inputs of training samples, ``[1, 3, H, W]`` float32; read anew in each pass."""

    def __init__(self, dataset: Dataset, model: ModelSpec, samples: int, seed: int) -> None:
        self._pictures = dataset.pictures("train")
        self._model = model
        self._train = dataset.samples("train")
        count = min(samples, len(self._train))
        chosen = np.random.default_rng(seed).choice(len(self._train), count, replace=False)
        self._chosen = sorted(int(number) for number in chosen)

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for number in self._chosen:
            picture = self._pictures.read(self._train[number])
            if isinstance(self._model, RecModelSpec):
                yield rec_input(picture, self._model.image)[None]
            else:
                rule = self._model.image
                side = min(rule.max_side, _PAGE_SIDE)
                yield det_input(picture, rule.model_copy(update={"max_side": side}))


# What `whole` says: of a detector all is in int8; of a recognizer the stem and all but products and
# convolutions stay in float.


def stem(kinds: list[tuple[str, bool]]) -> list[str]:
    """Names of the convolutions that stay in float.

    Args:
        kinds: name of each convolution in the order of computation, and whether it is depthwise.
    """
    first = next((n for n, (_, depthwise) in enumerate(kinds) if depthwise), len(kinds))
    return [name for name, _ in kinds[: min(first, _STEM)]]


def quantise_openvino(source: Path, folder: Path, inputs: Inputs, *, whole: bool) -> None:
    """``model.xml`` to one in int8."""
    import openvino

    graph = openvino_core().read_model(source / _XML)
    shuffle_last_upsampling(graph)
    kinds = [
        (node.get_friendly_name(), node.get_type_name() == "GroupConvolution")
        for node in graph.get_ordered_ops()
        if node.get_type_name() in ("Convolution", "GroupConvolution")
    ]
    done = _quantised(graph, inputs, [] if whole else stem(kinds), entry=None)
    openvino.save_model(done, folder / _XML, compress_to_fp16=False)


def quantise_onnx(source: Path, folder: Path, inputs: Inputs, *, whole: bool) -> None:
    """``model.onnx`` to one with QuantizeLinear and DequantizeLinear."""
    import onnx

    graph = onnx.load(source / _ONNX)
    kinds = [
        (node.name, any(a.name == "group" and a.i > 1 for a in node.attribute))
        for node in graph.graph.node
        if node.op_type == "Conv"
    ]
    entry = graph.graph.input[0].name
    done = _quantised(graph, inputs, [] if whole else stem(kinds), entry=entry)
    onnx.save(done, folder / _ONNX)


def _quantised(graph: Any, inputs: Inputs, in_float: list[str], *, entry: str | None) -> Any:
    import nncf

    def fed(images: NDArray[np.float32]) -> Any:
        return images if entry is None else {entry: images}

    return nncf.quantize(
        graph,
        nncf.Dataset(inputs, fed),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        # Additions, activations and attention scores in int8 cost a recognizer accuracy.
        model_type=nncf.ModelType.TRANSFORMER if in_float else None,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=in_float),
    )


def main(path: Path) -> None:
    """Do one job; see :func:`ocr_pipeline.export.int8.save_int8`."""
    forbid_openvino_telemetry()
    cv2.setNumThreads(1)
    job = json.loads(path.read_text(encoding="utf-8"))
    model: ModelSpec = TypeAdapter(ModelSpec).validate_python(job["model"])
    dataset = Dataset.load(Path(job["dataset"]))
    inputs = Inputs(dataset, model, job["samples"], job["seed"])
    quantise = quantise_openvino if job["backend"] == "openvino" else quantise_onnx
    whole = model.task == "det"
    quantise(Path(job["source"]), Path(job["folder"]), inputs, whole=whole)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
