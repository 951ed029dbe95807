"""Training checkpoints of PaddleOCR (``.pdparams``) as trainable networks, with all branches.

Every tensor of our network has one name there, so ours are turned into theirs and looked up. What
the file holds beyond that must belong to a part that is known to be of no use here.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec, Size
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.ops.golden import golden_lines, golden_pages
from ocr_pipeline.weights.inference_folder import (
    V4_CLASSES,
    Spec,
    decode_rule,
    find_charset,
    name_of,
    rules_beside,
)
from ocr_pipeline.weights.inference_yml import InferenceRules
from ocr_pipeline.weights.pdparams import read_training_checkpoint
from ocr_pipeline.weights.records import Array
from ocr_pipeline.weights.tensors import set_weights
from ocr_pipeline.weights.trainable import TrainableModel

_log = logging.getLogger(__name__)

_Rules = tuple[tuple[str, str], ...]
"""(part of our name, what PaddleOCR calls it), applied in order; ``#`` is a number, kept."""
_SHOWN = 10
_FEWEST_CLASSES = 3  # blank, one character, space
_KNOWN = (
    "PP-OCRv4 and PP-OCRv5 mobile (PPLCNetV3), PP-OCRv6 tiny, small and medium detectors, "
    "PP-OCRv6 small and medium recognizers (PPLCNetV4)"
)


def load_training_checkpoint(path: Path, *, may_be_fresh: Sequence[str] = ()) -> TrainableModel:
    """Recognise and load a training checkpoint of PaddleOCR, in the ``multi_branch`` form.

    Of a distillation the student is taken. The dictionary of a recognizer is found as beside an
    inference model. What is left out (decoders and heads that only guide the training) is logged.

    Args:
        path: the ``.pdparams`` file.
        may_be_fresh: prefixes of our tensors' names that the file may lack; they start fresh.

    Raises:
        WeightsError: not such a file, no known network, tensors that are missing, misshapen or
            without a place in the network, or no dictionary of the right length.
        AssetError: the released dictionary is needed and cannot be fetched.
    """
    found = _student(read_training_checkpoint(path))
    rules = rules_beside(path)
    spec = _recognise(path, found.tensors, rules)
    source = f"{path} as {name_of(spec)}"
    network = build_network(spec)
    wanted = list(network.state_dict())
    places = _places(spec, wanted, found.tensors)
    biases = _folded_biases(spec, places)
    used = {*places.values(), *biases.values()}
    left_out = _left_out(spec, [name for name in found.tensors if name not in used])
    _check(source, found, places, biases, left_out.unknown, tuple(may_be_fresh))
    weights = {ours: found.tensors[name] for ours, name in places.items() if name in found.tensors}
    for ours, bias in biases.items():
        # norm(x + bias) with the mean m is norm(x) with the mean m - bias.
        if ours in weights and bias in found.tensors:
            weights[ours] = weights[ours] - found.tensors[bias]
        else:
            weights.pop(ours, None)
    set_weights(network, weights, source=source, may_be_fresh=may_be_fresh)
    network.eval()
    _say(source, [*found.set_aside, *left_out.known], len(wanted) - len(weights))
    is_recognizer = isinstance(spec, RecModelSpec)
    return TrainableModel(
        spec=spec,
        network=network,
        charset=find_charset(spec, rules, path) if isinstance(spec, RecModelSpec) else None,
        golden=golden_lines() if is_recognizer else golden_pages(),
        started_from=str(path),
        sha256=sha256_of(path),
    )


class _Found(NamedTuple):
    tensors: dict[str, Array]
    strangers: list[str]
    """Names outside the student, in a distillation."""
    set_aside: list[str]


class _LeftOut(NamedTuple):
    known: list[str]
    unknown: list[str]


def _student(tensors: dict[str, Array]) -> _Found:
    student, others = "Student.", ("Student2.", "Teacher.")
    if not any(name.startswith(student) for name in tensors):
        return _Found(tensors, [], [])
    taken = {n.removeprefix(student): t for n, t in tensors.items() if n.startswith(student)}
    aside = [name for name in tensors if name.startswith(others)]
    strangers = [name for name in tensors if not name.startswith((student, *others))]
    said = [f"{len(aside)} of the teacher and other students"] if aside else []
    return _Found(taken, strangers, said)


def _recognise(path: Path, tensors: Mapping[str, Array], rules: InferenceRules) -> Spec:
    """Family and size from names and the width of the stem."""
    is_detector = any(name.startswith("head.binarize.") for name in tensors)
    if any(".conv_kxk." in name for name in tensors):
        family, size = "ppocrv5", "mobile"
    elif any(".token_mixer." in name for name in tensors):
        family, size = "ppocrv6", _v6_size(path, tensors, is_detector=is_detector)
    else:
        raise _unknown_network(path, tensors)
    if is_detector:
        # v4 and v5 share their networks: only the name can tell.
        if family == "ppocrv5" and "v5" not in f"{path} {rules.model_name}".lower():
            family = "ppocrv4"
        return DetModelSpec.model_validate(
            {
                "family": family,
                "size": size,
                "form": "multi_branch",
                "threshold": any(name.startswith("head.thresh.") for name in tensors),
                "decode": decode_rule(rules, family, size),
            }
        )
    output = f"{_ctc_names(tensors).output}.weight"
    shape = tensors[output].shape if output in tensors else ()
    if len(shape) != 2 or shape[1] < _FEWEST_CLASSES:
        found = f"has shape {list(shape)}" if shape else "is missing"
        raise WeightsError(
            f"{path}: {output}, whose width is the number of classes, {found}; allowed: a matrix "
            f"with {_FEWEST_CLASSES} columns or more. Give the checkpoint of a whole network: "
            f"{_KNOWN}"
        )
    classes = shape[1]
    if family == "ppocrv5" and classes == V4_CLASSES:
        family = "ppocrv4"
    return RecModelSpec.model_validate(
        {"family": family, "size": size, "classes": classes, "form": "multi_branch"}
    )


def _v6_size(path: Path, tensors: Mapping[str, Array], *, is_detector: bool) -> Size:
    if "backbone.conv1.0.conv.weight" in tensors:
        raise WeightsError(
            f"{path}: a training checkpoint of the PP-OCRv6 tiny recognizer, in whose head "
            "PaddleOCR's names are not known here; export it with PaddleOCR and give the folder of "
            "the inference model"
        )
    stem = f"backbone.{'stem' if is_detector else 'conv1'}.stem1.conv.weight"
    sizes: dict[int, Size] = (
        {16: "tiny", 24: "small", 64: "medium"} if is_detector else {48: "small", 64: "medium"}
    )
    width = tensors[stem].shape[0] if stem in tensors and tensors[stem].ndim else None
    if width not in sizes:
        allowed = ", ".join(f"{width} ({size})" for width, size in sizes.items())
        raise WeightsError(
            f"{path}: PP-OCRv6, but {stem}, which tells the size, "
            f"{'is missing' if width is None else f'has {width} channels'}; allowed: {allowed}"
        )
    return sizes[width]


def _unknown_network(path: Path, tensors: Mapping[str, Array]) -> WeightsError:
    names = ", ".join(list(tensors)[:3])
    is_optimizer = any(
        re.search(r"_(moment[12]|velocity|beta[12]_pow_acc)_\d+$", n) for n in tensors
    )
    hint = (
        "These are the states of an optimizer (.pdopt): give the .pdparams file beside it"
        if is_optimizer
        else "A network that is not trained here cannot be started from"
    )
    return WeightsError(
        f"{path}: {len(tensors)} tensors ({names}, ...) of no known network; allowed: {_KNOWN}. "
        f"{hint}"
    )


def _check(
    source: str,
    found: _Found,
    places: Mapping[str, str],
    biases: Mapping[str, str],
    unknown: Sequence[str],
    may_be_fresh: tuple[str, ...],
) -> None:
    tensors = found.tensors
    needed = [*places.items(), *biases.items()]
    missing = [
        f"{name} ({ours})"
        for ours, name in needed
        if name not in tensors and not ours.startswith(may_be_fresh)
    ]
    foreign = [*unknown, *found.strangers]
    misfits = [
        f"{bias} {list(tensors[bias].shape)} instead of {list(tensors[places[ours]].shape)}"
        for ours, bias in biases.items()
        if bias in tensors
        and places[ours] in tensors
        and tensors[bias].shape != tensors[places[ours]].shape
    ]
    faults = []
    if missing:
        faults.append(f"{len(missing)} tensors are missing: {_first(missing)}")
    if foreign:
        faults.append(f"{len(foreign)} tensors have no place in the network: {_first(foreign)}")
    if misfits:
        faults.append(f"misshapen: {_first(misfits)}")
    if faults:
        raise WeightsError(
            f"{source}: {'; '.join(faults)}. Is this another architecture of PaddleOCR? Then give "
            "its exported inference model; a missing part may start fresh where may_be_fresh "
            "names it"
        )


def _left_out(spec: Spec, unused: Iterable[str]) -> _LeftOut:
    rest, known = list(unused), []
    for pattern, what in _groups(spec):
        group = {name for name in rest if re.match(pattern, name)}
        rest = [name for name in rest if name not in group]
        if group:
            known.append(f"{len(group)} {what}")
    return _LeftOut(known, rest)


def _groups(spec: Spec) -> list[tuple[str, str]]:
    """Tensors that a checkpoint may hold and nothing here needs."""
    if isinstance(spec, RecModelSpec):
        return [(r"head\.(gtc_head|before_gtc)\.", "of the guiding NRTR decoder")]
    if spec.family == "ppocrv6":
        # cbn_layer would take part in the prediction (PFHeadLocal): not to be left out.
        return [(r"head\.(?!binarize\.|thresh\.|cbn_layer\.)", "of auxiliary heads")]
    # PaddleOCR makes an activation for every unit; those of stride 2 skip it.
    return [
        (r"backbone\.blocks[3-6]\.0\.dw_conv\.act\.lab\.(scale|bias)$", "that PaddleOCR never uses")
    ]


def _say(source: str, left_out: list[str], fresh: int) -> None:
    if left_out:
        _log.warning("%s: tensors left out: %s", source, "; ".join(left_out))
    if fresh:
        _log.warning("%s: %d tensors are not in the file and start fresh", source, fresh)


def _first(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")


class _CTCNames(NamedTuple):
    encoder: str
    output: str


def _ctc_names(tensors: Iterable[str]) -> _CTCNames:
    """Where neck and output of a recognizer are: with several heads, or with one."""
    if any(name.startswith(("head.ctc_encoder.", "head.ctc_head.")) for name in tensors):
        return _CTCNames("head.ctc_encoder.encoder", "head.ctc_head.fc")
    return _CTCNames("neck.encoder", "head.fc")


def _places(spec: Spec, wanted: Iterable[str], tensors: Iterable[str]) -> dict[str, str]:
    """Our name to PaddleOCR's, for all of the network."""
    names = list(wanted)
    v6 = spec.family == "ppocrv6"
    if isinstance(spec, RecModelSpec):
        ctc = _ctc_names(tensors)
        parts = {
            "backbone": _v4_backbone("conv1", "blocks", 2, names) if v6 else _V3_BACKBONE,
            "neck": (*(_LIGHT_SVTR if v6 else _SVTR), ("neck.", f"{ctc.encoder}.")),
            "head": (("head.", f"{ctc.output}."),),
        }
    else:
        parts = {
            "backbone": _v4_backbone("stem", "blocks_s", 1, names) if v6 else _V3_BACKBONE,
            "neck": _v6_pyramid(spec.size) if v6 else _PYRAMID,
            "head": (*_DB_HEAD, ("head.", "head.binarize.")),
            "threshold": (*_DB_HEAD, ("threshold.", "head.thresh.")),
        }
    return {name: _renamed(name, parts[name.partition(".")[0]]) for name in names}


def _folded_biases(spec: Spec, places: Mapping[str, str]) -> dict[str, str]:
    """Our running mean to the bias of the convolution before it: we have none there."""
    if isinstance(spec, RecModelSpec):
        return {}
    return {
        ours: name.replace(".conv_bn2._mean", ".conv2.bias")
        for ours, name in places.items()
        if ours.endswith(".up1.norm._mean")
    }


def _renamed(name: str, rules: _Rules) -> str:
    for ours, theirs in rules:
        pattern = re.escape(ours).replace(r"\#", r"(\d+)")
        name = re.sub(pattern, theirs.replace("#", r"\1"), name, count=1)
    return name


def _gate(theirs: str) -> _Rules:
    return ((".gate.reduce.", f".{theirs}.conv1."), (".gate.expand.", f".{theirs}.conv2."))


_V3_BACKBONE: _Rules = (
    ("backbone.projections.", "backbone.layer_list."),
    ("backbone.backbone.", "backbone."),
    ("backbone.stem.", "backbone.conv1."),
    *((f"backbone.stages.{n}.", f"backbone.blocks{n + 2}.") for n in range(5)),
    (".depthwise.", ".dw_conv."),
    (".pointwise.", ".pw_conv."),
    (".conv.wide.", ".conv_kxk."),
    (".conv.point.", ".conv_1x1."),
    (".conv.shortcut.", ".identity."),
    (".before.", ".lab."),
    (".after.", ".act.lab."),
    *_gate("se"),
    (".norm.", ".bn."),
)


def _v4_backbone(stem: str, stage: str, first: int, names: Iterable[str]) -> _Rules:
    plain = [n.removesuffix("conv.weight") for n in names if n.endswith(".mix_tokens.conv.weight")]
    return (
        # A unit that keeps the shape has branches (rep_dw), one that does not is plain (dw_conv).
        *((unit, unit.replace("mix_tokens", "token_mixer.dw_conv")) for unit in plain),
        (".mix_tokens.wide.", ".token_mixer.rep_dw.conv."),
        (".mix_tokens.point.", ".token_mixer.rep_dw.conv1."),
        (".mix_tokens.", ".token_mixer.rep_dw."),
        ("backbone.stem.first.", f"backbone.{stem}.stem1."),
        ("backbone.stem.left.", f"backbone.{stem}.stem2a."),
        ("backbone.stem.right.", f"backbone.{stem}.stem2b."),
        ("backbone.stem.join.", f"backbone.{stem}.stem3."),
        ("backbone.stem.last.", f"backbone.{stem}.stem4."),
        *((f"backbone.stages.{n}.", f"backbone.{stage}{n + first}.") for n in range(4)),
        *_gate("token_mixer.se"),
        (".widen.", ".channel_mixer.expand."),
        (".narrow.", ".channel_mixer.compress."),
        (".norm.", ".bn."),
    )


_TRANSFORMER: _Rules = (
    ("neck.blocks.", "neck.svtr_block."),
    (".attention.qkv.", ".mixer.qkv."),
    (".attention.project.", ".mixer.proj."),
    (".mlp.widen.", ".mlp.fc1."),
    (".mlp.narrow.", ".mlp.fc2."),
)
_SVTR: _Rules = (
    *_TRANSFORMER,
    ("neck.local.", "neck.conv1."),
    ("neck.widen.", "neck.conv2."),
    ("neck.restore.", "neck.conv3."),
    ("neck.join.", "neck.conv4."),
    ("neck.mix.", "neck.conv1x1."),
)
_LIGHT_SVTR: _Rules = (
    *_TRANSFORMER,
    ("neck.reduce.", "neck.conv_reduce."),
    ("neck.skip.", "neck.skip_conv."),
    ("neck.local.conv.", "neck.local_conv.0."),
    ("neck.local.norm.", "neck.local_conv.1."),
)
_LATERALS: _Rules = (
    ("neck.laterals.#.conv.", "neck.ins_conv.#.in_conv."),
    ("neck.laterals.", "neck.ins_conv."),
    *_gate("se_block"),
)
_PYRAMID: _Rules = (
    ("neck.branches.#.conv.", "neck.inp_conv.#.in_conv."),
    ("neck.branches.", "neck.inp_conv."),
    *_LATERALS,
)
_DILATED: dict[Size, tuple[str, ...]] = {
    "tiny": ("k3_1", "k3_2"),
    "small": ("k5_1", "k3_2", "k3_3"),
    "medium": ("k5_1", "k5_2", "k3_3", "k3_4"),
}
"""Kernel and dilation of the branches beside the large kernel, in the order of ours."""
_PATH_AGGREGATION: _Rules = (
    ("neck.laterals.", "neck.ins_conv."),
    ("neck.inputs.", "neck.inp_conv."),
    ("neck.downs.", "neck.pan_head_conv."),
    ("neck.outputs.", "neck.pan_lat_conv."),
    (".spread.", ".dw."),
    (".mix.conv.", ".pw."),
    (".mix.norm.", ".bn."),
    *((f"neck.contexts.{n}.", f"neck.incl{n + 1}.") for n in range(4)),
    (".reduce.", ".conv1x1_reduce_channel."),
    (".restore.", ".conv1x1_return_channel."),
    *(
        (f".scales.{scale}.{n}.", f".{letter}_layer_{shape}.")
        for scale, k in enumerate((7, 5, 3))
        for n, (letter, shape) in enumerate([("c", f"{k}x{k}"), ("v", f"{k}x1"), ("q", f"1x{k}")])
    ),
    (".norm.", ".bn."),
)
_DB_HEAD: _Rules = (
    (".conv.conv.", ".conv1."),
    (".conv.norm.", ".conv_bn1."),
    (".up1.conv.", ".conv2."),
    (".up1.norm.", ".conv_bn2."),
    (".up2.", ".conv3."),
)


def _v6_pyramid(size: Size) -> _Rules:
    spread: _Rules = (
        (".large.conv.", ".lk_origin."),
        (".large.norm.", ".origin_bn."),
        *((f".dilated.{n}.conv.", f".dil_conv_{name}.") for n, name in enumerate(_DILATED[size])),
        *((f".dilated.{n}.norm.", f".dil_bn_{name}.") for n, name in enumerate(_DILATED[size])),
    )
    if size == "medium":
        return (*spread, *_PATH_AGGREGATION)
    return (
        *spread,
        ("neck.branches.#.spread.", "neck.inp_conv_dw.#."),
        ("neck.branches.#.conv.", "neck.inp_conv_pw.#."),
        ("neck.branches.#.gate.reduce.", "neck.inp_conv_se.#.conv1."),
        ("neck.branches.#.gate.expand.", "neck.inp_conv_se.#.conv2."),
        *_LATERALS,
    )
