"""A user's own inference model, or one that ``paddleocr`` has downloaded, made trainable."""

from pathlib import Path

from paddle import nn

from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.image import DBDecodeSpec
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.weights.inference_yml import DEFAULT_NAME as RULES_NAME
from ocr_pipeline.weights.inference_yml import InferenceRules, read_inference_rules
from ocr_pipeline.weights.pairing import PairingError, load_records
from ocr_pipeline.weights.readers import find_model, read_records
from ocr_pipeline.weights.records import Record
from ocr_pipeline.weights.released import DET_PROBE, REC_PROBE
from ocr_pipeline.weights.trainable import TrainableModel

Spec = DetModelSpec | RecModelSpec


def load_inference_model(path: Path) -> TrainableModel:
    """Recognise and load an inference model: ONNX, Paddle ``inference.json`` or ``.pdmodel``.

    A recognizer's dictionary comes from ``inference.yml``, or from the only ``.txt`` file beside
    the model; a detector's thresholds from ``inference.yml``.

    Args:
        path: the model's file, or a folder that holds one.

    Raises:
        WeightsError: not a model, no known network fits (the nearest one and the first layer that
            differs are said), or no dictionary of the right length.
    """
    model = find_model(path)
    records = read_records(model)
    rules_file = model.parent / RULES_NAME
    rules = read_inference_rules(rules_file) if rules_file.is_file() else InferenceRules()
    spec, network = identify(records, rules, source=str(model))
    network.eval()
    tensors = model.with_suffix(".pdiparams")
    is_recognizer = isinstance(spec, RecModelSpec)
    return TrainableModel(
        spec=spec,
        network=network,
        charset=_charset(spec, rules, model) if isinstance(spec, RecModelSpec) else None,
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
    """Specs to try. v4 and v5 share their networks: the file's own name decides, else v5."""
    v4_first = "v4" in (rules.model_name or "").lower()
    v6 = [("ppocrv6", size) for size in ("tiny", "small", "medium")]
    pairs = [*v6, ("ppocrv4" if v4_first else "ppocrv5", "mobile")]
    if records and records[-1].kind == "linear":
        classes = records[-1].weight.shape[1]
        return [
            RecModelSpec.model_validate({"family": family, "size": size, "classes": classes})
            for family, size in pairs
        ]
    decode = _decode(rules)
    return [
        DetModelSpec.model_validate({"family": family, "size": size, "decode": decode})
        for family, size in pairs
    ]


def _decode(rules: InferenceRules) -> DBDecodeSpec:
    found = {
        "threshold": rules.thresh,
        "min_score": rules.box_thresh,
        "unclip_ratio": rules.unclip_ratio,
        "max_candidates": rules.max_candidates,
    }
    return DBDecodeSpec.model_validate({k: v for k, v in found.items() if v is not None})


def _charset(spec: RecModelSpec, rules: InferenceRules, model: Path) -> Charset:
    if rules.dictionary is not None:
        charset, source = Charset(rules.dictionary), f"{model.parent / RULES_NAME}"
    else:
        texts = sorted(model.parent.glob("*.txt"))
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
