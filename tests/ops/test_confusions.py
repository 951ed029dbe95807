import numpy as np
import pytest

from ocr_pipeline.ops.confusions import Confusion, Pair, align, count_confusions
from ocr_pipeline.ops.metrics import edit_distance


@pytest.mark.parametrize(
    ("read", "truth", "places"),
    [
        ("", "", []),
        ("ab", "ab", [("a", "a"), ("b", "b")]),
        ("a0c", "aOc", [("a", "a"), ("O", "0"), ("c", "c")]),
        ("ac", "abc", [("a", "a"), ("b", ""), ("c", "c")]),
        ("abc", "ac", [("a", "a"), ("", "b"), ("c", "c")]),
        ("", "ab", [("a", ""), ("b", "")]),
        ("ab", "", [("", "a"), ("", "b")]),
        ("末日", "未目", [("未", "末"), ("目", "日")]),
        ("aa", "aaa", [("a", "a"), ("a", "a"), ("a", "")]),
    ],
)
def test_alignment_by_hand(read: str, truth: str, places: list[tuple[str, str]]) -> None:
    assert align(read, truth) == [Pair(*place) for place in places]


def test_alignment_has_both_strings_and_the_fewest_edits() -> None:
    chance = np.random.default_rng(5)
    for _ in range(300):
        read, truth = ("".join(chance.choice(list("abc"), chance.integers(9))) for _ in range(2))
        places = align(read, truth)
        assert "".join(place.read for place in places) == read
        assert "".join(place.truth for place in places) == truth
        assert sum(place.read != place.truth for place in places) == edit_distance(read, truth)


def test_faults_are_counted_most_frequent_first() -> None:
    found = count_confusions([("1O0", "100"), ("O", "0"), ("ab", "abc"), ("x", ""), ("q", "q")])
    assert found == [Confusion("0", "O", 2), Confusion("", "x", 1), Confusion("c", "", 1)]
    assert [one.kind for one in found] == ["substitution", "insertion", "deletion"]


def test_nothing_wrong_is_nothing_counted() -> None:
    assert count_confusions([("a", "a")]) == []
