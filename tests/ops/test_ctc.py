import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import (
    Emission,
    TextLine,
    best_of_logits,
    decode_best,
    decode_greedy,
    emitted_steps,
    steps_needed,
)

CHARSET = Charset(["a", "b", "c"])
SPACE = 4


def path_probs(*steps: tuple[int, float]) -> NDArray[np.float32]:
    """``[1, T, K]``: each step's best class and its probability, the rest spread evenly."""
    probs = np.empty((1, len(steps), CHARSET.classes), dtype=np.float32)
    for step, (best, peak) in enumerate(steps):
        probs[0, step] = (1 - peak) / (CHARSET.classes - 1)
        probs[0, step, best] = peak
    return probs


def text_of(*classes: int) -> str:
    return decode_greedy(path_probs(*((index, 0.9) for index in classes)), CHARSET)[0].text


def test_repeats_are_merged_and_blanks_dropped() -> None:
    assert text_of(0, 1, 1, 0, 2, 3, 3, 3, 0) == "abc"


def test_blank_between_repeats_keeps_both() -> None:
    assert text_of(1, 1, 0, 1) == "aa"


def test_repeat_at_the_first_step_is_emitted_once() -> None:
    assert text_of(2, 2) == "b"


def test_space_is_the_last_class() -> None:
    assert text_of(1, SPACE, SPACE, 2) == "a b"


def test_confidence_is_the_mean_of_the_first_step_of_each_character() -> None:
    probs = path_probs((0, 0.99), (1, 0.8), (1, 0.95), (0, 0.99), (2, 0.6))
    (line,) = decode_greedy(probs, CHARSET)
    assert line.text == "ab"
    assert line.confidence == pytest.approx(0.7)


def test_emissions_tell_where_each_character_was_seen() -> None:
    probs = path_probs((0, 0.9), (1, 0.8), (1, 0.95), (0, 0.9), (2, 0.6), (SPACE, 0.7))
    (line,) = decode_greedy(probs, CHARSET, emissions=True)
    assert (line.text, line.confidence) == ("ab ", pytest.approx(0.7))
    assert [(e.text, e.step) for e in line.emissions] == [("a", 2), ("b", 4.5), (" ", 5.5)]
    assert [e.confidence for e in line.emissions] == pytest.approx([0.8, 0.6, 0.7])
    assert decode_greedy(probs, CHARSET)[0].emissions == ()


def test_emissions_of_repeated_characters_are_apart() -> None:
    (line,) = decode_greedy(
        path_probs((1, 0.9), (0, 0.9), (1, 0.9), (1, 0.9)), CHARSET, emissions=True
    )
    assert line.emissions == (
        Emission("a", pytest.approx(0.9), 0.5),
        Emission("a", pytest.approx(0.9), 3),
    )


def test_line_of_blanks_is_empty_with_confidence_0() -> None:
    assert decode_greedy(path_probs((0, 0.9), (0, 0.8)), CHARSET) == [TextLine("", 0.0)]


def test_lines_of_a_batch_are_read_independently_in_order() -> None:
    first, second = path_probs((1, 0.9), (2, 0.9)), path_probs((0, 0.9), (3, 0.5))
    together = decode_greedy(np.concatenate([first, second]), CHARSET)
    assert together == decode_greedy(first, CHARSET) + decode_greedy(second, CHARSET)
    assert [line.text for line in together] == ["ab", "c"]


def test_batch_of_no_line_gives_no_line() -> None:
    assert decode_greedy(np.zeros((0, 4, CHARSET.classes), np.float32), CHARSET) == []


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 4, 6), (4, 5)])
def test_probabilities_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    message = r"shape \(.*\); expected \[N, T, 5\] for a character set of 5 classes"
    with pytest.raises(ValueError, match=message):
        decode_greedy(np.zeros(shape, np.float32), CHARSET)


@pytest.mark.parametrize(
    ("indices", "steps"), [([], 0), ([1], 1), ([1, 2, 1], 3), ([1, 1], 3), ([1, 1, 1, 2, 2], 8)]
)
def test_label_needs_a_step_for_each_character_and_each_repeat(
    indices: list[int], steps: int
) -> None:
    assert steps_needed(indices) == steps


def test_steps_needed_is_the_shortest_path_that_decodes_to_the_label() -> None:
    assert text_of(1, 0, 1, 2) == "aab"
    assert steps_needed([1, 1, 2]) == 4
    assert text_of(1, 1, 2) != "aab"


def test_logits_give_what_their_softmax_gives() -> None:
    random = np.random.default_rng(7)
    charset = Charset([chr(0x4E00 + n) for n in range(60)])
    logits = random.normal(0, 4, (3, 50, charset.classes)).astype(np.float32)
    logits[:, ::2, 0] += 20  # most steps are blank
    logits[1, 10:14] = logits[1, 10]  # a character over four steps
    exps = np.exp(logits - logits.max(axis=2, keepdims=True))
    probs = exps / exps.sum(axis=2, keepdims=True)
    expected = decode_greedy(probs, charset, emissions=True)
    best, peak = best_of_logits(logits, charset)
    found = decode_best(best, peak, charset, emissions=True)
    assert [line.text for line in found] == [line.text for line in expected]
    assert sum(len(line.text) for line in found) > 3 * 20  # more than are computed at once
    for line, other in zip(found, expected, strict=True):
        assert line.confidence == pytest.approx(other.confidence, abs=1e-6)
        steps = [emission.step for emission in line.emissions]
        assert steps == [emission.step for emission in other.emissions]
    assert not peak[~emitted_steps(best)].any()
    with pytest.raises(ValueError, match=r"expected \[N, T, 62\] for a character set of 62"):
        best_of_logits(logits[..., :40], charset)
