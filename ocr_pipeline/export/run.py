"""Checkpoint to an exported model in all forms that are asked for, through the parity gate."""

from collections.abc import Callable, Sequence
from dataclasses import replace as replace_fields
from pathlib import Path

from ocr_pipeline.artifacts.exported import (
    CARD_NAME,
    CHARSET_NAME,
    GOLDEN_NAME,
    ExportedCard,
    ExportedModel,
    GoldenBoxes,
    GoldenLine,
    Parity,
)
from ocr_pipeline.artifacts.folder import hash_files, staged, write_card
from ocr_pipeline.artifacts.pictures import save_pictures
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.errors import EngineError, ExportError
from ocr_pipeline.export.int8 import QUANTISED, Calibration, save_int8
from ocr_pipeline.export.lite import save_lite
from ocr_pipeline.export.onnx import save_onnx
from ocr_pipeline.export.openvino import save_openvino
from ocr_pipeline.export.parity import check, compare, expect
from ocr_pipeline.export.static import save_program
from ocr_pipeline.export.validation import Validation
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.inference.load import engine_of
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.rule_probes import rules_differ
from ocr_pipeline.versions import made_by
from ocr_pipeline.weights.trainable import TrainableModel

PADDLE = Variant("paddle", "fp32")
ONNX = Variant("onnx", "fp32")
NOT_RUN_HERE = (Variant("lite", "fp16"), Variant("tensorrt", "fp32"), Variant("tensorrt", "fp16"))
"""Files for other machines: written, and named in the card's files, but proven by nothing here."""


def export_model(
    model: TrainableModel,
    out_dir: Path,
    config: ExportConfig,
    *,
    name: str | None = None,
    replace: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> ExportedModel:
    """Fold, freeze and save a model for serving; refuse all of it if one form says another thing.

    Args:
        model: a checkpoint or a released model.
        out_dir: becomes the artefact.
        config: which forms, and how near each must come.
        name: of the model in logs and answers; the folder's name by default.
        replace: an existing ``out_dir`` may be replaced, once the new one has passed.
        on_step: is told what is being done, in a few words.

    Raises:
        ExportError: a probability differs by more than the tolerance, a text or box differs, the
            accuracy drops by more than allowed, or a converter is absent or fails; nothing is left
            in ``out_dir``.
        ArtifactError: ``out_dir`` exists and ``replace`` is false, or cannot be written; the
            dataset is incomplete.
    """
    variants = config.variants()
    model = _with_decode(model, config)
    with staged(out_dir, replace=replace) as scratch:
        _write_forms(model, scratch, variants, config, on_step)
        backends, golden = _pass_gate(model, scratch, variants, config, on_step)
        save_pictures(model.golden, scratch / GOLDEN_NAME)
        if model.charset is not None:
            model.charset.save(scratch / CHARSET_NAME)
        card = ExportedCard(
            name=name or out_dir.name,
            model=model.spec.deployed(),
            backends=backends,
            golden=golden,
            checkpoint=model.sha256,
            started_from=model.started_from,
            metrics=dict(model.metrics),
            made_by=made_by(),
            files=hash_files(scratch),
        )
        write_card(card, scratch, CARD_NAME)
        _check_rules(model, scratch)
    return ExportedModel.load(out_dir)


def _with_decode(model: TrainableModel, config: ExportConfig) -> TrainableModel:
    """The same network with the decode rules that are asked for."""
    if config.decode is None:
        return model
    if not isinstance(model.spec, DetModelSpec):
        raise ExportError("decode: is for detectors, this is a recognizer; leave it out")
    changes = config.decode.model_dump(exclude_unset=True)
    decode = DBDecodeSpec.model_validate({**model.spec.decode.model_dump(), **changes})
    return replace_fields(model, spec=model.spec.model_copy(update={"decode": decode}))


def _write_forms(
    model: TrainableModel,
    scratch: Path,
    variants: Sequence[Variant],
    config: ExportConfig,
    on_step: Callable[[str], None],
) -> None:
    wanted = {variant.backend for variant in variants}
    on_step("Paddle program")
    save_program(model, scratch / PADDLE.folder)
    if wanted & {"onnx", "openvino", "tensorrt"}:
        on_step("ONNX")
        save_onnx(scratch / PADDLE.folder, scratch / ONNX.folder)
    if "openvino" in wanted:
        on_step("OpenVINO")
        save_openvino(scratch / ONNX.folder, scratch / "openvino")
    for backend in QUANTISED:
        quantised = Variant(backend, "int8")
        if quantised in variants and config.dataset is not None:
            on_step(f"quantising for {backend}")
            calibration = Calibration(config.dataset, config.calibration_samples, config.seed)
            folder = scratch / quantised.folder
            save_int8(scratch / backend, folder, backend, model.spec.deployed(), calibration)
    if "lite" in wanted:
        on_step("Paddle Lite")
        save_lite(model, scratch / "lite", fp16=Variant("lite", "fp16") in variants)


def _pass_gate(
    model: TrainableModel,
    scratch: Path,
    variants: Sequence[Variant],
    config: ExportConfig,
    on_step: Callable[[str], None],
) -> tuple[dict[str, Parity], list[GoldenLine] | list[GoldenBoxes]]:
    """Compare every form with the network; raise where one does not say the same."""
    expected = expect(NetworkEngine(model.network, task=model.spec.task), model)
    backends: dict[str, Parity] = {}
    validation: Validation | None = None
    for variant in (v for v in variants if v not in NOT_RUN_HERE):
        on_step(f"parity of {variant.name}")
        engine = _open(scratch, model, variant, config)
        parity = compare(expected, engine, model, variant, config)
        check(parity, model, variant, config)
        if config.dataset is not None:
            # The first one, just seen to be the network itself, reads ten times faster than that.
            validation = validation or Validation(model, config, engine)
            parity = parity.model_copy(update={"drop": validation.measure(engine, variant)})
            check(parity, model, variant, config)
        backends[variant.name] = parity
    return backends, expected.golden


def _check_rules(model: TrainableModel, scratch: Path) -> None:
    """Make sure that the numbers in the card prepare and decode as those of the checkpoint."""
    written = ExportedModel.load(scratch).card.model
    apart = rules_differ(model.spec, written)
    if apart is not None:
        raise ExportError(
            f"export refused, nothing was written: with the image and decode rules of {CARD_NAME}, "
            f"{apart} than in training; this is a fault of the exporter"
        )


def _open(scratch: Path, model: TrainableModel, variant: Variant, config: ExportConfig) -> Engine:
    try:
        return engine_of(scratch / variant.folder, model.spec.task, variant, config.engine)
    except EngineError as error:
        raise ExportError(f"export refused, nothing was written: {variant.name}: {error}") from None
