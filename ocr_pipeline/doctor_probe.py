"""``python -m ocr_pipeline.doctor_probe NAME``: try one part of this installation.

In a process of its own, since what is broken may end the process. Prints one JSON object as its
last line: what was found, or ``{"fault": ...}``. Works on any Paddle, so it uses none of ours.
"""

import itertools
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.openvino_environment import forbid_openvino_telemetry, openvino_core
from ocr_pipeline.paddle_environment import set_paddle_environment

Found = dict[str, object]
_CTC_TOLERANCE = 1e-4
_CONV_TOLERANCE = 1e-3
# y = Relu(x) for x of four float32, as ONNX (opset 13): the package onnx is not always installed.
_TINY_ONNX = (
    b"\x08\x08:3\n\x0c\n\x01x\x12\x01y\x22\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n"
    b"\x02\x08\x04b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04B\x04\n\x00\x10\r"
)


def probe_paddle() -> Found:
    """Version of Paddle, its CUDA, the GPU architectures it was built for, GPUs it can use."""
    import paddle

    # Its builds for CUDA list them; older ones have no such function.
    archs: list[object] = list(getattr(paddle.version, "cuda_archs", list)() or [])
    has_cuda = bool(paddle.is_compiled_with_cuda())
    return {
        "version": paddle.__version__,
        "cuda": str(paddle.version.cuda()) if has_cuda else None,
        "archs": [str(arch) for arch in archs],
        "gpus": paddle.device.cuda.device_count() if has_cuda else 0,
    }


def probe_ctc() -> Found:
    """One forward and backward step of the CTC loss, on the GPU where Paddle has one."""
    import paddle

    device = "cpu"
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        device = "gpu"
    paddle.set_device(device)
    values = np.random.default_rng(0).normal(size=(5, 1, 4)).astype(np.float32)  # [T, N, K]
    label = [1, 3]
    logits = paddle.to_tensor(values, stop_gradient=False)
    loss = paddle.nn.functional.ctc_loss(
        logits,
        paddle.to_tensor([label], dtype="int32"),
        paddle.to_tensor([len(values)], dtype="int64"),
        paddle.to_tensor([len(label)], dtype="int64"),
        blank=0,
        reduction="sum",
    )
    loss.backward()
    found, gradient = float(loss), np.asarray(logits.grad.numpy())
    expected = ctc_by_counting(values[:, 0], label)
    slope = gradient_by_counting(values[:, 0], label)
    fault = None
    if not math.isfinite(found) or abs(found - expected) > _CTC_TOLERANCE:
        fault = f"the loss is {found:.6g}, and should be {expected:.6g}"
    elif not np.abs(gradient[:, 0] - slope).max() <= _CTC_TOLERANCE:
        fault = "the loss is right, its gradient is not"
    return {"device": device, "loss": found, "fault": fault}


def ctc_by_counting(logits: NDArray[np.floating], label: Sequence[int]) -> float:
    """The CTC loss of one line from its definition: the sum over all alignments.

    Args:
        logits: ``[T, K]``, few of each; class 0 is the blank.
        label: classes.
    """
    steps, classes = logits.shape
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        merged = [c for n, c in enumerate(path) if n == 0 or c != path[n - 1]]
        if [c for c in merged if c] == list(label):
            total += math.exp(sum(logs[step, c] for step, c in enumerate(path)))
    return -math.log(total)


def gradient_by_counting(
    logits: NDArray[np.floating], label: Sequence[int], step: float = 1e-3
) -> NDArray[np.float64]:
    """Slope of :func:`ctc_by_counting`, ``[T, K]``, by central differences."""
    slope = np.zeros(logits.shape)
    for place in np.ndindex(*logits.shape):
        for sign in (1, -1):
            moved = logits.astype(np.float64)
            moved[place] += sign * step
            slope[place] += sign * ctc_by_counting(moved, label) / (2 * step)
    return slope


def probe_onednn() -> Found:
    """A small convolution through Paddle Inference with oneDNN, as the service runs its models."""
    import paddle
    from paddle import inference

    if not hasattr(inference.Config, "enable_new_ir"):
        return {"fault": None, "old": paddle.__version__}
    paddle.seed(0)
    network = paddle.nn.Sequential(
        paddle.nn.Conv2D(3, 16, 3, padding=1),
        paddle.nn.Hardswish(),
        paddle.nn.Conv2D(16, 16, 3, padding=1, groups=16),
        paddle.nn.GELU(),
    )
    network.eval()
    images = np.random.default_rng(0).normal(size=(1, 3, 16, 24)).astype(np.float32)
    expected = network(paddle.to_tensor(images)).numpy()
    shape = paddle.static.InputSpec([None, 3, None, None], "float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inference"
        paddle.jit.save(paddle.jit.to_static(network, input_spec=[shape]), str(path))
        settings = inference.Config(f"{path}.json", f"{path}.pdiparams")
        settings.disable_glog_info()
        settings.disable_gpu()
        settings.enable_new_ir(True)
        settings.enable_new_executor()
        settings.enable_mkldnn()
        predictor = inference.create_predictor(settings)
    entry = predictor.get_input_handle(predictor.get_input_names()[0])
    entry.reshape(images.shape)
    entry.copy_from_cpu(images)
    predictor.run()
    result = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    return {"fault": _apart(result, expected, _CONV_TOLERANCE)}


def probe_openvino() -> Found:
    """A small network through OpenVINO in each precision that this CPU has."""
    forbid_openvino_telemetry()
    import openvino
    from openvino import opset13

    images = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    entry = opset13.parameter([1, 4], np.float32)
    graph = openvino.Model([opset13.relu(entry)], [entry], "probe")
    core = openvino_core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    fault = None
    for precision in ("f32", "bf16") if has_bf16 else ("f32",):
        compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        found = np.asarray(compiled([images])[0])
        tolerance = 1e-6 if precision == "f32" else 0.05
        fault = fault or _apart(found, np.maximum(images, 0), tolerance)
    return {"version": openvino.__version__, "bf16": has_bf16, "fault": fault}


def probe_onnxruntime() -> Found:
    """A small network through ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(_TINY_ONNX, providers=["CPUExecutionProvider"])
    values = np.array([-2.0, -1.0, 1.0, 2.0], np.float32)
    found = session.run(None, {"x": values})[0]
    return {
        "version": onnxruntime.__version__,
        "fault": _apart(np.asarray(found), np.maximum(values, 0), 1e-6),
    }


def _apart(
    found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float
) -> str | None:
    if found.shape != expected.shape:
        return f"the result is of shape {found.shape}, and should be of {expected.shape}"
    worst = float(np.abs(found - expected).max())
    return None if worst <= tolerance else f"the result is wrong by {worst:.3g}"


PROBES: dict[str, Callable[[], Found]] = {
    "paddle": probe_paddle,
    "ctc": probe_ctc,
    "onednn": probe_onednn,
    "openvino": probe_openvino,
    "onnxruntime": probe_onnxruntime,
}


def main(name: str) -> None:
    """Run one probe and write what it found."""
    set_paddle_environment()
    sys.stdout.write("\n" + json.dumps(PROBES[name]()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
