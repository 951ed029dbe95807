"""TensorRT engine of an exported model, for the GPU of this machine.

    python deploy/tensorrt/build_engine.py work/3_exported/mine_rec --precision fp16

Takes the model's ``onnx/model.onnx`` and its card, and writes ``model.plan`` with one optimization
profile for each range of shapes that the card asks for. An engine that was built from the same
weights, on this GPU, with these versions, shapes and precision is taken from the cache.
Unproven: no machine with an NVIDIA GPU has run this yet. See docs/tensorrt.md.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ocr_pipeline.artifacts.exported import ExportedModel
from ocr_pipeline.errors import OcrPipelineError
from ocr_pipeline.inference.tensorrt import check_engine, engine_facts, engine_folder, profiles


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, or check, one engine; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        model = ExportedModel.load(options.model)
        shapes = profiles(model.card.model, batch=options.batch, max_side=options.max_side)
        if options.shapes:
            sys.stdout.write(json.dumps([asdict(profile) for profile in shapes]) + "\n")
            return 0
        onnx = options.model / "onnx" / "model.onnx"
        facts = engine_facts(onnx, "plan", options.precision, shapes)
        if options.check:
            check_engine(engine_folder(facts, options.cache), facts)
            sys.stdout.write(f"{engine_folder(facts, options.cache)}: current\n")
            return 0
        # Not at the top: what stands around the building needs no Paddle.
        from ocr_pipeline.export.tensorrt import build_plan

        plan = build_plan(
            onnx, facts, workspace_bytes=options.workspace_gb << 30, cache=options.cache
        )
    except OcrPipelineError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{plan}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder made by scripts/export.py --to onnx")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp16")
    parser.add_argument("--batch", type=_positive, default=8, help="lines recognised together")
    parser.add_argument("--max-side", type=_positive, help="detector: longest side of a page, px")
    parser.add_argument("--workspace-gb", type=_positive, default=4, help="for the builder")
    parser.add_argument("--cache", type=Path, help="folder of engines; default: in the cache")
    parser.add_argument("--check", action="store_true", help="only say whether one is current")
    parser.add_argument("--shapes", action="store_true", help="only print the profiles, as JSON")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number above 0 is needed")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
