import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from ocr_pipeline.ops.statistics import (
    Parts,
    binomial_cdf,
    bootstrap_change,
    bootstrap_ratio,
    clopper_pearson,
    guaranteed_threshold,
    lines_needed,
    mcnemar,
    measured_threshold,
    reliability,
    sum_groups,
    swap_test,
    upper_bound,
    wilson,
)


def parts(*pairs: tuple[float, float]) -> Parts:
    return np.array(pairs, dtype=np.float64)


def exact_match(right: int, lines: int) -> Parts:
    values = np.zeros((lines, 2))
    values[:right, 0] = 1
    values[:, 1] = 1
    return values


# --- binomial


@pytest.mark.parametrize(
    ("events", "trials", "chance"),
    [(0, 5, 0.5), (2, 12, 0.5), (7, 12, 0.5), (11, 12, 0.9), (3, 40, 0.01), (30, 40, 0.7)],
)
def test_binomial_sums_agree_with_exact_fractions(events: int, trials: int, chance: float) -> None:
    p = Fraction(chance)
    exact = sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(events + 1))
    assert binomial_cdf(events, trials, chance) == pytest.approx(float(exact), rel=1e-12)


def test_binomial_ends() -> None:
    assert binomial_cdf(3, 3, 0.2) == 1
    assert binomial_cdf(0, 3, 0.0) == 1
    assert binomial_cdf(2, 3, 1.0) == 0
    assert binomial_cdf(0, 0, 0.5) == 1


def test_binomial_of_a_million_is_near_the_normal_one() -> None:
    n, p = 1_000_000, 0.5
    k = 499_000  # two standard deviations below
    normal = 0.5 * math.erfc((n * p - k - 0.5) / math.sqrt(2 * n * p * (1 - p)))
    assert binomial_cdf(k, n, p) == pytest.approx(normal, rel=1e-4)


@pytest.mark.parametrize(
    ("mended", "broken", "p"),
    [(0, 0, 1.0), (5, 0, 0.0625), (0, 5, 0.0625), (10, 2, 158 / 4096), (3, 3, 1.0), (1, 0, 1.0)],
)
def test_mcnemar_by_hand(mended: int, broken: int, p: float) -> None:
    assert mcnemar(mended, broken) == pytest.approx(p, rel=1e-12)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="-1 mended, 2 broken"):
        mcnemar(-1, 2)


@pytest.mark.parametrize("lines", [1, 10, 300])
def test_upper_bound_of_no_error_has_a_closed_form(lines: int) -> None:
    assert upper_bound(0, lines) == pytest.approx(1 - 0.05 ** (1 / lines), rel=1e-9)


def test_upper_bound_by_hand() -> None:
    assert upper_bound(1, 2) == pytest.approx(math.sqrt(0.95), rel=1e-9)  # 1 - p^2 = 0.05
    assert upper_bound(4, 4) == 1
    assert upper_bound(0, 0) == 1


def test_clopper_pearson_by_hand_and_mirrored() -> None:
    value, low, high = clopper_pearson(20, 20)
    assert (value, high) == (1, 1)
    assert low == pytest.approx(0.025 ** (1 / 20), rel=1e-9)
    some, rest = clopper_pearson(3, 10), clopper_pearson(7, 10)
    assert some.low == pytest.approx(1 - rest.high)
    # The table in the paper's form: 3 of 10, 95 %.
    assert (some.low, some.high) == (
        pytest.approx(0.0667, abs=5e-5),
        pytest.approx(0.6525, abs=5e-5),
    )


def test_wilson_by_hand() -> None:
    z2 = 1.959963984540054**2
    assert wilson(0, 10).high == pytest.approx(z2 / (10 + z2), rel=1e-12)
    assert wilson(0, 10).low == 0
    assert wilson(10, 10) == (1, pytest.approx(10 / (10 + z2), rel=1e-12), 1)
    half = wilson(50, 100)
    assert half.low + half.high == pytest.approx(1)
    assert half.low == pytest.approx(0.40383, abs=5e-6)


@pytest.mark.parametrize(("events", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_shares_of_nothing_are_refused(events: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"{events} of {trials}"):
        wilson(events, trials)
    with pytest.raises(ValueError, match=f"{events} of {trials}"):
        clopper_pearson(events, trials)


# --- bootstrap


def test_interval_of_exact_match_has_the_ends_of_the_binomial() -> None:
    found = bootstrap_ratio(exact_match(30, 100))
    assert found.value == pytest.approx(0.3)
    lowest = next(k for k in range(101) if binomial_cdf(k, 100, 0.3) >= 0.025)
    highest = next(k for k in range(101) if binomial_cdf(k, 100, 0.3) >= 0.975)
    assert found.low == pytest.approx(lowest / 100)
    assert found.high == pytest.approx(highest / 100)


def test_interval_of_a_ratio_is_that_of_samples_drawn_one_by_one() -> None:
    random = np.random.default_rng(7)
    lengths = random.integers(1, 20, size=80)
    rows = np.stack([random.binomial(lengths, 0.2), lengths], axis=1).astype(np.float64)
    drawn = random.integers(80, size=(20_000, 80))
    sums = rows[drawn].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    found = bootstrap_ratio(rows)
    assert found.value == rows[:, 0].sum() / rows[:, 1].sum()  # a ratio of sums, no mean of ratios
    assert (found.low, found.high) == (pytest.approx(low, abs=4e-3), pytest.approx(high, abs=4e-3))


def test_the_same_seed_gives_the_same_interval_in_any_order() -> None:
    rows = exact_match(3, 9)
    assert bootstrap_ratio(rows, seed=3) == bootstrap_ratio(rows[::-1], seed=3)
    assert bootstrap_ratio(exact_match(37, 90), seed=3) != bootstrap_ratio(
        exact_match(37, 90), seed=4, draws=50
    )


def test_many_lines_take_no_longer_than_their_few_kinds() -> None:
    rows = np.tile(parts((0, 5), (1, 5), (0, 8), (2, 8)), (50_000, 1))
    found = bootstrap_ratio(rows)
    assert found.value == pytest.approx(3 / 26)
    assert found.low < found.value < found.high < found.value + 2e-3


def test_draws_without_anything_to_divide_by_do_not_count() -> None:
    found = bootstrap_ratio(parts((1, 2), (0, 0)))  # a quarter of the draws holds the second twice
    assert found == (0.5, 0.5, 0.5)


def test_change_draws_pairs() -> None:
    """Both models are better on the same lines: the change is certain, the level is not."""
    before = np.tile(parts((0, 10), (8, 10)), (20, 1))
    after = before + np.array([1, 0])
    assert bootstrap_change(before, after) == (
        pytest.approx(0.1),
        pytest.approx(0.1),
        pytest.approx(0.1),
    )
    alone = bootstrap_ratio(before)
    assert alone.high - alone.low > 0.2


def test_groups_are_added_up_and_widen_the_interval() -> None:
    rows = np.repeat(parts((0, 1), (1, 1)), 50, axis=0)
    groups = np.repeat([7, 3, 9, 4], 25)
    pages = sum_groups(rows, groups)
    assert pages.tolist() == [[0, 25], [25, 25], [0, 25], [25, 25]]  # 3, 4, 7, 9
    lines, whole = bootstrap_ratio(rows), bootstrap_ratio(pages)
    assert whole.value == lines.value == 0.5
    assert whole.high - whole.low > 3 * (lines.high - lines.low)


def test_faulty_parts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(0, 2\)"):
        bootstrap_ratio(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="add up to zero"):
        bootstrap_ratio(parts((0, 0)))
    with pytest.raises(ValueError, match=r"\(2, 2\) before and \(1, 2\) after"):
        bootstrap_change(exact_match(1, 2), exact_match(1, 1))


# --- permutation


def test_swap_test_agrees_with_all_swaps() -> None:
    before = parts((3, 9), (2, 5), (0, 7), (4, 4), (1, 6), (2, 8), (5, 9), (0, 3))
    after = parts((1, 9), (2, 5), (1, 7), (0, 4), (0, 6), (2, 8), (1, 9), (0, 3))
    seen = abs((after - before)[:, 0].sum())
    signs = itertools.product((1, -1), repeat=len(before))
    far = [abs(np.dot(s, (after - before)[:, 0])) >= seen for s in signs]
    exact = sum(far) / len(far)
    assert swap_test(before, after) == pytest.approx(exact, abs=0.01)
    assert swap_test(after, before) == pytest.approx(exact, abs=0.01)


def test_swap_test_of_exact_match_is_mcnemar() -> None:
    before, after = exact_match(10, 40), exact_match(10, 40)
    before[20:22, 0] = 1  # broken
    after[25:35, 0] = 1  # mended
    assert swap_test(before, after) == pytest.approx(mcnemar(10, 2), abs=0.006)


def test_swap_test_allows_other_denominators() -> None:
    """Precision: each model finds its own number of regions."""
    before = parts((1, 4), (2, 5), (1, 3), (2, 6), (1, 4), (2, 5))
    after = parts((4, 4), (5, 5), (3, 3), (5, 5), (4, 4), (5, 5))
    assert swap_test(before, after) == pytest.approx(2 / 2**6, abs=0.005)


def test_equal_models_differ_by_chance_only() -> None:
    rows = exact_match(4, 9)
    assert swap_test(rows, rows) == 1


# --- confidences


def test_reliability_by_hand() -> None:
    confidences = np.array([0.05, 0.1, 0.15, 0.9, 0.95, 1.0])
    right = np.array([False, False, True, True, True, False])
    found = reliability(confidences, right, bins=10)
    assert found.counts.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 1, 2]  # a bin holds its upper end
    assert found.accuracies[[0, 1, 8, 9]].tolist() == [0, 1, 1, 0.5]
    assert found.confidences[9] == pytest.approx(0.975)
    assert np.isnan(found.accuracies[5])
    expected = (2 * 0.075 + 0.85 + 0.1 + 2 * 0.475) / 6
    assert found.ece == pytest.approx(expected)


def test_a_confidence_of_zero_is_in_the_first_bin() -> None:
    assert reliability(np.array([0.0]), np.array([True])).counts[0] == 1


@pytest.mark.parametrize(
    ("confidences", "right", "says"),
    [
        ([], [], r"shape \(0,\)"),
        ([0.5, 0.5], [True], r"\(2,\) for \(1,\)"),
        ([1.2], [True], "from 1.2 to 1.2"),
        ([float("nan")], [True], "from nan"),
    ],
)
def test_faulty_confidences_are_refused(
    confidences: list[float], right: list[bool], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        reliability(np.array(confidences), np.array(right, dtype=bool))
    with pytest.raises(ValueError, match=says):
        measured_threshold(np.array(confidences), np.array(right, dtype=bool), 0.1)


def test_measured_threshold_accepts_as_much_as_it_can() -> None:
    confidences = np.array([0.99, 0.98, 0.97, 0.96, 0.95, 0.9, 0.8, 0.7])
    right = np.array([True, True, False, True, True, True, False, False])
    found = measured_threshold(confidences, right, 0.2)
    assert found is not None
    # After 0.97 the rate is 1/3, and falls again: the longer list counts.
    assert (found.threshold, found.accepted, found.errors) == (0.9, 6, 1)
    assert found.rate == pytest.approx(1 / 6)
    assert found.upper == upper_bound(1, 6)


def test_readings_of_one_confidence_are_accepted_together() -> None:
    confidences = np.array([0.9, 0.9, 0.9, 0.5])
    right = np.array([True, True, False, True])
    assert measured_threshold(confidences, right, 0.1) is None
    found = measured_threshold(confidences, right, 0.25)
    assert found is not None
    assert (found.threshold, found.accepted) == (0.5, 4)


def test_few_lines_can_promise_little() -> None:
    right = np.ones(100, dtype=bool)
    confidences = np.linspace(0.5, 1.0, 100)
    assert guaranteed_threshold(confidences, right, 0.01) is None
    found = guaranteed_threshold(confidences, right, 0.1)
    assert found is not None
    assert (found.accepted, found.errors) == (100, 0)
    assert found.upper == pytest.approx(1 - (0.05 / 7) ** (1 / 100), rel=1e-6)
    measured = measured_threshold(confidences, right, 0.01)
    assert measured is not None
    assert measured.accepted == 100


def test_a_guaranteed_threshold_keeps_its_word_on_other_readings() -> None:
    """Of a reading with confidence c, 1 - c is the chance to be wrong: the true rate is known."""
    random = np.random.default_rng(0)
    trials, wanted, given, broken, measured_broken = 60, 0.1, 0, 0, 0
    for _ in range(trials):
        confidences = random.uniform(0.5, 1.0, 2000)
        right = random.random(2000) < confidences
        found = guaranteed_threshold(confidences, right, wanted)
        if found is not None:
            given += 1
            broken += (1 - found.threshold) / 2 > wanted
        loose = measured_threshold(confidences, right, wanted)
        assert loose is not None
        measured_broken += (1 - loose.threshold) / 2 > wanted
    assert given > trials / 2
    assert broken <= 0.05 * trials
    assert measured_broken > 0.2 * trials  # which is why there are two functions


def test_lines_needed_is_the_least_number() -> None:
    for wanted in (0.001, 0.01, 0.05):
        needed = lines_needed(wanted)
        assert upper_bound(0, needed) <= wanted < upper_bound(0, needed - 1)
    assert lines_needed(0.01) == 299
