import pytest

from ocr_pipeline.evaluation.compare_lines import compare_lines
from ocr_pipeline.evaluation.comparison import MCNEMAR, PERMUTATION
from ocr_pipeline.ops.confusions import Confusion
from ocr_pipeline.ops.statistics import Interval, upper_bound
from tests.evaluation.reports import SOURCES, line, read_as

LINES = [line("1234"), line("5678"), line("甲乙丙丁戊", source=1), line("Ab", source=1)]


def test_figures_are_those_of_the_line_reports() -> None:
    before = read_as(LINES, ["1234", "5", "甲", "ab"])
    after = read_as(LINES, ["1235", "5678", "甲乙丙丁", "Ab"])
    found = compare_lines(before, after, SOURCES)
    for metric in found.metrics:
        assert metric.before is not None
        assert metric.after is not None
        assert metric.change is not None
        assert metric.before.value == pytest.approx(before.metrics()[metric.name])
        assert metric.after.value == pytest.approx(after.metrics()[metric.name])
        assert metric.change.value == pytest.approx(metric.after.value - metric.before.value)
        assert metric.before.low <= metric.before.value <= metric.before.high
    assert [m.name for m in found.metrics if not m.higher_is_better] == ["cer", "cer_normalised"]
    assert (found.lines, found.pictures, found.mended, found.broken) == (4, 4, 2, 1)


def test_lines_of_one_picture_are_no_independent_samples() -> None:
    alone = [line(f"{number:03d}") for number in range(20)]
    cut = [line(f"{number:03d}", image=f"{number // 10}.png") for number in range(20)]
    wrong, right = ["x"] * 20, [f"{number:03d}" for number in range(20)]
    single = compare_lines(read_as(alone, wrong), read_as(alone, right), SOURCES)
    pages = compare_lines(read_as(cut, wrong), read_as(cut, right), SOURCES)
    assert (single.metrics[0].test, single.metrics[0].p) == (MCNEMAR, pytest.approx(2 / 2**20))
    assert pages.pictures == 2
    assert pages.metrics[0].test == PERMUTATION
    assert pages.metrics[0].p == pytest.approx(0.5, abs=0.02)  # two pages, both better: 2 of 4


def test_all_right_is_no_certainty() -> None:
    samples = [line(f"{number:03d}") for number in range(30)]
    found = compare_lines(None, read_as(samples, [s.text for s in samples]), SOURCES)
    exact, cer = found.metrics[0].after, found.metrics[1].after
    low = 100 * (1 - upper_bound(0, 30, level=0.975))
    assert exact == Interval(100, pytest.approx(low), 100)
    assert cer == Interval(0, 0, 0)  # no width: nothing is known of the size of the first fault
    assert found.surely_wrong == ()
    assert found.confusions == ()


def test_a_model_alone_is_compared_with_nothing() -> None:
    found = compare_lines(None, read_as(LINES, ["1234", "5", "甲", "ab"]), SOURCES)
    assert (found.mended, found.broken) == (None, None)
    assert all(m.before is None and m.change is None and m.p is None for m in found.metrics)
    assert found.metrics[0].after is not None
    assert found.metrics[0].after.value == 25
    assert (found.worse, found.better) == ((), ())
    assert [share.before for share in found.by_source] == [None, None]
    assert found.confidence is not None
    assert found.confidence.before is None


def test_replay_lines_stand_apart() -> None:
    samples = [*LINES, line("old 1", source=2), line("old 2", source=2)]
    good = [sample.text for sample in samples]
    found = compare_lines(read_as(samples, good), read_as(samples, [*good[:4], "", "old"]), SOURCES)
    assert found.lines == 4
    assert found.metrics[0].after is not None
    assert found.metrics[0].after.value == 100
    assert found.replay is not None
    assert found.replay.change is not None
    assert (found.replay_lines, found.replay.change.value) == (2, -100)
    assert [share.title for share in found.by_source] == ["slips", "forms", "replay"]
    assert found.surely_wrong == ()
    with pytest.raises(ValueError, match="2 lines, all of them replay"):
        compare_lines(None, read_as(samples[4:], good[4:]), SOURCES)


def test_parts_by_length_and_source() -> None:
    before = read_as(LINES, ["1234", "5678", "甲乙", "Ab"])
    found = compare_lines(before, read_as(LINES, ["1234", "567", "甲乙丙丁戊", "ab"]), SOURCES)
    short, longer = found.by_length
    assert (short.title, short.total, short.before, short.after) == ("1 to 4", 3, 3, 1)
    assert (longer.title, longer.total, longer.before, longer.after) == ("5 to 8", 1, 0, 1)
    assert (short.cer_before, short.cer_after) == (0, pytest.approx(100 * 2 / 10))
    slips, forms = found.by_source
    assert (slips.title, slips.total, slips.before, slips.after) == ("slips", 2, 2, 1)
    assert (forms.title, forms.cer_before) == ("forms", pytest.approx(100 * 3 / 7))


def test_worst_samples_by_kind_and_order() -> None:
    before = read_as(LINES, ["1234", "", "甲乙丙丁戊", "Ab"])
    after = [("1299", 0.7), ("5678", 0.9), ("甲", 0.8), ("Ab", 0.99)]
    found = compare_lines(before, read_as(LINES, after), SOURCES)
    assert [one.read for one in found.surely_wrong] == ["甲", "1299"]
    assert [(one.read, one.change) for one in found.worse] == [("甲", 4), ("1299", 2)]
    assert [(one.before, one.change) for one in found.better] == [("", -4)]
    assert found.surely_wrong[0].source == "forms"


def test_confusions_are_counted_before_and_after() -> None:
    before = read_as(LINES, ["I234", "567", "甲乙丙丁戊", "Ab"])
    found = compare_lines(before, read_as(LINES, ["I234", "5678", "甲乙丙了戊", "Ab"]), SOURCES)
    counted = [(one.confusion, one.before) for one in found.confusions]
    assert counted == [(Confusion("1", "I", 1), 1), (Confusion("丁", "了", 1), 0)]


def test_thresholds_for_wanted_error_rates() -> None:
    samples = [line(f"{number:03d}") for number in range(400)]
    read = [(s.text if n < 380 else "x", 0.999 - n / 1000) for n, s in enumerate(samples)]
    found = compare_lines(None, read_as(samples, read), SOURCES).confidence
    assert found is not None
    one, last = found.thresholds[2], found.thresholds[4]
    assert (one.wanted, last.wanted) == (0.01, 0.05)
    assert one.measured is not None
    assert one.measured.accepted == 383  # 3 of 383 are wrong, 4 of 384 are more than 1 %
    assert one.guaranteed is None
    assert one.needed == 299
    assert last.measured is not None
    assert last.measured.accepted == 400
    assert last.guaranteed is not None
    assert last.guaranteed.upper <= 0.05
    assert last.guaranteed.accepted < 400


def test_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="4 lines before and 3 after"):
        compare_lines(read_as(LINES, [""] * 4), read_as(LINES[:3], [""] * 3), SOURCES)
