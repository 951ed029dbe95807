"""Paddle program to ONNX, by paddle2onnx."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ocr_pipeline.errors import ExportError
from ocr_pipeline.inference.onnx_engine import GRAPH

OPSET = 17
_TIMEOUT_S = 600.0


def save_onnx(program: Path, folder: Path) -> None:
    """Write ``model.onnx`` into a new folder.

    The converter has a process of its own: it logs to the terminal, and its faults end processes.

    Args:
        program: folder of ``inference.json`` and ``inference.pdiparams``.
        folder: is made.

    Raises:
        ExportError: paddle2onnx is not installed, or cannot convert the program.
    """
    if find_spec("paddle2onnx") is None:
        raise ExportError("paddle2onnx is not installed; install ocr_pipeline[convert]")
    folder.mkdir()
    path = folder / GRAPH
    command = [sys.executable, "-m", "paddle2onnx.command", "--model_dir", str(program)]
    command += ["--model_filename", "inference.json", "--params_filename", "inference.pdiparams"]
    # Its optimisers would install packages while they run; the runtimes bring optimisers.
    command += ["--save_file", str(path), "--opset_version", str(OPSET), "--optimize_tool", "None"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"paddle2onnx was not done after {_TIMEOUT_S:g} s; is this machine out of memory?"
        ) from None
    if done.returncode or not path.is_file():
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ExportError(
            f"paddle2onnx ended with exit code {done.returncode} and wrote no ONNX file: "
            f"{said[-1] if said else 'it said nothing'}"
        )
