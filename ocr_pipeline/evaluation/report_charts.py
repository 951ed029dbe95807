"""Charts of a report: SVG as text, sized for a phone, without script and without inline style."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ocr_pipeline.ops.statistics import Reliability
from ocr_pipeline.ops.web_page import shown

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
_LOG_FROM = 30.0
"""Ratio of largest to smallest value from which a scale is logarithmic."""
_POINTS = 400
"""Points of a curve at most; longer ones are thinned by means."""
_COLOURS = 5

CHART_STYLE = """
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:14px}
.chart{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 12px 8px;
margin:0;min-width:0}
.chart figcaption{font-weight:600;font-size:14px;display:flex;gap:2px 12px;flex-wrap:wrap;
align-items:baseline;margin-bottom:6px}
.chart svg{display:block;width:100%;height:auto}
.chart text{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}
.chart .axis{stroke:var(--line);stroke-width:1}
.chart .best{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
.curve{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.key{font-weight:400;font-size:12.5px;color:var(--soft);white-space:nowrap}
.key::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;
background:currentColor;margin-right:5px;vertical-align:3px}
.s0{stroke:#2f6fdb}.s1{stroke:#d5662a}.s2{stroke:#2c9a6b}.s3{stroke:#9457c9}.s4{stroke:#8a8f98}
.d0{fill:#2f6fdb}.d1{fill:#d5662a}.d2{fill:#2c9a6b}.d3{fill:#9457c9}.d4{fill:#8a8f98}
.k0::before{background:#2f6fdb}.k1::before{background:#d5662a}.k2::before{background:#2c9a6b}
.k3::before{background:#9457c9}.k4::before{background:#8a8f98}
.chart .ideal{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:4 3}
"""


@dataclass(frozen=True)
class Curve:
    """One line of a chart: (step, value), by step."""

    name: str
    points: tuple[tuple[float, float], ...]


def curves_of(log: Iterable[Mapping[str, object]], names: Iterable[str]) -> list[Curve]:
    """Curves of those names that have a finite value in some row of ``metrics.jsonl``."""
    rows = list(log)
    found = []
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row and "step" in row]
        finite = [
            (float(step), float(value))
            for step, value in points
            if isinstance(step, int | float)
            and isinstance(value, int | float)
            and math.isfinite(value)
        ]
        if finite:
            found.append(Curve(name, tuple(sorted(finite))))
    return found


def line_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    best_step: int | None = None,
    marks: bool = False,
    may_be_log: bool = False,
) -> str:
    """Curves over steps.

    Args:
        title: above the chart.
        curves: at least one, none empty.
        best_step: gets a dashed line.
        marks: draw each point.
        may_be_log: the scale is logarithmic where values span a wide range.
    """
    curves = [Curve(curve.name, _thinned(curve.points)) for curve in curves]
    steps = [step for curve in curves for step, _ in curve.points]
    values = [value for curve in curves for _, value in curve.points]
    axis = _Axis.over(values, may_be_log=may_be_log)
    last = max(max(steps), 1.0)

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    parts = [_grid(axis), _steps(last, x(0), x(last))]
    if best_step is not None and best_step <= last:
        at = f"{x(best_step):.1f}"
        parts.append(
            f'<line class="best" x1="{at}" x2="{at}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}">'
            f"<title>best: step {best_step:,}</title></line>"
        )
    for number, curve in enumerate(curves):
        places = [(x(step), axis.y(value)) for step, value in curve.points]
        line = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        colour = number % _COLOURS
        parts.append(f'<polyline class="curve s{colour}" points="{line}"/>')
        if marks or len(places) == 1:
            parts += [
                f'<circle class="d{colour}" cx="{across:.1f}" cy="{down:.1f}" r="3">'
                f"<title>{shown(curve.name)}, step {step:,.0f}: {value:.4g}</title></circle>"
                for (across, down), (step, value) in zip(places, curve.points, strict=True)
            ]
    names = [curve.name for curve in curves]
    return _figure(title, names if len(names) > 1 else [], "".join(parts))


def reliability_chart(title: str, found: Reliability) -> str:
    """Share of right readings by confidence; on the dashed line, confidences say the truth.

    Above each bar stands what percentage of the readings it holds.
    """
    axis = _Axis(0.0, 1.0, step=0.25)
    width, total = _WIDTH - _LEFT - _RIGHT, int(found.counts.sum())
    parts = [_grid(axis, percent=True)]
    for (low, high), count, mean, right in zip(
        pairwise(found.edges.tolist()),
        found.counts.tolist(),
        found.confidences.tolist(),
        found.accuracies.tolist(),
        strict=True,
    ):
        if not count:
            continue
        left = _LEFT + width * low + 1.5
        top = min(axis.y(right), _HEIGHT - _BOTTOM - 1.5)
        parts.append(
            f'<rect class="d0" x="{left:.1f}" y="{top:.1f}" width="{width * (high - low) - 3:.1f}" '
            f'height="{_HEIGHT - _BOTTOM - top:.1f}" rx="2"><title>{count:,} of confidence '
            f"{low:.1f} to {high:.1f}, {mean:.3f} on average: {100 * right:.1f} % right</title>"
            "</rect>"
            + _text(
                left + width * (high - low) / 2 - 1.5,
                max(top - 4, 9),
                _share(count / total),
                "middle",
            )
        )
    floor, ceiling = _HEIGHT - _BOTTOM, _TOP
    parts.append(
        f'<line class="ideal" x1="{_LEFT}" y1="{floor}" x2="{_LEFT + width}" y2="{ceiling}"/>'
    )
    for share in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        parts.append(_text(_LEFT + width * share, _HEIGHT - 8, f"{share:g}", anchor))
    return _figure(title, [], "".join(parts))


@dataclass(frozen=True)
class _Axis:
    """The upright scale of a chart.

    Attributes:
        low, high: ends; of a logarithmic scale their powers of ten.
        step: between ticks.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    step: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], *, may_be_log: bool) -> "_Axis":
        low, high = min(values), max(values)
        if may_be_log and low > 0 and high / low >= _LOG_FROM:
            first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
            return cls(first, last, max(1, math.ceil((last - first) / 5)), log=True)
        if high == low:
            low, high = (low - 1, high + 1) if low else (0.0, 1.0)
        step = _nice((high - low) / 4)
        return cls(step * math.floor(low / step), step * math.ceil(high / step), step)

    def y(self, value: float) -> float:
        """Height of a value on the chart."""
        return self._at(math.log10(value) if self.log else value)

    def ticks(self) -> list[tuple[float, float]]:
        """Values to name, each with its height."""
        count = math.floor((self.high - self.low) / self.step + 1e-9)
        places = [self.low + self.step * number for number in range(count + 1)]
        return [(10**place if self.log else place, self._at(place)) for place in places]

    def _at(self, place: float) -> float:
        inner = _HEIGHT - _BOTTOM - _TOP
        return _HEIGHT - _BOTTOM - inner * (place - self.low) / (self.high - self.low)


def _nice(step: float) -> float:
    """The next larger of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * 0.999)


def _thinned(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Means over equal numbers of points, where there are too many to see."""
    every = math.ceil(len(points) / _POINTS)
    if every == 1:
        return points
    chunks = [points[at : at + every] for at in range(0, len(points), every)]
    return tuple(
        (sum(step for step, _ in part) / len(part), sum(value for _, value in part) / len(part))
        for part in chunks
    )


def _grid(axis: _Axis, *, percent: bool = False) -> str:
    parts = []
    for tick, at in axis.ticks():
        label = f"{100 * tick:.0f} %" if percent else _number(tick)
        parts.append(
            f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            + _text(_LEFT - 6, at + 4, label, "end")
        )
    return "".join(parts)


def _steps(last: float, left: float, right: float) -> str:
    ticks = {0.0: "start", last: "end"}
    middle = _nice(last / 2)
    if 0.2 * last < middle < 0.8 * last:
        ticks[middle] = "middle"
    return "".join(
        _text(left + (right - left) * step / last, _HEIGHT - 8, f"{step:,.0f}", anchor)
        for step, anchor in ticks.items()
    )


def _number(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        digits, power = f"{value:.1e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.6g}"


def _share(value: float) -> str:
    return f"{100 * value:.0f}" if value >= 0.005 else "<1"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{shown(text)}</text>'


def _figure(title: str, names: Sequence[str], inner: str) -> str:
    keys = "".join(
        f'<span class="key k{number % _COLOURS}">{shown(name)}</span>'
        for number, name in enumerate(names)
    )
    return (
        f'<figure class="chart"><figcaption>{shown(title)}{keys}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{shown(title)}">{inner}'
        "</svg></figure>"
    )
