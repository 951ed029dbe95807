"""Which engine serves: the fastest of those that say the same on this machine, by measuring."""

import hashlib
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.artifacts.exported import CARD_NAME, ExportedModel
from ocr_pipeline.assets import cache_dir, sha256_of, write_atomically
from ocr_pipeline.config.engine import AUTO, EngineConfig
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.variant import Variant
from ocr_pipeline.errors import ConfigError, EngineError
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.inference.engine import Engine, compute
from ocr_pipeline.inference.load import detector_of, open_engine, recognizer_of, self_test
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.versions import installed_versions

_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "openvino", "onnxruntime", "numpy")
_BY_HAND = ("lite", "tensorrt")
"""Taken where asked for by name only: one is for other machines, one is built for one GPU."""
_ROUNDS = 9
_PAGE = (736, 736)
_LINE_WIDTH = 320
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One form of a model on this machine.

    Attributes:
        variant: its name.
        milliseconds: median of a page of 736 x 736 px (detector), or of a full batch of lines of
            320 px (recognizer); None where it was not timed.
        refused: why it does not serve; None where it could.
    """

    variant: str
    milliseconds: float | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Decision:
    """What serves, and why.

    Attributes:
        chosen: name of the variant.
        candidates: all that were looked at, in the order of the card.
        reason: one sentence.
    """

    chosen: str
    candidates: Sequence[Candidate]
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Opened:
    """An engine that has passed its self-test, and how it was chosen."""

    engine: Engine
    decision: Decision


def load_detector(model: ExportedModel, config: EngineConfig) -> Detector:
    """Load an exported detector with the best engine.

    Raises:
        ArtifactError: the model is a recognizer, or was not exported as asked.
        EngineError: no engine passes.
    """
    return detector_of(model, open_best(model, config).engine, config)


def load_recognizer(model: ExportedModel, config: EngineConfig) -> Recognizer:
    """Load an exported recognizer with the best engine; see :func:`load_detector`."""
    return recognizer_of(model, open_best(model, config).engine, config)


def open_best(model: ExportedModel, config: EngineConfig) -> Opened:
    """Open the engine that serves this model on this machine; it has passed the self-test.

    What was measured is kept in the cache, for this machine, these versions and these files.

    Raises:
        ArtifactError: the model was not exported as ``config.variant``.
        EngineError: no engine passes; each refusal is named.
    """
    return _open(model, config, _decided(model, config))


def open_pair(
    detector: ExportedModel, recognizer: ExportedModel, config: EngineConfig
) -> tuple[Opened, Opened]:
    """Open the engines of two models as :func:`open_best` does, and sooner.

    On two threads, where it is known before that OpenVINO serves both: engines that are timed want
    the machine for themselves, and of the others it is not known that they can.
    """
    models = (detector, recognizer)
    decisions = [_decided(model, config) for model in models]
    beside = all(d is not None and d.chosen.startswith("openvino") for d in decisions)
    given = (models, [config, config], decisions)
    if not beside:
        finding, reading = map(_open, *given)
        return finding, reading
    with ThreadPoolExecutor(2, "open") as threads:
        finding, reading = threads.map(_open, *given)
    return finding, reading


def _decided(model: ExportedModel, config: EngineConfig) -> Decision | None:
    """Which engine serves, where that takes no measuring."""
    if config.variant != AUTO:
        name = Variant.parse(config.variant).name
        return Decision(name, [Candidate(name)], "set by hand")
    names = _names(model)
    if len(names) == 1:
        return Decision(names[0], [Candidate(names[0])], "exported as no other")
    return _remembered(_kept_at(model, config))


def _open(model: ExportedModel, config: EngineConfig, decision: Decision | None) -> Opened:
    """Open what was decided; measure where nothing was, or where that does not serve any more."""
    if decision is not None:
        try:
            engine = _tested(model, Variant.parse(decision.chosen), config)
        except EngineError as error:
            if len(decision.candidates) == 1:  # there is no other
                raise
            _log.warning("%s chosen before does not serve any more: %s", decision.chosen, error)
        else:
            if len(decision.candidates) > 1:
                _log.info("%s: %s", model.card.name, decision.reason)
            return Opened(engine, decision)
    opened = _measured(model, config, _names(model))
    _remember(_kept_at(model, config), opened.decision)
    _log.info("%s: %s", model.card.name, opened.decision.reason)
    return opened


def _names(model: ExportedModel) -> list[str]:
    """Of the forms to choose from."""
    return [name for name in model.card.backends if not name.startswith(_BY_HAND)]


def _kept_at(model: ExportedModel, config: EngineConfig) -> Path:
    """Where the choice for this model is kept."""
    return cache_dir() / "engines" / f"{_key(model, config)}.json"


def _tested(model: ExportedModel, variant: Variant, config: EngineConfig) -> Engine:
    engine = open_engine(model, variant, config)
    self_test(model, engine, variant, config)
    return engine


def _measured(model: ExportedModel, config: EngineConfig, names: Sequence[str]) -> Opened:
    engines: dict[str, Engine] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            engines[name] = _tested(model, Variant.parse(name), config)
        except EngineError as error:
            refused[name] = str(error)
            _log.warning("%s does not serve: %s", name, error)
    if not engines:
        told = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise EngineError(f"{model.folder}: no engine can serve it on this machine: {told}")
    images = _timing_input(model, config)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(_ROUNDS + 1):  # in turn: a busy machine is busy for all of them
        for name, engine in engines.items():
            started = time.perf_counter()
            compute(engine, images)
            if number:
                times[name].append(1000 * (time.perf_counter() - started))
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    chosen = min(medians, key=lambda name: medians[name])
    candidates = [Candidate(name, medians.get(name), refused.get(name)) for name in names]
    reason = f"{chosen} serves: {_told(candidates)}"
    return Opened(engines[chosen], Decision(chosen, candidates, reason))


def _told(candidates: Sequence[Candidate]) -> str:
    return ", ".join(
        f"{c.variant} refused" if c.milliseconds is None else f"{c.variant} {c.milliseconds:g} ms"
        for c in candidates
    )


def _timing_input(model: ExportedModel, config: EngineConfig) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    spec = model.card.model
    shape: tuple[int, ...] = (1, 3, *_PAGE)
    if isinstance(spec, RecModelSpec):
        shape = (config.rec_batch, 3, spec.image.height, _LINE_WIDTH)
    return random.uniform(-1, 1, shape).astype(np.float32)


def _key(model: ExportedModel, config: EngineConfig) -> str:
    """Of everything that a measurement depends on."""
    facts = {
        "card": sha256_of(model.folder / CARD_NAME),
        "engine": config.model_dump(mode="json", exclude={"tiling"}),
        "machine": [platform.machine(), _processor(), os.cpu_count()],
        "versions": installed_versions(_PACKAGES),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _processor() -> str:
    """What the CPU calls itself, with the features that engines look for."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    seen = {line.split(":")[0].strip(): line for line in lines if line.startswith(wanted)}
    return "\n".join(seen.values())


def _remembered(path: Path) -> Decision | None:
    """What was chosen before."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        candidates = [Candidate(**candidate) for candidate in kept["candidates"]]
        chosen = Variant.parse(kept["chosen"]).name
        return Decision(chosen, candidates, f"{kept['reason']} (measured before)")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, ConfigError) as error:
        _log.warning("%s: not readable, so engines are measured again: %s", path, error)
        return None


def _remember(path: Path, decision: Decision) -> None:
    """Keep it for the next start; a cache that cannot be written costs time, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(decision.as_dict()).encode())
    except OSError as error:
        _log.warning("%s: the choice of the engine is not kept: %s", path, error)
