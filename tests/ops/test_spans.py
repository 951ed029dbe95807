"""Places of characters and words on a line, from made-up time steps."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from ocr_pipeline.ops.ctc import Emission
from ocr_pipeline.ops.spans import Span, character_spans, word_spans

LAG = 0.25
"""A character is emitted so many steps behind its middle."""


def emitted(text: str, middles: Sequence[float]) -> list[Emission]:
    return [Emission(c, 0.9, middle + LAG) for c, middle in zip(text, middles, strict=True)]


def edges(spans: Sequence[Span], steps: float) -> list[tuple[float, float]]:
    return [(span.start * steps, span.end * steps) for span in spans]


def test_full_width_characters_lie_between_their_neighbours() -> None:
    spans = character_spans(emitted("中文字", [3, 7, 11]), 14)
    assert [span.text for span in spans] == ["中", "文", "字"]
    for (start, end), expected in zip(edges(spans, 14), [(1, 5), (5, 9), (9, 13)], strict=True):
        assert (start, end) == pytest.approx(expected)


def test_border_goes_by_the_widths_of_both_sides() -> None:
    # Full width 4 steps, a digit 0.56 of it.
    first, digit, last = edges(character_spans(emitted("中1中", [2, 5.12, 8.24]), 12), 12)
    assert first == pytest.approx((0, 4))
    assert digit == pytest.approx((4, 6.24))
    assert last == pytest.approx((6.24, 10.24))


def test_characters_with_a_gap_between_them_do_not_share_it() -> None:
    spans = edges(character_spans(emitted("中文字中文", [2, 6, 10, 30, 34]), 40), 40)
    assert spans[2] == pytest.approx((8, 12))
    assert spans[3] == pytest.approx((28, 32))


def test_unevenly_spaced_characters_neither_overlap_nor_leave_holes() -> None:
    spans = character_spans(emitted("一二三四五", [2, 5.5, 10, 13.4, 18]), 20)
    for before, after in pairwise(spans):
        assert before.end == pytest.approx(after.start)


def test_comma_of_full_width_stands_in_a_cell_that_reaches_further_right() -> None:
    comma = edges(character_spans(emitted("中文，字中", [2, 6, 9.24, 14, 18]), 20), 20)[2]
    assert comma == pytest.approx((8, 12))
    opening = edges(character_spans(emitted("中文（字中", [2, 6, 10.76, 14, 18]), 20), 20)[2]
    assert opening == pytest.approx((8, 12))


def test_single_character_is_given_the_usual_width() -> None:
    [(start, end)] = edges(character_spans(emitted("中", [5]), 12), 12)
    assert (start, end) == pytest.approx((2.8, 7.2))


def test_nothing_lies_outside_the_line() -> None:
    spans = character_spans(emitted("中文", [0.5, 5]), 5)
    assert spans[0].start == 0
    assert spans[-1].end == 1


def test_words_are_cut_at_spaces_and_at_full_width_characters() -> None:
    text = "No. 42元整A1"
    spans = word_spans(emitted(text, [2.5 * at + 2 for at in range(len(text))]), 40)
    assert [span.text for span in spans] == ["No.", "42", "元", "整", "A1"]


def test_word_reaches_from_its_first_to_its_last_character() -> None:
    given = [("a", 0.8, 2), ("b", 0.6, 4), (" ", 0.1, 6), ("c", 1, 8)]
    emissions = [Emission(*values) for values in given]
    characters, words = character_spans(emissions, 12), word_spans(emissions, 12)
    assert [span.text for span in characters] == ["a", "b", "c"]
    assert words[0] == Span("ab", pytest.approx(0.7), characters[0].start, characters[1].end)
    assert words[1] == characters[2]


def test_line_without_characters_has_no_parts() -> None:
    assert character_spans([], 40) == word_spans([], 40) == []
    assert word_spans(emitted("  ", [3, 8]), 40) == []
