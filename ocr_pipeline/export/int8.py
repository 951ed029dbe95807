"""INT8 by post-training quantisation (NNCF), calibrated on a dataset's training part."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.model import ModelSpec
from ocr_pipeline.errors import ExportError

Quantised = Literal["openvino", "onnx"]
QUANTISED: tuple[Quantised, ...] = ("openvino", "onnx")
LEAST_SAMPLES = 32
"""Fewer say too little of the ranges that values lie in."""
_TIMEOUT_S = 3600.0
_WORKER = Path(__file__).with_name("int8_worker.py")


@dataclass(frozen=True)
class Calibration:
    """What the ranges of a network's values are taken from.

    Attributes:
        dataset: folder made by ``scripts/prepare.py``.
        samples: so many of its training samples, at most.
        seed: decides which.
    """

    dataset: Path
    samples: int
    seed: int


def save_int8(
    source: Path,
    folder: Path,
    backend: Quantised,
    model: ModelSpec,
    calibration: Calibration | None,
) -> None:
    """Quantise an exported network into a new folder, under the file names of ``source``.

    Convolutions and matrix products compute in int8, symmetric, weights with a scale a channel. Of
    a recognizer, the first convolutions, up to the first depthwise one, stay in float32, and so do
    additions, activations, attention scores and softmax: what that is worth is in docs/int8.md.

    The quantiser has a process of its own: it prints, and would change logging for all others. It
    sends nothing over the network.

    Args:
        source: folder of ``model.xml`` and ``model.bin``, or of ``model.onnx``, in float32.
        folder: is made.
        backend: which of the two.
        model: task and input rule.
        calibration: None is an error: the golden pictures are too few.

    Raises:
        ExportError: no dataset, one for the other task or with too few samples; NNCF is not
            installed, or fails.
        ArtifactError: the dataset is not complete.
    """
    if calibration is None:
        raise ExportError(
            "int8 is calibrated on a dataset's training part (the golden pictures are too few); "
            "give the folder made by scripts/prepare.py: --dataset work/1_dataset/mine"
        )
    if find_spec("nncf") is None:
        raise ExportError("NNCF is not installed; install ocr_pipeline[int8], or leave int8 out")
    _check_dataset(calibration, model)
    folder.mkdir()
    job = {
        "backend": backend,
        "source": str(source),
        "folder": str(folder),
        "model": model.model_dump(mode="json"),
        "dataset": str(calibration.dataset),
        "samples": calibration.samples,
        "seed": calibration.seed,
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        # -P: beside the worker are modules that are named like the packages it imports.
        _run([sys.executable, "-P", "-W", "ignore", str(_WORKER), str(path)])


def _check_dataset(calibration: Calibration, model: ModelSpec) -> None:
    dataset = Dataset.load(calibration.dataset)
    where = f"dataset={calibration.dataset}"
    if dataset.manifest.task != model.task:
        raise ExportError(
            f"{where}: is for {dataset.manifest.task}, the model for {model.task}; give the "
            "dataset that it was trained on"
        )
    count = min(len(dataset.samples("train")), calibration.samples)
    if count < LEAST_SAMPLES:
        raise ExportError(
            f"{where}: int8 would be calibrated on {count} samples; at least {LEAST_SAMPLES} are "
            "needed: give a larger dataset, raise calibration_samples, or leave int8 out"
        )


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"NNCF was not done after {_TIMEOUT_S:g} s; set calibration_samples lower"
        ) from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        ended = f"exit code {done.returncode}" if done.returncode > 0 else "it was killed"
        raise ExportError(
            f"NNCF cannot quantise the network ({ended}): {said[-1] if said else 'it said nothing'}"
        )
