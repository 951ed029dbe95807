"""Lines of several callers in common batches."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ocr_pipeline.inference.batching import Batcher

WAIT_S = 30
FIRST = (1, ".")


class HeldLane:
    """Computes upper-case letters, one batch at a time; the first one waits until it is let go."""

    def __init__(self, most: int = 3) -> None:
        self.batches: list[str] = []
        self.go = threading.Event()
        self._busy = threading.Event()
        self.batcher: Batcher[str, str] = Batcher(1, lambda width: most, self._compute)
        self._callers = ThreadPoolExecutor(20)
        self.first = self.ask(FIRST)
        assert self._busy.wait(WAIT_S)

    def ask(self, *lines: tuple[int, str]) -> "Future[list[str]]":
        """Ask from a thread of its own, and go on once the lines wait."""
        waiting = self._count()
        answer = self._callers.submit(self.batcher.compute, lines)
        while self._count() < waiting + len(lines) and lines[0] != FIRST:
            pass
        return answer

    def _count(self) -> int:
        return sum(map(len, [*self.batcher._waiting.values()]))

    def _compute(self, lines: Sequence[str]) -> list[str]:
        self._busy.set()
        assert self.go.wait(WAIT_S)
        self.batches.append("".join(lines))
        if "!" in lines:
            raise ValueError("no such line")
        return [line.upper() for line in lines]


def test_lines_of_several_callers_fill_batches_and_each_gets_its_own() -> None:
    lane = HeldLane()
    fills: list[tuple[int, int]] = []
    lane.batcher.on_batch = lambda lines, most: fills.append((lines, most))
    answers = [lane.ask((8, "a"), (8, "b")), lane.ask((8, "c"), (16, "x")), lane.ask((8, "d"))]
    lane.go.set()
    assert [answer.result(WAIT_S) for answer in answers] == [["A", "B"], ["C", "X"], ["D"]]
    assert lane.batches == [".", "abc", "x", "d"]
    assert fills == [(3, 3), (1, 3), (1, 3)]


def test_the_caller_that_came_first_is_served_first_its_dearest_width_before_the_others() -> None:
    lane = HeldLane()
    first = lane.ask((8, "a"), (8, "b"), (64, "x"), (8, "c"), (8, "d"))
    second = lane.ask((64, "y"), (512, "z"))
    lane.go.set()
    assert first.result(WAIT_S) == ["A", "B", "X", "C", "D"]
    assert second.result(WAIT_S) == ["Y", "Z"]
    assert lane.batches == [".", "xy", "abc", "d", "z"]


def test_a_fault_reaches_those_of_its_batch_alone() -> None:
    lane = HeldLane()
    answers = [lane.ask((8, "a")), lane.ask((8, "!")), lane.ask((16, "b"))]
    lane.go.set()
    for answer in answers[:2]:
        with pytest.raises(ValueError, match="no such line"):
            answer.result(WAIT_S)
    assert answers[2].result(WAIT_S) == ["B"]


def test_nothing_is_asked_and_nothing_waits() -> None:
    lane = HeldLane()
    lane.go.set()
    assert lane.first.result(WAIT_S) == ["."]
    assert lane.batcher.compute([]) == []


def test_many_callers_on_several_lanes_get_their_own() -> None:
    batcher: Batcher[int, int] = Batcher(3, lambda width: 4, lambda lines: [-x for x in lines])
    asked = [[(1 + n % 5, 100 * n + at) for at in range(n % 17)] for n in range(300)]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(batcher.compute, asked))
    assert answers == [[-content for _, content in lines] for lines in asked]


def test_no_batch_is_dearer_than_a_lanes_share_of_what_waits() -> None:
    """Two lanes: of the last lines one takes some, and the other the rest."""
    both, go = threading.Barrier(3), threading.Event()
    lock, batches = threading.Lock(), list[Sequence[int]]()

    def compute(lines: Sequence[int]) -> Sequence[int]:
        if not go.is_set():  # both lanes are held
            both.wait(WAIT_S)
            assert go.wait(WAIT_S)
        else:
            with lock:
                batches.append(lines)
        return lines

    batcher: Batcher[int, int] = Batcher(2, lambda width: 8, compute)
    with ThreadPoolExecutor(3) as callers:
        held = [callers.submit(batcher.compute, [(width, 0)]) for width in (1, 2)]
        both.wait(WAIT_S)
        asked = [(100, n) for n in range(20)] + [(30, n) for n in range(20, 26)]
        answer = callers.submit(batcher.compute, asked)
        while sum(map(len, [*batcher._waiting.values()])) < len(asked):
            pass
        go.set()
        assert answer.result(WAIT_S) == [n for _, n in asked]
        for each in held:
            each.result(WAIT_S)
    # 2,180 left, so a share of 1,090; then 690, 390, 240; 140 for four narrow ones, and so on.
    assert sorted(map(list, batches)) == [
        list(range(8)),
        list(range(8, 14)),
        [14, 15, 16],
        [17, 18],
        [19],
        [20, 21, 22, 23],
        [24],
        [25],
    ]
