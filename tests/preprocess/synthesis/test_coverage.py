from collections import Counter

import numpy as np
import pytest

from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.synthesis.corpus import part_of
from ocr_pipeline.preprocess.synthesis.coverage import Plan, plan_coverage

RARE = [chr(code) for code in range(0x5000, 0x5060)]


def plan(
    corpus: list[str], characters: list[str], at_least: int = 20, mean: int = 10, seed: int = 0
) -> Plan:
    return plan_coverage(
        corpus,
        characters,
        at_least=at_least,
        mean_length=mean,
        allowed=lambda text: part_of(text, 5) == "train",
        random=np.random.default_rng(seed),
    )


def test_every_character_stands_as_often_as_asked_for() -> None:
    corpus = ["付款人张三", "金额壹仟元整"] * 150
    characters = [*RARE, *"付款人张三金额壹仟元整", " "]
    result = plan(corpus, characters)
    counts = Counter("".join(result.texts))
    assert min(counts[char] for char in characters) >= 20
    assert len(result.texts) == 300
    assert 190 <= result.filler <= 200, "no more filler than the rare characters need"
    assert all(text == text.strip() and "  " not in text for text in result.texts)


def test_filler_takes_as_few_characters_more_as_can_be() -> None:
    result = plan(["字"] * 500, RARE)
    counts = Counter("".join(result.texts))
    assert max(counts[char] for char in RARE) <= 24
    lengths = [len(text) for text in result.texts if text != "字"]
    assert min(lengths) >= 5
    assert max(lengths) <= 17
    assert len(set(lengths)) > 4


def test_a_corpus_that_has_all_characters_stays_as_it_is() -> None:
    corpus = ["甲乙丙"] * 25
    result = plan(corpus, list("甲乙丙"))
    assert sorted(result.texts) == corpus
    assert result.filler == 0


def test_spaces_are_filled_in_between_characters() -> None:
    for mean in (2, 3, 12):
        result = plan(["甲乙"] * 80, [*"甲乙", " "], mean=mean)
        assert sum(text.count(" ") for text in result.texts) >= 20
        assert all(text == text.strip() for text in result.texts)


def test_filler_keeps_out_of_the_validation_part() -> None:
    result = plan(["甲"] * 400, RARE)
    filler = [text for text in result.texts if text != "甲"]
    assert len(filler) == result.filler
    assert all(part_of(text, 5) == "train" for text in filler)


def test_filler_stands_among_the_corpus_and_follows_from_the_chance() -> None:
    corpus = [f"文字{number}" for number in range(400)]
    one, two, other = (plan(corpus, RARE, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one != other
    first = [text in set(corpus) for text in one.texts[:100]]
    assert 20 < sum(first) < 80


def test_too_few_lines_are_refused_with_the_number_needed() -> None:
    message = (
        "100 training lines cannot hold 96 characters so often: 192 lines of about 10 characters "
        "are needed; raise train_lines, or lower coverage.at_least"
    )
    with pytest.raises(DataError, match=message):
        plan(["字"] * 100, RARE)
    assert plan(["字"] * 192, RARE).filler == 192
