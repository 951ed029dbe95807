from collections.abc import Sequence

import numpy as np
import pytest

from ocr_pipeline.preprocess.split import hold_out

NAMES = [f"text{number}" for number in range(60)]


def own_ties(names: Sequence[str]) -> list[list[str]]:
    return [[name] for name in names]


def held(names: Sequence[str], count: int, seed: int = 0) -> set[str]:
    return {names[n] for n in hold_out(names, own_ties(names), [], count=count, seed=seed)}


def test_the_choice_follows_from_seed_and_names() -> None:
    chosen = held(NAMES, 10)
    assert len(chosen) == 10
    mixed = np.random.default_rng(1).permutation(NAMES).tolist()
    assert held(mixed, 10) == chosen
    assert held(NAMES, 10, seed=1) != chosen


def test_most_of_the_choice_stays_when_samples_are_added() -> None:
    more = [*NAMES, *(f"new{number}" for number in range(6))]
    assert len(held(NAMES, 10) & held(more, 10)) >= 8


def test_a_larger_choice_holds_the_smaller_one() -> None:
    assert held(NAMES, 5) < held(NAMES, 20)


def test_samples_that_share_something_stay_together_over_others() -> None:
    # 0 and 1 share a text, 1 and 2 a picture, 2 and 3 look alike, 4 is alone.
    ties = [["text"], ["text", b"pixels"], [b"pixels"], ["other"], ["alone"]]
    for seed in range(20):
        chosen = hold_out(list("abcde"), ties, [(2, 3)], count=4, seed=seed)
        assert chosen in ({0, 1, 2, 3}, {0, 1, 2, 3, 4}, {4})
        assert chosen & {0, 1, 2, 3} in (set(), {0, 1, 2, 3})


def test_random_bundles_are_never_cut() -> None:
    random = np.random.default_rng(2)
    for seed in range(30):
        ties = random.integers(0, (40, 1000), (len(NAMES), 2)).tolist()
        pairs = random.integers(0, len(NAMES), (5, 2)).tolist()
        chosen = hold_out(NAMES, ties, pairs, count=12, seed=seed)
        rest = set(range(60)) - chosen
        kept, left = ({tie for n in part for tie in ties[n]} for part in (chosen, rest))
        assert not kept & left
        assert all((one in chosen) == (other in chosen) for one, other in pairs)


def test_a_bundle_of_more_than_is_wanted_is_passed_over() -> None:
    ties = [["big"]] * 50 + [[f"small{number}"] for number in range(10)]
    for seed in range(10):
        chosen = hold_out(NAMES, ties, [], count=5, seed=seed)
        assert len(chosen) == 5
        assert min(chosen) >= 50


def test_the_only_bundle_is_taken_even_if_it_is_large() -> None:
    assert hold_out(list("abc"), [["x"]] * 3, [], count=1, seed=0) == {0, 1, 2}


@pytest.mark.parametrize("count", [1, 100])
def test_nothing_is_chosen_of_nothing(count: int) -> None:
    assert hold_out([], [], [], count=count, seed=0) == set()
