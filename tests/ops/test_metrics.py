import pytest

from ocr_pipeline.ops.metrics import TextScore, edit_distance, normalise_text, score_lines


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "abc", 0),
        ("kitten", "sitting", 3),
        ("北京市", "北市", 1),
        ("ab", "ba", 2),
        ("flaw", "lawn", 2),
    ],
)
def test_edit_distance_counts_single_edits_both_ways(a: str, b: str, edits: int) -> None:
    assert edit_distance(a, b) == edits
    assert edit_distance(b, a) == edits


def test_edit_distance_counts_code_points() -> None:
    assert edit_distance("𠮷野家", "吉野家") == 1


def test_score_of_perfect_lines() -> None:
    assert score_lines(["ab", "中"], ["ab", "中"]) == TextScore(2, exact=100, cer=0, ned=100)


def test_score_weighs_characters_for_cer_and_lines_for_ned() -> None:
    score = score_lines(["abcd", "x", ""], ["abce", "x", "yz"])
    assert score.samples == 3
    assert score.exact == pytest.approx(100 / 3)
    assert score.cer == pytest.approx(100 * 3 / 7)
    assert score.ned == pytest.approx(100 * (0.75 + 1 + 0) / 3)


def test_cer_may_exceed_100() -> None:
    score = score_lines(["abcd"], ["x"])
    assert score.cer == pytest.approx(400)
    assert score.ned == pytest.approx(0)


def test_empty_prediction_of_an_empty_truth_is_right() -> None:
    assert score_lines([""], [""]) == TextScore(1, exact=100, cer=0, ned=100)


@pytest.mark.parametrize(
    ("predictions", "truths", "message"),
    [
        (["a"], ["a", "b"], "1 predictions for 2 truths; expected equally many, >= 1"),
        ([], [], "0 predictions for 0 truths; expected equally many, >= 1"),
    ],
)
def test_lists_that_do_not_pair_are_refused(
    predictions: list[str], truths: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score_lines(predictions, truths)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＡＢ１２：（", "AB12:("),
        ("a b\u3000c\td", "ABCD"),
        ("阿·凡・提•", "阿凡提"),
        ("No. 3", "NO.3"),
    ],
)
def test_normalised_text_ignores_width_case_space_and_middle_dots(text: str, folded: str) -> None:
    assert normalise_text(text) == folded


def test_normalised_text_keeps_what_differs() -> None:
    assert normalise_text("1.5") != normalise_text("15")
    assert normalise_text("未") != normalise_text("末")
