"""Build TensorRT engines: a plan from ONNX, or a Paddle program with the engine inside.

Both need the GPU that is to serve. Unproven: neither has run, no GPU was at hand; what stands
around them is tested.
"""

import logging
from pathlib import Path
from typing import Any

from ocr_pipeline.artifacts.folder import remove, staged
from ocr_pipeline.errors import EngineError, ExportError
from ocr_pipeline.inference.tensorrt import (
    PLAN,
    EngineFacts,
    check_engine,
    engine_folder,
    merged,
    write_facts,
)

_log = logging.getLogger(__name__)
_INPUT = "images"


def build_plan(
    onnx: Path,
    facts: EngineFacts,
    *,
    workspace_bytes: int,
    cache: Path | None = None,
) -> Path:
    """Build a TensorRT plan, or return the one that was built from the same before.

    Args:
        onnx: ``model.onnx``.
        facts: from :func:`~ocr_pipeline.inference.tensorrt.engine_facts`.
        workspace_bytes: GPU memory that the builder may use.
        cache: folder of engines; None: the usual one.

    Returns:
        ``model.plan``.

    Raises:
        ExportError: TensorRT is absent or does not load, is of a version that takes the precision
            from the graph, or cannot build it.
        ArtifactError: the folder cannot be written.
    """
    folder = engine_folder(facts, cache)
    if _is_current(folder, facts):
        return folder / PLAN
    content = _plan(onnx, facts, workspace_bytes)
    with staged(folder) as scratch:
        (scratch / PLAN).write_bytes(content)
        write_facts(facts, scratch)
    return folder / PLAN


def build_program(program: Path, facts: EngineFacts, cache: Path | None = None) -> Path:
    """Convert a Paddle program (``inference.json``) to one with TensorRT engines inside.

    ``enable_tensorrt_engine`` of Paddle Inference takes the old ``.pdmodel`` only; programs of
    Paddle 3 are converted beforehand by ``paddle.tensorrt``, which is in the builds for GPUs.

    Returns:
        The folder of the new ``inference.json``; Paddle Inference loads it like any other.

    Raises:
        ExportError: this Paddle has no TensorRT, or cannot convert it.
        ArtifactError: the folder cannot be written.
    """
    folder = engine_folder(facts, cache)
    if _is_current(folder, facts):
        return folder
    try:
        from paddle import tensorrt
        from paddle.tensorrt.export import Input, PrecisionMode, TensorRTConfig
    except ImportError as error:
        raise ExportError(
            f"this Paddle has no TensorRT ({error}); install paddlepaddle-gpu and the TensorRT "
            "that it was built with, or leave tensorrt out"
        ) from None
    shape = merged(facts.profiles)
    with staged(folder) as scratch:
        settings = TensorRTConfig(
            inputs=[
                Input(
                    min_input_shape=shape.least,
                    optim_input_shape=shape.usual,
                    max_input_shape=shape.most,
                    input_data_type="float32",
                    name=_INPUT,
                )
            ],
            save_model_dir=str(scratch / "inference"),
            precision_mode=PrecisionMode[facts.precision.upper()],
        )
        try:
            tensorrt.convert(str(program / "inference"), settings)
        except (RuntimeError, ValueError, OSError) as error:
            raise ExportError(
                f"{program}: Paddle cannot convert it to TensorRT: {_last([], error)}"
            ) from None
        write_facts(facts, scratch)
    return folder


def _is_current(folder: Path, facts: EngineFacts) -> bool:
    """Whether it need not be built; what is no good any more is removed."""
    if not folder.exists():
        return False
    try:
        check_engine(folder, facts)
    except EngineError as error:
        _log.warning("%s; it is built again", error)
        remove(folder)
        return False
    return True


def _plan(onnx: Path, facts: EngineFacts, workspace_bytes: int) -> bytes:
    tensorrt = _library()
    said: list[str] = []
    logger = _logger(tensorrt, said)
    try:
        builder = tensorrt.Builder(logger)
    except (RuntimeError, TypeError) as error:
        raise ExportError(f"TensorRT finds no GPU that it can use: {_last(said, error)}") from None
    network = builder.create_network(_explicit_batch(tensorrt))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        raise ExportError(f"{onnx}: TensorRT cannot read it: {parser.get_error(0)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, workspace_bytes)
    if facts.precision == "fp16":
        config.set_flag(tensorrt.BuilderFlag.FP16)
    for shapes in facts.profiles:
        profile = builder.create_optimization_profile()
        profile.set_shape(network.get_input(0).name, shapes.least, shapes.usual, shapes.most)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"{onnx}: TensorRT cannot build an engine: {_last(said)}")
    return bytes(plan)


def _logger(tensorrt: Any, said: list[str]) -> Any:
    """Keeps what TensorRT says; by itself it would write into the terminal."""

    class Logger(tensorrt.ILogger):
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, msg: str) -> None:
            if severity in (tensorrt.ILogger.INTERNAL_ERROR, tensorrt.ILogger.ERROR):
                said.append(msg)

    return Logger()


def _library() -> Any:
    try:
        import tensorrt
    except ImportError as error:
        raise ExportError(
            f"TensorRT is not installed or does not load ({error}); install tensorrt for your CUDA "
            "on the machine with the GPU"
        ) from None
    if not hasattr(tensorrt.BuilderFlag, "FP16"):
        raise ExportError(
            f"TensorRT {tensorrt.__version__} takes the precision from the graph, which is in "
            "float32; install TensorRT 8.6 or 10"
        )
    return tensorrt


def _explicit_batch(tensorrt: Any) -> int:
    """The one kind of network since TensorRT 10; older ones have to be told."""
    flag = getattr(tensorrt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    return 0 if flag is None else 1 << int(flag)


def _last(said: list[str], error: Exception | None = None) -> str:
    lines = [*(str(error).splitlines() if error is not None else ()), *said]
    return lines[-1].strip() if lines else "it said nothing"
