"""Whose turn it is among the urgent and the others."""

from dataclasses import dataclass

import pytest

from ocr_pipeline.serving.turns import Turns


@dataclass(eq=False)
class Job:
    name: str

    @property
    def urgent(self) -> bool:
        return self.name.isupper()


def waiting(names: str) -> Turns[Job]:
    turns: Turns[Job] = Turns()
    for name in names:
        turns.append(Job(name))
    return turns


def order(turns: Turns[Job]) -> str:
    return "".join(turns.take().name for _ in range(len(turns)))


@pytest.mark.parametrize(
    ("come", "go"),
    [
        ("", ""),
        ("abc", "abc"),
        ("ABCDEF", "ABCDEF"),
        ("abA", "Aab"),
        ("abABCDEFGHIJ", "ABCDaEFGHbIJ"),
        ("aABCDEb", "ABCDaEb"),
    ],
)
def test_urgent_ones_go_first_and_every_fifth_turn_is_of_the_others(come: str, go: str) -> None:
    assert order(waiting(come)) == go


def test_turns_count_only_while_others_wait() -> None:
    turns = waiting("ABCD")
    assert order(turns) == "ABCD"
    for name in "aEFGHI":
        turns.append(Job(name))
    assert order(turns) == "EFGHaI"


def test_what_was_done_in_vain_is_the_next_of_its_like() -> None:
    turns = waiting("aAB")
    turns.prepend(Job("Z"))
    turns.prepend(Job("z"))
    assert order(turns) == "ZABza"


def test_what_nobody_waits_for_is_taken_out() -> None:
    turns = waiting("abAB")
    for job in turns:
        if job.name in "Ba":
            turns.discard(job)
            turns.discard(job)
    assert [job.name for job in turns] == ["A", "b"]
    assert order(turns) == "Ab"
    assert turns.first() is None
    with pytest.raises(IndexError, match="no job waits"):
        turns.take()
