"""Learning rate range test (arXiv:1506.01186): raise the rate until the loss grows.

Losses of different batches cannot be compared: widths, texts and sources differ. So the test goes
round a few batches, and each one's loss is told as a share of what it was before the first step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from ocr_pipeline.errors import NotFiniteError, TrainingError
from ocr_pipeline.training.ready import Ready

LOWEST, HIGHEST = 1e-6, 1e-1
_STEPS_PER_ROUND = 8
_DIVERGED = 3.0
"""The test ends where the smoothed loss is so many times its minimum."""
_MARGIN = 10.0
"""The loss is lowest where training is about to become unstable: a tenth of that rate is safe."""
_FEWEST = 3 * _STEPS_PER_ROUND
_FLOOR = 1e-3
"""Of a loss: shares of nothing say nothing."""


@dataclass(frozen=True)
class RateTest:
    """What was seen.

    Attributes:
        rates: of each step, rising evenly in their logarithm.
        losses: at each step, as a share of the same batch's loss before the first one.
        smoothed: geometric mean of the last round, up to each step.
        suggested: peak learning rate for a step of this size.
        diverged: whether the highest rate was too high; else a higher one may do as well.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggested: float
    diverged: bool


def find_rate(ready: Ready, *, steps: int, on_step: Callable[[int, int], None]) -> RateTest:
    """Train with a rate that rises from 1e-6 to 0.1; nothing of it is kept.

    Args:
        ready: a new run.
        steps: at most so many are taken, at least 24.
        on_step: is told (done, of all).

    Raises:
        TrainingError: too few steps, or the loss is not finite from the start.
    """
    if steps < _FEWEST:
        raise TrainingError(f"a rate test of {steps} steps tells nothing; take at least {_FEWEST}")
    stepper = ready.stepper()
    stepper.set_mode(0)
    count = ready.config.accumulate * _STEPS_PER_ROUND
    batches = cycle(list(islice(ready.batches_from(0), count)))
    # Rate 0 leaves the weights as they are; the moments of the optimiser begin with true gradients.
    before = [
        max(_FLOOR, stepper.take(step, batches, lr=0.0).terms["total"])
        for step in range(_STEPS_PER_ROUND)
    ]
    wanted = np.geomspace(LOWEST, HIGHEST, steps).tolist()
    losses: list[float] = []
    smoothed: list[float] = []
    diverged = False
    for step, rate in enumerate(wanted):
        try:
            done = stepper.take(_STEPS_PER_ROUND + step, batches, lr=rate)
        except NotFiniteError:
            if step < _STEPS_PER_ROUND:
                raise
            diverged = True
            break
        losses.append(max(_FLOOR, done.terms["total"]) / before[step % _STEPS_PER_ROUND])
        smoothed.append(float(np.exp(np.mean(np.log(losses[-_STEPS_PER_ROUND:])))))
        on_step(step + 1, steps)
        diverged = step >= _STEPS_PER_ROUND and smoothed[-1] > _DIVERGED * min(smoothed)
        if diverged:
            break
    rates = wanted[: len(losses)]
    first = _STEPS_PER_ROUND - 1
    lowest = int(np.argmin(smoothed[first:])) + first
    return RateTest(rates, losses, smoothed, _rounded(rates[lowest] / _MARGIN), diverged)


def _rounded(rate: float) -> float:
    """To one digit: more is not known."""
    return float(f"{rate:.0e}")
