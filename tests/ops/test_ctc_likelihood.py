from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import decode_greedy
from ocr_pipeline.ops.ctc_likelihood import FLOOR, FoldedCharset
from ocr_pipeline.ops.metrics import normalise_text

PLAIN = Charset(["x", "y", "z"])
MIXED = Charset(["A", "a", "Ａ", "b", "·", "℃"])


def random_probs(charset: Charset, *, lines: int, steps: int, seed: int) -> NDArray[np.float32]:
    """``[N, T, K]`` float32, each step's classes sum to 1."""
    weights = np.random.default_rng(seed).gamma(0.5, size=(lines, steps, charset.classes)) + 1e-3
    return (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)


def by_all_paths(probs: NDArray[np.float32], charset: Charset) -> dict[str, float]:
    """Probability of every text that one line's ``[T, K]`` can mean, path by path."""
    found: dict[str, float] = {}
    steps = len(probs)
    groups: dict[str, list[int]] = {"": [0]}
    for number, entry in enumerate((*charset.dictionary, " "), start=1):
        groups.setdefault(normalise_text(entry), []).append(number)
    folded = {key: probs[:, numbers].sum(axis=1) for key, numbers in groups.items()}
    for path in product(folded, repeat=steps):
        kept = [key for at, key in enumerate(path) if key and (at == 0 or key != path[at - 1])]
        chance = float(np.prod([folded[key][at] for at, key in enumerate(path)]))
        found["".join(kept)] = found.get("".join(kept), 0.0) + chance
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_the_sum_over_all_paths(seed: int) -> None:
    probs = random_probs(PLAIN, lines=1, steps=5, seed=seed)
    expected = by_all_paths(probs[0], PLAIN)
    folded = FoldedCharset(PLAIN)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    for text, chance in expected.items():
        assert np.exp(folded.log_likelihoods(probs, [text])[0]) == pytest.approx(chance, rel=1e-4)


def test_lines_of_a_batch_do_not_depend_on_each_other() -> None:
    probs = random_probs(PLAIN, lines=4, steps=9, seed=3)
    texts = ["xyzzy", "", "z", "xx"]
    folded = FoldedCharset(PLAIN)
    alone = [folded.log_likelihoods(probs[i : i + 1], [texts[i]])[0] for i in range(4)]
    assert folded.log_likelihoods(probs, texts).tolist() == alone


def test_repeated_character_needs_a_blank_between() -> None:
    probs = np.full((1, 2, PLAIN.classes), 0.2, dtype=np.float32)
    folded = FoldedCharset(PLAIN)
    assert folded.log_likelihoods(probs, ["xx"])[0] == -np.inf
    assert np.exp(folded.log_likelihoods(probs, ["xy"])[0]) == pytest.approx(0.04)


def test_text_longer_than_the_time_steps_is_impossible() -> None:
    probs = random_probs(PLAIN, lines=1, steps=2, seed=0)
    assert FoldedCharset(PLAIN).log_likelihoods(probs, ["xyz"])[0] == -np.inf


def test_width_and_case_share_one_probability() -> None:
    probs = random_probs(MIXED, lines=1, steps=3, seed=4)
    folded = FoldedCharset(MIXED)
    values = [
        folded.log_likelihoods(probs, [text])[0] for text in ("Ab", "ＡB", "ab", "a b", "A·b")
    ]
    assert values == [values[0]] * 5
    expected = by_all_paths(probs[0], MIXED)
    assert np.exp(values[0]) == pytest.approx(expected["AB"], rel=1e-4)


def test_white_space_and_middle_dots_count_as_blank() -> None:
    probs = np.full((1, 3, MIXED.classes), 0.01, dtype=np.float32)
    for step, entry in enumerate(("A", " ", "b")):
        index = MIXED.index(entry)
        assert index is not None
        probs[0, step, index] = 0.94
    assert decode_greedy(probs, MIXED)[0].text == "A b"
    assert np.exp(FoldedCharset(MIXED).log_likelihoods(probs, ["AB"])[0]) > 0.85


def test_character_that_folds_to_several_is_found_by_itself_or_by_its_parts() -> None:
    folded = FoldedCharset(MIXED)
    assert folded.keys("a℃") == ["A", "°C"]
    assert folded.keys("a㎈") == ["A", "C", "A", "L"]  # not in the set: one sign, three letters


def test_unknown_character_speaks_neither_for_nor_against() -> None:
    folded = FoldedCharset(PLAIN)
    assert folded.unknown("xQyQ q é") == ["Q", "É"]
    probs = np.full((1, 3, PLAIN.classes), 0.01, dtype=np.float32)
    for step, entry in enumerate("xyz"):
        index = PLAIN.index(entry)
        assert index is not None
        probs[0, step, index] = 0.96
    right, wrong, unknown = folded.log_likelihoods(
        np.repeat(probs, 3, axis=0), ["xyz", "xxz", "xQz"]
    )
    assert unknown >= right
    assert unknown - wrong > 3


def test_one_impossible_character_costs_what_the_floor_says() -> None:
    probs = np.zeros((1, 3, PLAIN.classes), dtype=np.float32)
    for step, entry in enumerate("xyx"):
        index = PLAIN.index(entry)
        assert index is not None
        probs[0, step, index] = 1.0
    folded = FoldedCharset(PLAIN)
    assert folded.log_likelihoods(probs, ["xyx"])[0] == pytest.approx(0)
    assert folded.log_likelihoods(probs, ["xzx"])[0] == pytest.approx(np.log(FLOOR), abs=0.01)


def test_long_line_does_not_underflow() -> None:
    probs = np.full((1, 320, PLAIN.classes), 1e-9, dtype=np.float32)
    probs[:, :, 0] = 1.0
    value = FoldedCharset(PLAIN).log_likelihoods(probs, ["xyz" * 30])[0]
    assert np.isfinite(value)
    assert value < 60 * np.log(FLOOR)


def test_no_line_gives_no_value() -> None:
    folded = FoldedCharset(PLAIN)
    assert folded.log_likelihoods(np.zeros((0, 4, PLAIN.classes), np.float32), []).shape == (0,)


@pytest.mark.parametrize("shape", [(2, 4, 5), (1, 4, 6), (4, 5)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    message = r"probabilities of shape \(.*\) for 1 texts; expected \[1, T, 5\]"
    with pytest.raises(ValueError, match=message):
        FoldedCharset(PLAIN).log_likelihoods(np.zeros(shape, np.float32), ["x"])
