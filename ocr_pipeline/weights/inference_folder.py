"""A user's own inference model, or one that ``paddleocr`` has downloaded, made trainable."""

from pathlib import Path
from typing import Any

from paddle import nn
from pydantic import ValidationError

from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import ArtifactError, WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.weights.catalog import RELEASES, released_charset
from ocr_pipeline.weights.inference_yml import DEFAULT_NAME as RULES_NAME
from ocr_pipeline.weights.inference_yml import InferenceRules, read_inference_rules
from ocr_pipeline.weights.pairing import PairingError, load_records
from ocr_pipeline.weights.readers import find_model, read_records
from ocr_pipeline.weights.records import Record
from ocr_pipeline.weights.released import DET_PROBE, REC_PROBE
from ocr_pipeline.weights.trainable import TrainableModel

Spec = DetModelSpec | RecModelSpec
V4_CLASSES = 6625
"""Of the released PP-OCRv4 recognizer, whose network is PP-OCRv5's too."""


def load_inference_model(path: Path) -> TrainableModel:
    """Recognise and load an inference model: ONNX, Paddle ``inference.json`` or ``.pdmodel``.

    A recognizer's dictionary is found by :func:`find_charset`; a detector's thresholds come from
    ``inference.yml``.

    Args:
        path: the model's file, or a folder that holds one.

    Raises:
        WeightsError: not a model, no known network fits (the nearest one and the first layer that
            differs are said), or no dictionary of the right length.
        AssetError: the released dictionary is needed and cannot be fetched.
    """
    model = find_model(path)
    records = read_records(model)
    rules = rules_beside(model)
    spec, network = identify(records, rules, source=str(model))
    network.eval()
    tensors = model.with_suffix(".pdiparams")
    is_recognizer = isinstance(spec, RecModelSpec)
    return TrainableModel(
        spec=spec,
        network=network,
        charset=find_charset(spec, rules, model) if isinstance(spec, RecModelSpec) else None,
        golden=golden_lines() if is_recognizer else golden_pages(),
        started_from=rules.model_name or str(path),
        sha256=sha256_of(tensors if tensors.is_file() else model),
    )


def identify(records: list[Record], rules: InferenceRules, *, source: str) -> tuple[Spec, nn.Layer]:
    """Return the spec that the records fit, and its network filled with them.

    Raises:
        WeightsError: none fits.
    """
    nearest: PairingError | None = None
    for spec in _candidates(records, rules):
        network = build_network(spec)
        probe = REC_PROBE if isinstance(spec, RecModelSpec) else DET_PROBE
        try:
            load_records(network, records, probe, source=f"{source} as {name_of(spec)}")
        except PairingError as error:
            if nearest is None or error.used > nearest.used:
                nearest = error
            continue
        return spec, network
    raise WeightsError(
        f"{source}: {len(records)} layers, no known network fits. Nearest: {nearest}"
    )


def name_of(spec: Spec) -> str:
    """Name of a network, e.g. ``ppocrv6_small_rec``."""
    return f"{spec.family}_{spec.size}_{spec.task}"


def _candidates(records: list[Record], rules: InferenceRules) -> list[Spec]:
    """Specs to try. v4 and v5 share their networks: the file's own name decides, or the number of
    classes, else v5."""
    classes = records[-1].weight.shape[1] if records and records[-1].kind == "linear" else None
    is_v4 = "v4" in (rules.model_name or "").lower() or classes == V4_CLASSES
    v6 = [("ppocrv6", size) for size in ("tiny", "small", "medium")]
    pairs = [*v6, ("ppocrv4" if is_v4 else "ppocrv5", "mobile")]
    if classes is not None:
        # Fewer than blank, a character and space: a classifier, which no candidate will fit.
        classes = max(classes, 3)
        return [
            RecModelSpec.model_validate({"family": family, "size": size, "classes": classes})
            for family, size in pairs
        ]
    return [
        DetModelSpec.model_validate(
            {"family": family, "size": size, "decode": decode_rule(rules, family, size)}
        )
        for family, size in pairs
    ]


def rules_beside(model: Path) -> InferenceRules:
    """Return what ``inference.yml`` beside a model's file says; nothing where there is none.

    Raises:
        WeightsError: the file cannot be read.
    """
    file = model.parent / RULES_NAME
    return read_inference_rules(file) if file.is_file() else InferenceRules()


def decode_rule(rules: InferenceRules, family: str, size: str) -> DBDecodeSpec:
    """Return a detector's thresholds: those of the rules, else the released model's.

    Raises:
        WeightsError: a threshold that leaves nothing to find; all such are said.
    """
    found = {
        "threshold": rules.thresh,
        "min_score": rules.box_thresh,
        "unclip_ratio": rules.unclip_ratio,
        "max_candidates": rules.max_candidates,
    }
    try:
        said = {k: v for k, v in found.items() if v is not None}
        return DBDecodeSpec.model_validate({**_released_decode(family, size), **said})
    except ValidationError as error:
        faults = "; ".join(f"{e['loc'][0]} {e['input']}: {e['msg']}" for e in error.errors())
        raise WeightsError(f"{RULES_NAME}: rules of a detector: {faults}") from None


def _released_decode(family: str, size: str) -> dict[str, Any]:
    release = RELEASES.get(f"{family}_{size}_det")
    if release is None or not isinstance(release.spec, DetModelSpec):
        return {}
    return release.spec.decode.model_dump()


def find_charset(spec: RecModelSpec, rules: InferenceRules, model: Path) -> Charset:
    """Find the dictionary that belongs to a recognizer.

    It comes from ``inference.yml``; else from the only ``.txt`` file beside the model; else, where
    there is none, from the released model of the same family, size and number of classes.

    Args:
        rules: what ``inference.yml`` says.
        model: the model's file.

    Raises:
        WeightsError: no dictionary, or one of another length (both numbers are said).
        AssetError: the released dictionary cannot be fetched.
    """
    if rules.dictionary is not None:
        source = f"{model.parent / RULES_NAME}"
        try:
            charset = Charset(rules.dictionary)
        except ArtifactError as error:
            raise WeightsError(f"{source}: character_dict: {error}") from None
    else:
        texts = sorted(model.parent.glob("*.txt"))
        if not texts and (release := _same_released(spec)):
            return released_charset(release)
        if len(texts) != 1:
            found = ", ".join(file.name for file in texts) or "none"
            raise WeightsError(
                f"{model}: no dictionary; expected {RULES_NAME} with character_dict, or one .txt "
                f"file with {spec.classes - 2} lines beside the model (found: {found})"
            )
        charset, source = Charset.load(texts[0]), str(texts[0])
    if charset.classes != spec.classes:
        raise WeightsError(
            f"{source}: {len(charset.dictionary)} entries make {charset.classes} classes (with "
            f"blank and space), the network has {spec.classes}; give the dictionary that belongs "
            f"to it ({spec.classes - 2} lines)"
        )
    return charset


def _same_released(spec: RecModelSpec) -> str | None:
    """Name of the released recognizer with the same network and number of classes."""
    wanted = (spec.family, spec.size, spec.classes)
    for name, release in RELEASES.items():
        found = release.spec
        if found.task == "rec" and (found.family, found.size, found.classes) == wanted:
            return name
    return None
