"""TensorRT engines: for which shapes they are built, and what they may be used with.

An engine belongs to one GPU, one set of versions, one file of weights. It is built at export, or by
``deploy/tensorrt/build_engine.py``, never in a request; one that was built for anything else is
refused by name. Neither Paddle nor TensorRT is imported here.

Unproven: no machine with an NVIDIA GPU has run what is built with this.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ocr_pipeline.assets import cache_dir, sha256_of
from ocr_pipeline.config.image import DetImageSpec
from ocr_pipeline.config.model import ModelSpec, RecModelSpec
from ocr_pipeline.errors import EngineError
from ocr_pipeline.gpu import Gpu, nvidia_gpus
from ocr_pipeline.versions import installed_versions

Kind = Literal["plan", "program"]
"""plan: a file of TensorRT itself; program: of Paddle Inference, with the engine inside."""
TensorRTPrecision = Literal["fp32", "fp16"]
Shape = tuple[int, int, int, int]

PLAN = "model.plan"
FACTS = "engine.json"
_PACKAGES = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "paddlepaddle-gpu")
_DET_STEPS = (960, 1920)
"""Longest sides up to which a detector has a profile of its own, px."""


@dataclass(frozen=True)
class Profile:
    """Shapes ``[N, 3, H, W]`` that one set of kernels is chosen for: smallest, usual, largest."""

    least: Shape
    usual: Shape
    most: Shape

    def holds(self, shape: Shape) -> bool:
        """Whether an input of this shape can be run."""
        ends = zip(self.least, shape, self.most, strict=True)
        return all(low <= side <= high for low, side, high in ends)


@dataclass(frozen=True)
class EngineFacts:
    """All that an engine depends on.

    Attributes:
        kind: see :data:`Kind`.
        weights: sha256 of the file that it is built from.
        gpu: name.
        capability: compute capability of the GPU.
        driver: version of the driver.
        versions: of TensorRT and Paddle, those that are installed.
        precision: of the numbers.
        profiles: shapes.
    """

    kind: Kind
    weights: str
    gpu: str
    capability: str
    driver: str
    versions: dict[str, str]
    precision: TensorRTPrecision
    profiles: tuple[Profile, ...]

    def key(self) -> str:
        """Changes with every one of them."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def profiles(model: ModelSpec, *, batch: int, max_side: int | None = None) -> tuple[Profile, ...]:
    """Shapes that a model is asked for, from its card.

    A recognizer gets one profile for buckets that lie within a factor of two; a detector one for
    pages of up to 960 px, of up to 1920 px, and of all that its card allows.

    Args:
        model: of the card.
        batch: lines that are recognised together, at most; a detector takes one page.
        max_side: detectors: no page is larger, px; None: as the card says.

    Raises:
        EngineError: ``batch`` or ``max_side`` out of range.
    """
    if batch < 1:
        raise EngineError(f"batch {batch}: at least 1 line is recognised")
    if not isinstance(model, RecModelSpec):
        return _page_profiles(model.image, max_side)
    if max_side is not None:
        raise EngineError("max_side is for detectors; a recognizer's widths are in its card")
    rule = model.image
    found, low = [], rule.min_width
    while low <= rule.max_width:
        reach = max(low, min(2 * low, rule.max_width))
        steps = (reach - rule.min_width) // rule.width_step
        high = min(rule.min_width + steps * rule.width_step, rule.max_width)
        if rule.max_width - high < rule.width_step:  # the widest bucket may be off the grid
            high = rule.max_width
        found.append(
            Profile(
                (1, 3, rule.height, low),
                (batch, 3, rule.height, low),
                (batch, 3, rule.height, high),
            )
        )
        low = high + rule.width_step
    return tuple(found)


def _page_profiles(rule: DetImageSpec, max_side: int | None) -> tuple[Profile, ...]:
    most = rule.max_side // rule.multiple * rule.multiple
    if max_side is not None:
        if not rule.multiple <= max_side <= rule.max_side:
            raise EngineError(
                f"max_side {max_side}: allowed is {rule.multiple} to {rule.max_side} px, the "
                "model's own limit"
            )
        most = max_side // rule.multiple * rule.multiple
    sides = [side for side in _DET_STEPS if side < most] + [most]
    least = (1, 3, rule.multiple, rule.multiple)
    return tuple(Profile(least, (1, 3, side, side), (1, 3, side, side)) for side in sides)


def merged(parts: Sequence[Profile]) -> Profile:
    """One profile for all of their shapes; its usual shape is the first one's."""
    return Profile(parts[0].least, parts[0].usual, parts[-1].most)


def engine_facts(
    source: Path, kind: Kind, precision: TensorRTPrecision, shapes: Sequence[Profile]
) -> EngineFacts:
    """What an engine built from ``source`` on this machine would depend on.

    Args:
        source: ``model.onnx`` (plan) or ``inference.pdiparams`` (program).

    Raises:
        EngineError: no GPU here, no TensorRT (or Paddle for GPUs), or the file is absent.
    """
    if not source.is_file():
        raise EngineError(f"{source}: no such file; export the model with --to static,onnx first")
    gpu = _gpu()
    versions = installed_versions(_PACKAGES)
    needed = "paddlepaddle-gpu" if kind == "program" else "tensorrt"
    if not any(name.startswith(needed) for name in versions):
        raise EngineError(
            f"{needed} is not installed, so there is no TensorRT engine; install it on the machine "
            "with the GPU, or set engine.variant to another one"
        )
    return EngineFacts(
        kind=kind,
        weights=sha256_of(source),
        gpu=gpu.name,
        capability=gpu.capability,
        driver=gpu.driver,
        versions=versions,
        precision=precision,
        profiles=tuple(shapes),
    )


def _gpu() -> Gpu:
    found = nvidia_gpus()
    if isinstance(found, str):
        raise EngineError(f"TensorRT needs an NVIDIA GPU: {found}; see ocr-pipeline doctor")
    if not found:
        raise EngineError(
            "TensorRT needs an NVIDIA GPU, and there is none here (nvidia-smi is absent or names "
            "none); build and serve on the machine that has it"
        )
    return found[0]


def engine_folder(facts: EngineFacts, cache: Path | None = None) -> Path:
    """Where the engine with these facts is, or will be."""
    return (cache or cache_dir() / "tensorrt") / facts.key()


def write_facts(facts: EngineFacts, folder: Path) -> None:
    """Write beside an engine what it was built for, and the sha256 of its files; last of all."""
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != FACTS}
    text = json.dumps({"facts": asdict(facts), "files": files}, indent=2)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")


def check_engine(folder: Path, facts: EngineFacts) -> None:
    """Refuse an engine that was built for something else, or has changed since.

    Raises:
        EngineError: names each fact that differs, then and now; or the files that changed.
    """
    build = "build it here: python deploy/tensorrt/build_engine.py MODEL"
    path = folder / FACTS
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        built, files = dict(card["facts"]), dict(card["files"])
    except FileNotFoundError:
        raise EngineError(f"{folder}: holds no TensorRT engine; {build}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(f"{path}: cannot be read ({error}); {build}") from None
    now = json.loads(json.dumps(asdict(facts)))
    stale = [name for name in now if built.get(name) != now[name]]
    if stale:
        told = "; ".join(f"{name} {_told(built, name)}, now {_told(now, name)}" for name in stale)
        raise EngineError(f"{folder}: built for {told}; {build}")
    changed = [
        name
        for name, digest in files.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]
    if changed or not files:
        raise EngineError(
            f"{folder}: {', '.join(changed) or 'its engine'} changed or absent since it was "
            f"built; {build}"
        )


def _told(card: dict[str, Any], name: str) -> str:
    value = card.get(name)
    if name == "weights":
        return str(value)[:12]
    if isinstance(value, dict):
        return ", ".join(f"{key} {word}" for key, word in value.items()) or "none"
    if isinstance(value, list):
        return f"{len(value)} profiles {json.dumps(value)[:120]}"
    return str(value)
