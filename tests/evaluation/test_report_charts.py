import re

import numpy as np
import pytest

from ocr_pipeline.evaluation.report_charts import Curve, curves_of, line_chart, reliability_chart
from ocr_pipeline.ops.statistics import reliability
from tests.evaluation.reports import Elements


def heights(chart: str) -> list[float]:
    (points,) = re.findall(r'<polyline[^>]*points="([^"]+)"', chart)
    return [float(point.split(",")[1]) for point in points.split()]


def ticks(chart: str) -> list[str]:
    return re.findall(r'text-anchor="end">([^<]+)</text>', chart)


def test_curves_are_sorted_and_finite() -> None:
    log = [{"step": 2, "a": 1.0}, {"step": 1, "a": 3, "b": float("inf")}, {"a": 5.0}, {"step": "x"}]
    assert curves_of(log, ["a", "b", "c"]) == [Curve("a", ((1.0, 3.0), (2.0, 1.0)))]


def test_values_are_drawn_between_the_ticks() -> None:
    chart = line_chart("loss", [Curve("total", ((0, 0.0), (5, 5.0), (10, 10.0)))])
    bottom, middle, top = heights(chart)
    assert middle == pytest.approx((bottom + top) / 2)
    assert bottom > top
    assert ticks(chart)[:5] == ["0", "2.5", "5", "7.5", "10"]


def test_a_wide_range_is_logarithmic_where_allowed() -> None:
    curve = Curve("total", ((0, 100.0), (5, 1.0), (10, 0.01)))
    upper, middle, lower = heights(line_chart("loss", [curve], may_be_log=True))
    assert middle == pytest.approx((upper + lower) / 2)
    plain = heights(line_chart("loss", [curve]))
    assert plain[1] == pytest.approx(plain[2], abs=2)


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0, 1e-9])
def test_a_level_curve_has_a_scale(value: float) -> None:
    chart = line_chart("x", [Curve("a", ((1, value), (2, value)))])
    assert all(0 <= height <= 200 for height in heights(chart))
    assert "<circle" in line_chart("x", [Curve("a", ((0, value),))])  # one point would not show


def test_long_curves_are_thinned_by_means() -> None:
    points = tuple((float(step), float(step % 2)) for step in range(100_000))
    chart = line_chart("x", [Curve("a", points)])
    assert len(heights(chart)) <= 400
    assert len(chart) < 20_000


def test_names_are_text() -> None:
    found = Elements(line_chart("<b>", [Curve("<i>", ((0, 1.0),)), Curve("<u>", ((0, 2.0),))]))
    assert found.tags["b"] == found.tags["i"] == found.tags["u"] == 0
    assert "<b>" in found.text


def test_reliability_bars_stand_for_filled_bins() -> None:
    found = reliability(np.array([0.95, 0.97, 0.4]), np.array([True, False, False]))
    chart = reliability_chart("right", found)
    assert chart.count("<rect") == 2
    assert "2 of confidence 0.9 to 1.0, 0.960 on average: 50.0 % right" in chart
    assert ">67</text>" in chart
