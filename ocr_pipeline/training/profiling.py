"""Where the time of a training step goes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import paddle
from paddle import Tensor

from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.training.memory import wait_for_device
from ocr_pipeline.training.ready import Ready
from ocr_pipeline.training.stepper import Phases

PHASES = ("reader", "copy to device", "forward", "backward", "exchange", "optimizer")
TRACE_NAME = "trace.json"
_WARMUP = 5
_TRACED = 3
_READER_BOUND = 0.2
_EXCHANGE_BOUND = 0.2
_OPTIMIZER_BOUND = 0.2


@dataclass(frozen=True)
class StepProfile:
    """What was measured.

    Attributes:
        steps: that were.
        seconds: median of a step.
        shares: of the time, by name of :data:`PHASES`; the rest is bookkeeping.
        advice: one sentence.
        trace: file for a trace viewer, such as chrome://tracing.
    """

    steps: int
    seconds: float
    shares: dict[str, float]
    advice: str
    trace: Path


def profile_steps(
    ready: Ready, folder: Path, *, steps: int, on_step: Callable[[int, int], None]
) -> StepProfile:
    """Take steps that nothing is kept of.

    The device is waited for after each part, which makes steps on GPU a little longer than they are
    in training. The first 5 are not measured; 3 more are taken for the trace.

    Args:
        ready: a run that is ready.
        folder: gets the trace.
        steps: measured.
        on_step: is told (done, of all).
    """
    stepper = ready.stepper(wait_for_device)
    stepper.set_mode(0)
    copies = Phases(wait_for_device)
    batches = _copied(ready.batches_from(0), copies)
    total = _WARMUP + steps + _TRACED
    rows: list[dict[str, float]] = []
    lengths: list[float] = []
    for step in range(_WARMUP + steps):
        copies.seconds.clear()
        done = stepper.take(step, batches)
        on_step(step + 1, total)
        if step >= _WARMUP:
            copy = copies.seconds.get("copy to device", 0.0)
            # The batch was on the device already when it came; it went there once more to be timed.
            reader = max(0.0, done.phases["reader"] - 2 * copy)
            rows.append({**done.phases, "reader": reader, "copy to device": copy})
            lengths.append(done.seconds - copy)
    trace = _trace(lambda step: stepper.take(step, batches), folder, _WARMUP + steps)
    on_step(total, total)
    whole = sum(lengths)
    shares = {name: sum(row.get(name, 0.0) for row in rows) / whole for name in PHASES}
    return StepProfile(
        steps, median(lengths), shares, advice(shares, ready.config, ready.ranks.world), trace
    )


def advice(shares: dict[str, float], config: TrainConfig, world: int) -> str:
    """What to change first.

    Args:
        shares: of the time of a step, by name of :data:`PHASES`.
        config: of the training.
        world: number of processes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    computing = shares["forward"] + shares["backward"]
    if shares["reader"] >= _READER_BOUND:
        workers = config.loader.workers
        return (
            f"reader-bound {shares['reader']:.0%}: raise loader.workers (now {workers}, the "
            f"machine has {cores} cores), or prepare the dataset with --pack if its pictures come "
            "from a network"
        )
    if shares["exchange"] >= _EXCHANGE_BOUND and world > 1:
        return (
            f"exchange-bound {shares['exchange']:.0%}: raise batch or accumulate, so that "
            f"{world} processes meet less often"
        )
    if shares["optimizer"] >= _OPTIMIZER_BOUND:
        return (
            f"optimizer-bound {shares['optimizer']:.0%}: raise batch or accumulate, so that there "
            "are fewer steps; charset new with fewer classes makes the head smaller"
        )
    device = paddle.device.get_device()
    if device.startswith("gpu"):
        return (
            f"compute-bound {computing:.0%}, as it should be; find_batch=true fills the GPU, and "
            "amp uses its faster arithmetic"
        )
    return (
        f"compute-bound {computing:.0%}, as it should be; on {device} a GPU, a smaller start model "
        "or narrower buckets (image.min_width, image.width_step) make steps shorter"
    )


def _copied(batches: Iterator[Any], phases: Phases) -> Iterator[Any]:
    """Copy each batch from and to the device once more, and measure it; on CPU nothing."""
    on_gpu = paddle.device.get_device().startswith("gpu")
    for batch in batches:
        if not on_gpu:
            yield batch
            continue
        tensors = {f.name: getattr(batch, f.name) for f in fields(batch)}
        host = {name: t.cpu() for name, t in tensors.items() if isinstance(t, Tensor)}
        with phases.measure("copy to device"):
            moved = {name: tensor.cuda() for name, tensor in host.items()}
        yield replace(batch, **moved)


def _trace(take: Callable[[int], object], folder: Path, first: int) -> Path:
    from paddle import profiler

    targets = [profiler.ProfilerTarget.CPU]
    if paddle.device.get_device().startswith("gpu"):
        targets.append(profiler.ProfilerTarget.GPU)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TRACE_NAME
    # Without a handler Paddle writes into a folder of its own, where the command was given.
    with profiler.Profiler(targets=targets, on_trace_ready=lambda _: None) as recorder:
        for step in range(first, first + _TRACED):
            take(step)
            recorder.step()
    recorder.export(path=str(path), format="json")
    return path
