"""Memory that runs out in a step, and batches in pieces."""

import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn

from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import TrainingError
from ocr_pipeline.training.batches import sample_count, split_batch
from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.memory import is_out_of_memory
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.stepper import Phases, Stepper
from ocr_pipeline.weights.tensors import get_weights

FLOAT32 = Precision("float32", "a test")


@dataclass(frozen=True)
class Rows:
    values: Tensor
    wanted: Tensor
    share: float = 1.0


class Narrow:
    """A task on a device where only so many rows fit; fails in the backward pass as well."""

    main_metric = "exact"

    def __init__(self, room: int) -> None:
        paddle.seed(3)
        self.network = nn.Linear(3, 1)
        self.room = room
        self.seen: list[int] = []

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        count = sample_count(batch)
        self.seen.append(count)
        total = ((self.network(batch.values) - batch.wanted) ** 2).mean() * batch.share
        if count > self.room:
            total.backward(retain_graph=True)  # what a failed pass leaves must not count
            raise MemoryError("(ResourceExhausted) Fail to alloc memory\n  [Hint: ...]")
        return {"total": total}

    def split(self, batch: Rows, pieces: int) -> Sequence[Rows]:
        return split_batch(batch, pieces)

    def evaluate(self) -> dict[str, float]:
        return {"exact": 0.0}


def rows(count: int) -> Iterator[Rows]:
    step = 0
    while True:
        random = np.random.default_rng(step)
        values = random.normal(size=(count, 3)).astype(np.float32)
        yield Rows(
            paddle.to_tensor(values), paddle.to_tensor(values.sum(axis=1, keepdims=True)), 0.5
        )
        step += 1


def config(**changes: object) -> RecTrainConfig:
    values = {"dataset": "none", "run_dir": "none", "steps": 9, "optim": {"lr": 0.05}}
    return RecTrainConfig.model_validate(values | changes)


def stepper(
    task: Narrow, said: list[str], ranks: Ranks | None = None, **changes: object
) -> Stepper:
    others = {} if ranks is None else {"ranks": ranks}
    return Stepper(task, config(**changes), FLOAT32, said.append, **others)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_that_does_not_fit_goes_through_in_pieces(accumulate: int) -> None:
    said: list[str] = []
    wide, narrow = Narrow(room=100), Narrow(room=3)
    whole = stepper(wide, [], accumulate=accumulate)
    parts = stepper(narrow, said, accumulate=accumulate)
    ours, theirs = rows(7), rows(7)
    for step in range(3):
        one, other = whole.take(step, ours), parts.take(step, theirs)
        assert other.terms["total"] == pytest.approx(one.terms["total"], rel=1e-5)
    for name, value in get_weights(wide.network).items():
        np.testing.assert_allclose(get_weights(narrow.network)[name], value, atol=1e-6)
    assert said == [
        "step 1: memory does not suffice; from now on each batch goes through in 2 pieces",
        "step 1: memory does not suffice; from now on each batch goes through in 4 pieces",
    ]
    assert narrow.seen == [7, 4] + [2, 2, 2, 1] * accumulate * 3


def test_the_pieces_are_remembered() -> None:
    first = stepper(Narrow(room=3), [])
    first.take(0, rows(7))
    assert int(first.state()["run|pieces"]) == 4


def test_a_sample_that_does_not_fit_ends_the_training() -> None:
    with pytest.raises(TrainingError, match=r"step 1: .*single sample \(\(ResourceExhausted\).*"):
        stepper(Narrow(room=0), []).take(0, rows(3))


def test_processes_that_normalise_together_cannot_halve_alone() -> None:
    both = {"distributed": {"sync_norm": True}}
    with pytest.raises(TrainingError, match=r"sync_norm a process cannot halve its batch alone"):
        stepper(Narrow(room=3), [], Ranks(0, 2), **both).take(0, rows(7))


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    class Broken(Narrow):
        def loss(self, batch: Rows) -> dict[str, Tensor]:
            raise RuntimeError("(InvalidArgument) shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        stepper(Broken(9), []).take(0, rows(3))
    assert is_out_of_memory(RuntimeError("ResourceExhaustedError: Out of memory error on GPU 0."))
    assert is_out_of_memory(SystemError("(Fatal) ... Out of memory error on GPU 1. Cannot ..."))


def test_parts_of_a_batch_have_their_share() -> None:
    batch = next(rows(5))
    parts = split_batch(batch, 3)
    assert [sample_count(part) for part in parts] == [2, 2, 1]
    assert [part.share for part in parts] == pytest.approx([0.2, 0.2, 0.1])
    joined = np.concatenate([part.values.numpy() for part in parts])
    assert np.array_equal(joined, batch.values.numpy())
    assert len(split_batch(batch, 8)) == 5


def test_parts_of_a_step_are_timed() -> None:
    waits: list[int] = []
    phases = Phases(lambda: waits.append(1))
    for _ in range(2):
        with phases.measure("reader"):
            pass
    assert len(waits) == 4
    assert set(phases.seconds) == {"reader"}
    done = stepper(Narrow(9), []).take(0, rows(2))
    assert set(done.phases) == {"reader", "forward", "backward", "exchange", "optimizer"}
    assert 0 < sum(done.phases.values()) <= done.seconds


_REAL = """
import resource, sys
import numpy as np, paddle
from tests.training.test_stepper import Rows, Narrow, stepper

class Convolutions(Narrow):
    def __init__(self):
        paddle.seed(0)
        self.network = paddle.nn.Conv2D(3, 32, 3, padding=1)

    def loss(self, batch):
        out = self.network(batch.values).mean(axis=[1, 2, 3], keepdim=True)
        return {"total": ((out - batch.wanted) ** 2).mean() * batch.share}

def batches(count):
    random = np.random.default_rng(0)
    while True:
        values = paddle.to_tensor(random.normal(size=(count, 3, 128, 128)).astype("float32"))
        yield Rows(values, paddle.zeros([count, 1, 1, 1]))

said = []
task = Convolutions()
steps = stepper(task, said)
steps.take(0, batches(1))
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + 200 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
done = steps.take(1, batches(64))  # 64 x 32 x 128 x 128 x 4 bytes = 134 MB a tensor
print(len(said), done.terms["total"])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the limits of Linux")
def test_a_process_that_runs_out_of_memory_for_real_goes_on() -> None:
    assert resource.RLIMIT_AS
    done = subprocess.run(
        [sys.executable, "-c", _REAL], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    halved, loss = done.stdout.split()[-2:]
    assert int(halved) >= 1
    assert 0 <= float(loss) < 1
