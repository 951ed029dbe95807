"""A model in another training form, with branches for training, or with another character set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import paddle
from numpy.typing import NDArray

from ocr_pipeline.artifacts.checkpoint import Tensors
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import WeightsError
from ocr_pipeline.models.build import build_network
from ocr_pipeline.models.layers import FoldableConv, named_units
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.nrtr_tokens import token_count
from ocr_pipeline.weights.tensors import get_weights, set_weights
from ocr_pipeline.weights.trainable import TrainableModel

CharsetMode = Literal["fail", "union", "new"]
_TOKENS_BEFORE_TEXT = 4
_SHOWN = 20


def with_spec(model: TrainableModel, spec: DetModelSpec | RecModelSpec) -> TrainableModel:
    """Return ``model`` as ``spec`` says, computing the same in evaluation mode.

    Units of another training form take over the folded kernels; branches for training that the
    model lacks start fresh, and those that ``spec`` lacks are left out. Input and output rules are
    the caller's to choose.

    Raises:
        WeightsError: another family, size or number of classes.
    """
    before, after = _identity(model.spec), _identity(spec)
    if before != after:
        raise WeightsError(f"the model is {before}, it cannot become {after}")
    network = build_network(spec)
    old_units, new_units = dict(named_units(model.network)), dict(named_units(network))
    old = get_weights(model.network)
    kept = {name: tensor for name, tensor in old.items() if name in network.state_dict()}
    changed = [
        name
        for name, unit in new_units.items()
        if name in old_units and type(unit) is not type(old_units[name])
    ]
    prefixes = tuple(f"{name}." for name in changed)
    kept = {name: tensor for name, tensor in kept.items() if not name.startswith(prefixes)}
    fresh = (*prefixes, *network.TRAINING_ONLY) if prefixes else network.TRAINING_ONLY
    set_weights(network, kept, source=model.started_from, may_be_fresh=fresh)
    with paddle.no_grad():
        for name in changed:
            _hand_over(old_units[name], new_units[name])
    network.eval()
    return replace(model, spec=spec, network=network)


def _hand_over(old: FoldableConv, new: FoldableConv) -> None:
    weight, bias = old.folded()
    new.set_folded(weight.astype(np.float32), bias.astype(np.float32))


def _identity(spec: DetModelSpec | RecModelSpec) -> str:
    classes = f" of {spec.classes} classes" if isinstance(spec, RecModelSpec) else ""
    return f"{spec.family} {spec.size} {spec.task}{classes}"


@dataclass(frozen=True)
class CharsetChange:
    """What a change of the character set did.

    Attributes:
        kept: characters whose weights were moved.
        new: characters with fresh weights.
        dropped: characters that the network can no longer read.
    """

    kept: int
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def sentence(self) -> str:
        """One line for a log."""
        return (
            f"{self.kept:,} characters kept, {len(self.new):,} new"
            f"{_some(self.new)}, {len(self.dropped):,} dropped{_some(self.dropped)}"
        )


def with_charset(
    model: TrainableModel, charset: Charset, mode: CharsetMode
) -> tuple[TrainableModel, CharsetChange]:
    """Return a recognizer that reads ``charset``; weights move with their characters.

    Blank and space stay what they are. A new character starts as the mean of all characters, so it
    is never the likeliest one before it has been trained.

    Args:
        model: a recognizer.
        charset: of the result.
        mode: ``fail`` allows no change, ``union`` new characters only, ``new`` any.

    Raises:
        WeightsError: a detector, a change that ``mode`` does not allow (what changes is said), or
            no character in common.
    """
    if not isinstance(model.spec, RecModelSpec) or model.charset is None:
        raise WeightsError(f"{model.started_from}: a detector has no character set")
    old = model.charset
    known = set(old.dictionary)
    wanted = set(charset.dictionary)
    change = CharsetChange(
        kept=len(known & wanted),
        new=tuple(entry for entry in charset.dictionary if entry not in known),
        dropped=tuple(entry for entry in old.dictionary if entry not in wanted),
    )
    if charset == old:
        return model, change
    _check_allowed(model.started_from, old, charset, change, mode)
    spec = model.spec.model_copy(update={"classes": charset.classes})
    network = build_network(spec)
    tensors = get_weights(model.network)
    source = [old.index(entry) for entry in charset.dictionary]
    rows: list[int | None] = [0, *source, old.classes - 1]
    _move(tensors, "head.", rows)
    if spec.guide:
        shift = token_count(0)
        tokens = [*range(_TOKENS_BEFORE_TEXT), *(r if r is None else r + shift for r in rows[1:])]
        _move(tensors, "guide.head.", tokens)
        tensors["guide.embed.weight"] = _taken(tensors["guide.embed.weight"], tokens, axis=0)
    set_weights(network, tensors, source=model.started_from)
    network.eval()
    return replace(model, spec=spec, network=network, charset=charset), change


def _check_allowed(
    name: str, old: Charset, charset: Charset, change: CharsetChange, mode: CharsetMode
) -> None:
    if not change.kept:
        raise WeightsError(
            f"{name}: shares no character with the dataset's {len(charset.dictionary)}; the head "
            "would start from nothing. Check the dictionary file"
        )
    if mode == "fail":
        raise WeightsError(
            f"{name}: has {old.classes} classes, the dataset {charset.classes} "
            f"({change.sentence()}); prepare again with this model, or set charset=union (more "
            "characters) or charset=new (any change)"
        )
    if mode == "union" and change.dropped:
        raise WeightsError(
            f"{name}: charset=union keeps every character, the dataset's set lacks some "
            f"({change.sentence()}); prepare with dictionary.mode=union, or set charset=new"
        )


def _move(tensors: Tensors, prefix: str, rows: Sequence[int | None]) -> None:
    """Rearrange the outputs of a linear layer."""
    tensors[f"{prefix}weight"] = _taken(tensors[f"{prefix}weight"], rows, axis=1)
    if f"{prefix}bias" in tensors:
        tensors[f"{prefix}bias"] = _taken(tensors[f"{prefix}bias"], rows, axis=0)


def _taken(
    array: NDArray[np.float32], rows: Sequence[int | None], *, axis: int
) -> NDArray[np.float32]:
    """``array`` along ``axis`` in the order of ``rows``; None: the mean of all characters."""
    characters = np.delete(array, 0, axis=axis)
    extended = np.concatenate([array, characters.mean(axis=axis, keepdims=True)], axis=axis)
    last = array.shape[axis]
    indices = [last if row is None else row for row in rows]
    return np.ascontiguousarray(np.take(extended, indices, axis=axis), dtype=np.float32)


def _some(entries: Sequence[str]) -> str:
    if not entries:
        return ""
    more = " ..." if len(entries) > _SHOWN else ""
    return f" ({''.join(entries[:_SHOWN])}{more})"
