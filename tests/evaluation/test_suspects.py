"""Ranking labels: the rule on a scripted engine, then planted errors among real labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.evaluation.labelled import LabelPart, every_label
from ocr_pipeline.evaluation.sources import load_any_recognizer
from ocr_pipeline.evaluation.suspects import (
    Look,
    Ranking,
    Suspect,
    differences,
    find_suspects,
    score_label,
)
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.metrics import normalise_text
from tests.conftest import SHARED

CHARSET = Charset(list("0123456789ABCDabＡ"))
STEPS = 24
BLURRED = 0.55
"""Probability of each character where the scripted engine is unsure."""


class ScriptedEngine:
    """Reads what it was told to: a picture's two halves, by their grey, name an entry."""

    lanes = 1

    def __init__(self, readings: Mapping[tuple[int, int], tuple[str, float]]) -> None:
        self.readings = readings
        self.pictures = 0

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        self.pictures += len(images)
        rows = []
        for image in images:
            top, bottom = (round((float(image[0, row, 0]) + 1) * 127.5) for row in (4, 43))
            rows.append(spoken(*self.readings.get((top, bottom), ("", 0.9))))
        return np.stack(rows)


def spoken(text: str, sure: float) -> NDArray[np.float32]:
    """``[T, K]``: every second step a character; ``1 - sure`` is spread over the others."""
    probs = np.full((STEPS, CHARSET.classes), 1e-5, dtype=np.float32)
    probs[:, 0] = 1.0
    for at, index in enumerate(CHARSET.encode(text) if text else []):
        probs[2 * at + 1] = (1 - sure) / (CHARSET.classes - 1)
        probs[2 * at + 1, index] = sure
    return probs


def picture(top: int, bottom: int) -> BGRImage:
    """48 x 100 px."""
    image = np.full((48, 100, 3), bottom, dtype=np.uint8)
    image[:24] = top
    return image


def rank(
    *cases: tuple[str, str, float], turned: Mapping[int, tuple[str, float]] | None = None
) -> tuple[Ranking, ScriptedEngine, list[tuple[int, int]]]:
    """Rank (label, what is read, how surely); ``turned`` says what is read upside-down."""
    readings = {(2 * at, 2 * at + 1): (read, sure) for at, (_, read, sure) in enumerate(cases)}
    for at, reading in (turned or {}).items():
        readings[2 * at + 1, 2 * at] = reading
    samples = [RecSample(str(at), label, 48, 100) for at, (label, _, _) in enumerate(cases)]
    engine = ScriptedEngine(readings)
    spec = RecModelSpec(size="tiny", classes=CHARSET.classes)
    recognizer = Recognizer(engine, spec, CHARSET, batch=4)
    part = LabelPart(
        samples,
        range(1, len(samples) + 1),
        Path("labels.txt"),
        lambda sample: picture(2 * int(sample.image), 2 * int(sample.image) + 1),
        lambda sample: b"",
        listed=True,
    )
    steps: list[tuple[int, int]] = []
    ranking = find_suspects(recognizer, [part], lambda done, total: steps.append((done, total)))
    return ranking, engine, steps


def order(ranking: Ranking) -> list[int]:
    return [suspect.number for suspect in ranking.suspects]


def test_what_is_surely_read_otherwise_comes_first_and_what_is_read_so_is_no_suspect() -> None:
    ranking, _, _ = rank(
        ("A123", "A123", 0.99),
        ("B887", "B987", BLURRED),
        ("A123", "A124", 0.99),
        ("A123", "A123", BLURRED),
    )
    assert ranking.samples == 4
    assert order(ranking) == [2, 1]
    first = ranking.suspects[0]
    assert (first.read, first.turned, first.form_only) == ("A124", False, False)
    assert first.confidence == pytest.approx(0.99)
    assert first.place == "labels.txt:3"
    assert first.score > 0 > ranking.suspects[1].score


def test_one_missing_and_one_added_character_are_found() -> None:
    ranking, _, _ = rank(("A12", "A123", 0.99), ("A1234", "A123", 0.99), ("A123", "A1B3", BLURRED))
    assert sorted(order(ranking)[:2]) == [0, 1]


def test_case_and_width_stand_behind_everything_else() -> None:
    ranking, _, _ = rank(
        ("Ａ1", "A1", 0.99), ("ab", "AB", 0.99), ("12", "34", BLURRED), ("A 1", "A1", 0.99)
    )
    assert order(ranking)[0] == 2
    assert sorted(order(ranking)[1:]) == [0, 1, 3]
    assert [suspect.form_only for suspect in ranking.suspects] == [False, True, True, True]
    assert ranking.suspects[1].reason().endswith("; only case, width or spaces differ")


def test_a_right_label_on_a_picture_upside_down_is_no_strong_suspect() -> None:
    ranking, _, _ = rank(
        ("1122", "CC11", 0.9),
        ("1122", "CC11", 0.9),
        turned={0: ("1122", 0.97), 1: ("1123", 0.97)},
    )
    assert order(ranking) == [1]
    assert ranking.suspects[0].turned
    assert ranking.suspects[0].reason().startswith("reads '1123' with confidence 0.97, upside-down")


def test_only_improbable_labels_are_looked_at_upside_down() -> None:
    _, engine, _ = rank(("A1", "A1", 0.99), ("B2", "B2", 0.99), ("C3", "D4", 0.99))
    assert engine.pictures == 3 + 1


def test_nothing_read_one_way_up_does_not_hide_what_is_read_the_other_way() -> None:
    ranking, _, _ = rank(("A1", "", 0.99), turned={0: ("B2", 0.95)})
    assert ranking.suspects[0].read == "B2"


def test_a_picture_without_text_is_a_suspect() -> None:
    ranking, _, _ = rank(("A1", "", 0.9), ("A1", "B2", BLURRED))
    assert order(ranking) == [0, 1]
    assert ranking.suspects[0].reason().startswith("sees no text; the label is over a million")


def test_a_label_too_long_for_its_picture_has_a_finite_score() -> None:
    ranking, _, _ = rank(("A" * 40, "A1", 0.99), ("B2", "B3", 0.99))
    assert order(ranking) == [0, 1]
    assert np.isfinite(ranking.suspects[0].score)
    assert np.isfinite(ranking.suspects[0].odds)


def test_characters_that_the_model_does_not_know_are_named_and_blame_nobody() -> None:
    ranking, _, _ = rank(("A-1", "A21", 0.99), ("A31", "A21", 0.99))
    assert order(ranking) == [1, 0]
    assert ranking.suspects[1].unknown == ("-",)
    assert ranking.suspects[1].reason().endswith("not known to the model: -")
    assert ranking.suspects[1].score < 1


def test_an_empty_label_is_ranked_too() -> None:
    ranking, _, _ = rank(("", "A1", 0.99), ("", "", 0.99))
    assert order(ranking) == [0]


def test_progress_is_told_from_the_start_to_the_end() -> None:
    assert rank(("A", "A", 0.9), ("B", "B", 0.9))[2] == [(0, 2), (2, 2)]


def test_doubt_in_the_own_reading_takes_a_score_down() -> None:
    sure, unsure = Look("ABCD", 0.9, -0.1, -8.0), Look("ABCD", 0.4, -3.0, -10.9)
    assert score_label([sure], 4)[0] == pytest.approx((7.9 - 0.3) / 2)
    assert score_label([unsure], 4)[0] == pytest.approx((7.9 - 9) / 2)


def test_a_wholly_different_label_is_no_more_suspect_than_a_clearly_wrong_one() -> None:
    wrong, different = Look("ABCD", 0.9, -0.1, -20.0), Look("ABCD", 0.5, -4.0, -400.0)
    assert score_label([wrong], 4)[0] > 8 > score_label([different], 4)[0]


def test_the_shorter_of_label_and_reading_counts_as_the_length() -> None:
    look = Look("ABCD", 0.9, 0.0, -10.0)
    scores = [score_label([look], characters)[0] for characters in (0, 1, 4, 9)]
    assert scores == [10, 10, 5, 5]


def test_the_other_way_up_counts_less_where_it_is_read_less_surely() -> None:
    upright = Look("A1", 0.99, -0.1, -12.0)
    weak = Look("C", 0.5, -4.0, -9.0, turned=True)
    strong = Look("B", 0.95, -0.2, -0.2, turned=True)
    assert score_label([upright, weak], 1)[0] == score_label([upright], 1)[0]
    score, odds, best = score_label([upright, strong], 1)
    assert best is upright
    assert score < 1
    assert odds == pytest.approx(np.exp(0.1 + 0.3))


@pytest.mark.parametrize(
    ("label", "read", "says"),
    [
        ("A123", "A124", "'3' where '4' is read"),
        ("A12", "A123", "'3' is read as well"),
        ("-A12", "A12", "'-' is not read"),
        ("A1", "B2", ""),
        ("a1b1c1d1", "a2b2c2d2", ""),
    ],
)
def test_differences_are_told_where_they_are_few(label: str, read: str, says: str) -> None:
    assert differences(label, read) == says


@pytest.mark.parametrize(
    ("odds", "says"),
    [(1.2, "not much less"), (3210.4, "3,210 times less"), (2e6, "over a million times less")],
)
def test_reason_tells_odds_as_a_person_would(odds: float, says: str) -> None:
    sample = RecSample("a.png", "A1", 48, 100)
    suspect = Suspect(0, 0, sample, "l:1", "A2", 0.987, False, 3.0, odds, False, ())
    assert suspect.reason() == (
        f"reads 'A2' with confidence 0.99; '1' where '2' is read; the label is {says} probable"
    )


# --- planted among real labels -------------------------------------------------------------------

LETTERS, DIGITS, SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "-:./"
KINDS = ("one", "two", "missing", "added", "another")


def changed(text: str, kind: str, texts: Sequence[str], random: Random) -> str:
    """A wrong label, as a tired person would make it."""
    if kind == "another":
        return random.choice(texts)
    at = random.randrange(len(text))
    if kind == "missing":
        return text[:at] + text[at + 1 :]
    if kind == "added":
        return text[:at] + random.choice(LETTERS + DIGITS) + text[at:]
    for place in random.sample(range(len(text)), min(len(text), 1 if kind == "one" else 2)):
        old = text[place]
        pool = next((p for p in (DIGITS, LETTERS) if old.upper() in p), SIGNS)
        new = random.choice([char for char in pool if char != old.upper()])
        text = text[:place] + new + text[place + 1 :]
    return text


def planted(texts: Sequence[str], count: int, seed: int) -> dict[int, str]:
    """So many wrong labels by number of their sample, the kinds equally often."""
    random = Random(seed)  # noqa: S311  (chooses test data)
    found: dict[int, str] = {}
    for number in random.sample(range(len(texts)), len(texts)):
        text = changed(texts[number], KINDS[len(found) % len(KINDS)], texts, random)
        if text and normalise_text(text) != normalise_text(texts[number]):
            found[number] = text
        if len(found) == count:
            break
    return found


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_100_planted_errors_80_are_among_the_first_200(released_weights: None) -> None:
    labels = SHARED / "data/wire_tags/rec_train.txt"
    if not labels.exists():
        pytest.skip(f"{labels} is absent")
    (part,) = every_label(labels, None)
    wrong = planted([sample.text for sample in part.samples], 100, seed=0)
    samples = [
        replace(sample, text=wrong.get(number, sample.text))
        for number, sample in enumerate(part.samples)
    ]
    recognizer = load_any_recognizer("ppocrv6_small_rec")
    ranking = find_suspects(recognizer, [replace(part, samples=samples)], lambda done, total: None)
    assert len(wrong) == 100
    assert len(wrong.keys() & set(order(ranking)[:200])) >= 80
