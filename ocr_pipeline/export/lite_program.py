"""Run by the Paddle Lite toolchain, on Python 3.10 and Paddle 2.6.2: networks to ``.nb`` files.

One step a process, because Paddle Lite ends the process where it fails:

- ``program FOLDER``: ``spec.json`` and ``weights.npz`` of a folded network to ``model.pdmodel`` and
  ``model.pdiparams``; ``operators.json`` gets the type of each operator and how often it is there.
- ``kernels TARGET``: print the tool's table of operators for ``arm`` or ``x86``.
- ``optimize FOLDER TARGET NAME PRECISION``: the program to ``NAME.nb``; ``fp32`` or ``fp16``.
"""

import importlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

PROGRAM = "model"
SPEC = "spec.json"
WEIGHTS = "weights.npz"
OPERATORS = "operators.json"
SCALAR = "fill_constant (of no dimension)"
"""How a ``fill_constant`` whose result has no dimension is listed: Lite knows none such."""


def write_program(folder: Path) -> None:
    """Rebuild the network from its spec, fill it, trace it, save it as Lite reads it."""
    import numpy as np
    import paddle
    from paddle.static import InputSpec
    from pydantic import TypeAdapter

    from ocr_pipeline.config.model import DetModelSpec, ModelSpec
    from ocr_pipeline.models.build import build_network, evaluation_network
    from ocr_pipeline.models.layers import fold

    kinds: TypeAdapter[Any] = TypeAdapter(ModelSpec)
    spec = kinds.validate_json((folder / SPEC).read_bytes())
    network = build_network(spec)
    fold(network)
    with np.load(folder / WEIGHTS) as weights:
        for name, tensor in network.state_dict().items():
            tensor.set_value(weights[name])
    if isinstance(spec, DetModelSpec):
        shape = [None, 3, None, None]
    else:
        # An LSTM begins with zeros for each line; with a free batch they are made from scalars.
        shape = [1 if spec.family == "crnn" else None, 3, spec.image.height, None]
    program = paddle.jit.to_static(
        evaluation_network(network, task=spec.task),
        input_spec=[InputSpec(shape, "float32", "images")],
        full_graph=True,
    )
    paddle.jit.save(program, str(folder / PROGRAM))
    (folder / OPERATORS).write_text(json.dumps(_operators(folder)), encoding="utf-8")


def _operators(folder: Path) -> dict[str, int]:
    from paddle.base import core

    program = core.ProgramDesc((folder / f"{PROGRAM}.pdmodel").read_bytes())
    counted: Counter[str] = Counter()
    for number in range(program.num_blocks()):
        block = program.block(number)
        for index in range(block.op_size()):
            operator = block.op(index)
            name = operator.type()
            lists = ("ShapeTensor", "ShapeTensorList")
            if name == "fill_constant" and not (
                operator.attr("shape") or any(operator.input(part) for part in lists)
            ):
                name = SCALAR
            counted[name] += 1
    return dict(counted)


def print_kernels(target: str) -> None:
    """Have the tool print its table."""
    tool = _tool()
    tool.set_valid_places(target)
    tool.print_supported_ops()


def optimize(folder: Path, target: str, name: str, precision: str) -> None:
    """Have the tool write one ``.nb`` file."""
    tool = _tool()
    tool.set_model_file(str(folder / f"{PROGRAM}.pdmodel"))
    tool.set_param_file(str(folder / f"{PROGRAM}.pdiparams"))
    tool.set_model_type("naive_buffer")
    tool.set_optimize_out(str(folder / name))  # it adds the suffix
    if precision == "fp16":
        tool.enable_fp16()
    tool.set_valid_places(target)
    tool.run()


def _tool() -> Any:
    return importlib.import_module("paddlelite.lite").Opt()


def main() -> None:
    """Do the step named on the command line."""
    step, *arguments = sys.argv[1:]
    if step == "program":
        write_program(Path(arguments[0]))
    elif step == "kernels":
        print_kernels(arguments[0])
    else:
        optimize(Path(arguments[0]), *arguments[1:])


if __name__ == "__main__":
    main()
