"""Checkpoint to ``paddle.jit`` program, through the parity gate."""

from pathlib import Path

import paddle
from paddle.jit import to_static
from paddle.static import InputSpec

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
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.errors import ExportError
from ocr_pipeline.export.parity import compare_detector, compare_recognizer
from ocr_pipeline.inference.paddle_engine import FOLDER, PaddleEngine
from ocr_pipeline.models.build import build_network, evaluation_network
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.models.layers import fold
from ocr_pipeline.versions import made_by
from ocr_pipeline.weights.tensors import get_weights, set_weights, without_training_parts
from ocr_pipeline.weights.trainable import TrainableModel


def export_static(
    model: TrainableModel,
    out_dir: Path,
    config: ExportConfig,
    *,
    name: str | None = None,
    replace: bool = False,
) -> ExportedModel:
    """Fold, freeze and save a model for Paddle Inference; refuse it if it does not say the same.

    The graph ends in probabilities: ``[N, 1, H, W]`` (det) or ``[N, T, K]`` (rec, K with the blank
    at index 0). The batch is dynamic; so are H and W (det) or W (rec).

    Args:
        model: a checkpoint or a released model.
        out_dir: becomes the artefact.
        name: of the model in logs and answers; the folder's name by default.
        replace: an existing ``out_dir`` may be replaced, once the new one has passed.

    Raises:
        ExportError: a probability differs by more than the tolerance, or a text or box differs
            (both given); nothing is left in ``out_dir``.
        ArtifactError: ``out_dir`` exists and ``replace`` is false, or cannot be written.
    """
    with staged(out_dir, replace=replace) as scratch:
        _save_program(model, scratch / FOLDER)
        parity, golden = _pass_gate(model, PaddleEngine(scratch / FOLDER, config.engine), config)
        save_pictures(model.golden, scratch / GOLDEN_NAME)
        if model.charset is not None:
            model.charset.save(scratch / CHARSET_NAME)
        card = ExportedCard(
            name=name or out_dir.name,
            model=model.spec.deployed(),
            backends={FOLDER: parity},
            golden=golden,
            checkpoint=model.sha256,
            started_from=model.started_from,
            metrics=dict(model.metrics),
            made_by=made_by(),
            files=hash_files(scratch),
        )
        write_card(card, scratch, CARD_NAME)
    return ExportedModel.load(out_dir)


def _pass_gate(
    model: TrainableModel, exported: PaddleEngine, config: ExportConfig
) -> tuple[Parity, list[GoldenLine] | list[GoldenBoxes]]:
    """Compare on the golden pictures; raise where the export does not say the same."""
    reference = NetworkEngine(model.network, task=model.spec.task)
    parity: Parity
    golden: list[GoldenLine] | list[GoldenBoxes]
    if isinstance(model.spec, DetModelSpec):
        what, tolerance = "boxes", config.det_tolerance
        parity, golden = compare_detector(
            reference, exported, model.spec, model.golden, tolerance=tolerance
        )
    else:
        assert model.charset is not None  # noqa: S101  (a recognizer has one)
        what, tolerance = "texts", config.rec_tolerance
        parity, golden = compare_recognizer(
            reference, exported, model.spec, model.charset, model.golden, tolerance=tolerance
        )
    if parity.max_abs_diff > tolerance or not parity.same_result:
        raise ExportError(
            f"export refused, nothing was written: Paddle Inference differs from the checkpoint by "
            f"{parity.max_abs_diff:.2g} (allowed {tolerance:g}), {what} "
            f"{'are equal' if parity.same_result else 'differ'} on {parity.pictures} golden "
            "pictures. Export with the Paddle version of requirements/train.txt, or say why a "
            "larger tolerance is right and set it"
        )
    return parity, golden


def _save_program(model: TrainableModel, folder: Path) -> None:
    """Fold a copy of the network and write ``inference.json`` and ``inference.pdiparams``."""
    deploy = build_network(model.spec.deployed())
    weights = without_training_parts(get_weights(model.network), deploy)
    set_weights(deploy, weights, source="checkpoint")
    fold(deploy)
    if isinstance(model.spec, DetModelSpec):
        shape = [None, 3, None, None]
    else:
        shape = [None, 3, model.spec.image.height, None]
    program = to_static(
        evaluation_network(deploy, task=model.spec.task),
        input_spec=[InputSpec(shape, "float32", "images")],
        full_graph=True,
    )
    folder.mkdir()
    paddle.jit.save(program, str(folder / "inference"))
