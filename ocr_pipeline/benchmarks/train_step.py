"""Wall time of one training step against the ``ppocr`` training code, on CPU."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from ocr_pipeline.benchmarks.interleave import Side, Step, take_turns
from ocr_pipeline.benchmarks.ppocr import ppocr_folder
from ocr_pipeline.benchmarks.statistics import Estimate, median_ratio
from ocr_pipeline.errors import ConfigError

FORMS = ("calibrated", "multi_branch")
CLASSES = {
    "ppocrv4_mobile_rec": 6625,
    "ppocrv5_mobile_rec": 18385,
    "ppocrv6_tiny_rec": 6906,
    "ppocrv6_small_rec": 18710,
}
"""Networks that can be timed, and the K of their heads."""
COMPARED = "ppocrv4_mobile_rec"
"""The network that ppocr 2.10 has as well; the others are timed alone."""
PPOCR_SIDE = "ppocr"
PPOCR_TUNED_SIDE = "ppocr, our settings"
_WIDTH_STEP = 8
_MIN_WIDTH = 16


@dataclass(frozen=True)
class TrainStepPlan:
    """What is measured.

    Attributes:
        network: of :data:`CLASSES`.
        forms: training forms of ours, one side each.
        steps: measured steps a side.
        warmup: steps a side before that.
        batch: lines a step.
        width: of the pictures, px; their height is 48.
        threads: of OpenMP, on each side.
        tuned: one more side: ppocr with the environment and the allocator that ours sets.

    Raises:
        ConfigError: a value that cannot be measured; all of them in one message.
    """

    network: str = COMPARED
    forms: tuple[str, ...] = ("calibrated",)
    steps: int = 12
    warmup: int = 3
    batch: int = 16
    width: int = 320
    threads: int = 2
    tuned: bool = True

    def __post_init__(self) -> None:
        faults = []
        if self.network not in CLASSES:
            faults.append(f"network {self.network!r}; allowed: {', '.join(CLASSES)}")
        faults += [
            f"form {form!r}; allowed: {', '.join(FORMS)}"
            for form in self.forms
            if form not in FORMS
        ]
        if len(set(self.forms)) < len(self.forms):
            faults.append(f"form {','.join(self.forms)}; allowed: each once")
        if self.width < _MIN_WIDTH or self.width % _WIDTH_STEP:
            faults.append(
                f"width {self.width}; allowed: multiples of {_WIDTH_STEP} px, from {_MIN_WIDTH}"
            )
        if faults:
            raise ConfigError("; ".join(faults))


class SideResult(NamedTuple):
    """One side: medians over its steps, and its time as a share of ppocr's (None: alone)."""

    name: str
    seconds: float
    cpu_seconds: float
    parameters: int
    last_loss: float
    against_ppocr: Estimate | None
    against_tuned: Estimate | None


def run_train_step(
    plan: TrainStepPlan,
    environment: dict[str, str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[SideResult]:
    """Let all sides of ``plan`` take turns.

    Args:
        plan: what is measured.
        environment: what ours sets for itself before Paddle is imported; ppocr runs without it.
        on_progress: called with (rounds done, rounds in all).

    Raises:
        AssetError: ppocr's wheel cannot be had.
        TrainingError: a side fails.
    """
    steps, said = take_turns(
        _sides(plan, environment), steps=plan.steps, warmup=plan.warmup, on_progress=on_progress
    )
    return [
        SideResult(
            name=name,
            seconds=median(step.seconds for step in taken),
            cpu_seconds=median(step.cpu_seconds for step in taken),
            parameters=int(said[name]["parameters"]),
            last_loss=taken[-1].loss,
            against_ppocr=_ratio(steps, name, PPOCR_SIDE),
            against_tuned=_ratio(steps, name, PPOCR_TUNED_SIDE),
        )
        for name, taken in steps.items()
    ]


def _sides(plan: TrainStepPlan, environment: dict[str, str]) -> list[Side]:
    threads = {"OMP_NUM_THREADS": str(plan.threads)}
    # ppocr's users get none of what our command line sets: an empty value takes it away.
    plain = {**dict.fromkeys(environment, ""), **threads}
    tuned = {**environment, **threads}
    sides = [Side(f"ours, {form}", _command(plan, form, "tuned"), tuned) for form in plan.forms]
    if plan.network == COMPARED:
        ppocr_folder()  # before any process starts: fetching is not measured, nor its faults lost
        sides.append(Side(PPOCR_SIDE, _command(plan, "ppocr", "plain"), plain))
        if plan.tuned:
            sides.append(Side(PPOCR_TUNED_SIDE, _command(plan, "ppocr", "tuned"), tuned))
    return sides


def _command(plan: TrainStepPlan, what: str, settings: str) -> list[str]:
    worker = [sys.executable, "-m", "ocr_pipeline.benchmarks.train_step_worker", what]
    return [*worker, settings, plan.network, str(plan.batch), str(plan.width)]


def _ratio(steps: dict[str, list[Step]], name: str, other: str) -> Estimate | None:
    if other not in steps or name == other:
        return None
    return median_ratio(_seconds(steps[name]), _seconds(steps[other]))


def _seconds(steps: Sequence[Step]) -> list[float]:
    return [step.seconds for step in steps]
