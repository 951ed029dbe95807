"""Checkpoint to the ``.nb`` files that Paddle Lite runs on ARM and x86."""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import AssetError, ExportError
from ocr_pipeline.export.lite_program import OPERATORS, SCALAR, SPEC, WEIGHTS
from ocr_pipeline.inference.lite_toolchain import command, told_by, toolchain_python
from ocr_pipeline.models.build import build_network
from ocr_pipeline.models.layers import fold
from ocr_pipeline.weights.tensors import get_weights, set_weights, without_training_parts
from ocr_pipeline.weights.trainable import TrainableModel

Target = Literal["arm", "x86"]

_SCRIPT = Path(__file__).with_name("lite_program.py")
_TIMEOUT_S = 600.0
_UNRUNNABLE = {
    "swish": "Paddle writes it without `beta`, at which opt ends; write it as silu",
    "unbind": "Lite's kernel writes outside its memory; take the parts by indexing",
    SCALAR: "Lite knows no tensor without dimensions; give the network a fixed batch",
}
"""Operators that the tool's table has and Lite cannot run all the same."""


@dataclass(frozen=True)
class LiteFile:
    """One file for one kind of processor.

    Attributes:
        name: without the suffix ``.nb``.
        target: kernels that it names.
        precision: that they compute in.
        processors: where it runs.
    """

    name: str
    target: Target
    precision: Literal["fp32", "fp16"]
    processors: str


X86 = LiteFile("x86", "x86", "fp32", "x86-64, where it is run and compared")
ARM = LiteFile("arm", "arm", "fp32", "armv7 and armv8 (aarch64): the runtimes differ, the file not")
ARM_FP16 = LiteFile("arm_fp16", "arm", "fp16", "armv8.2 with half-precision arithmetic (asimdhp)")


def save_lite(model: TrainableModel, folder: Path, *, fp16: bool = False) -> list[LiteFile]:
    """Write ``x86.nb``, ``arm.nb`` and, if asked for, ``arm_fp16.nb`` into a new folder.

    The graph ends in probabilities as that of
    :func:`~ocr_pipeline.export.static.save_program` does; a CRNN's has batch 1.

    Args:
        model: a checkpoint or a released model; it stays as it is.
        folder: is made; on an error it is not.
        fp16: also write the file that computes in half precision.

    Returns:
        What was written.

    Raises:
        ExportError: the toolchain is not to be had or not the pinned one; an operator has no
            kernel (named, with the targets); Paddle Lite cannot convert the program.
    """
    try:
        python = toolchain_python()
    except AssetError as error:
        raise ExportError(f"lite: {error}") from None
    files = [X86, ARM, *([ARM_FP16] if fp16 else [])]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".lite-") as scratch:
        work, made = Path(scratch) / "work", Path(scratch) / "made"
        work.mkdir()
        made.mkdir()
        _hand_over(model, work)
        _step(python, "program", str(work), what="Paddle 2.6.2 cannot save the network")
        operators = json.loads((work / OPERATORS).read_text(encoding="utf-8"))
        tables: dict[str, str] = {
            target: _step(python, "kernels", target, what="the list of operators failed")
            for target in sorted({file.target for file in files})
        }
        check_operators(operators, tables)
        for file in files:
            what = f"Paddle Lite cannot convert the network for {file.name}"
            _step(python, "optimize", str(work), file.target, file.name, file.precision, what=what)
            result = work / f"{file.name}.nb"
            if not result.is_file():
                raise ExportError(f"lite: {what}: it ended well and wrote no {result.name}")
            result.rename(made / result.name)
        made.rename(folder)
    return files


def check_operators(operators: Iterable[str], tables: dict[str, str]) -> None:
    """Refuse a program that Paddle Lite could not run, before it is converted.

    Args:
        operators: types, as :mod:`~ocr_pipeline.export.lite_program` lists them.
        tables: target to the table that the tool prints for it.

    Raises:
        ExportError: all operators without a kernel, with the targets that lack one; or operators
            whose kernel is known not to work, with what to do.
    """
    lacking = []
    for target, table in tables.items():
        known = kernels(table)
        if not known:
            raise ExportError(f"lite: the tool's list of operators for {target} cannot be read")
        names = sorted({name for name in operators if name != SCALAR} - known)
        lacking += [f"{name} (on {target})" for name in names]
    if lacking:
        raise ExportError(
            f"lite: Paddle Lite has no kernel for {', '.join(lacking)}; write the layer with "
            "operators that it has, or export this model without lite"
        )
    if broken := [name for name in sorted(set(operators)) if name in _UNRUNNABLE]:
        raise ExportError(
            "lite: Paddle Lite cannot run "
            + "; ".join(f"{name}: {_UNRUNNABLE[name]}" for name in broken)
        )


def kernels(table: str) -> set[str]:
    """Return the operators that a table of the tool ticks under any place but ``kUnk``.

    The table has a line of places, then a line for each operator with ``Y`` below some of them.
    """
    places: list[re.Match[str]] = []
    found = set()
    for line in table.splitlines():
        words = list(re.finditer(r"\S+", line))
        if not words:
            continue
        first, *others = words
        if first[0] == "OP_name":
            places = [place for place in others if place[0] != "kUnk"]
        elif others and all(mark[0] == "Y" for mark in others):
            ticked = [p for p in places for mark in others if p.start() <= mark.start() < p.end()]
            if ticked:
                found.add(first[0])
    return found


def _hand_over(model: TrainableModel, folder: Path) -> None:
    """Write the folded network's spec and weights."""
    spec: DetModelSpec | RecModelSpec = model.spec.deployed()
    network = build_network(spec)
    weights = without_training_parts(get_weights(model.network), network)
    set_weights(network, weights, source="checkpoint")
    fold(network)
    tensors: dict[str, Any] = get_weights(network)
    np.savez(folder / WEIGHTS, **tensors)
    (folder / SPEC).write_text(spec.model_dump_json(), encoding="utf-8")


def _step(python: Path, *arguments: str, what: str) -> str:
    """Run one step; return what it printed."""
    line: Sequence[str] = command(python, str(_SCRIPT), *arguments)
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=_TIMEOUT_S, errors="replace", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExportError(f"lite: {what}: {error}") from None
    if done.returncode:
        raise ExportError(f"lite: {what}: {told_by(done.stderr, done.returncode)}")
    return done.stdout
