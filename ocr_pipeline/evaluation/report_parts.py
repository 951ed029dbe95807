"""Parts that the report pages of both tasks have: tables of figures, curves, confidences, facts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ocr_pipeline.evaluation.comparison import SIGNIFICANT, Confidence, Metric, Share, Threshold
from ocr_pipeline.evaluation.report_charts import (
    CHART_STYLE,
    Curve,
    curves_of,
    line_chart,
    reliability_chart,
)
from ocr_pipeline.ops.statistics import Interval, wilson
from ocr_pipeline.ops.web_page import shown

STYLE = (
    CHART_STYLE
    + """
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:8px 12px;text-align:right;border-top:1px solid var(--line);white-space:nowrap;
vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:12.5px;border-top:0}
tbody th{color:inherit;font-size:14px;font-weight:400;border-top:1px solid var(--line);
max-width:320px;white-space:normal;overflow-wrap:break-word;min-width:110px}
thead th{white-space:normal;min-width:72px;max-width:190px;overflow-wrap:break-word}
th:first-child{text-align:left}
.tile b{white-space:nowrap}
tbody tr:first-child th,tbody tr:first-child td{border-top:1px solid var(--line)}
small{display:block;color:var(--soft);font-size:12px}
.up{color:var(--well)}.down{color:var(--refuse)}
:root{--well:#1c7a4c;--well-bg:#dff3e8}
@media (prefers-color-scheme:dark){:root{--well:#7fd6a8;--well-bg:#173527}}
.well{color:var(--well);background:var(--well-bg)}
.good p{margin:0 0 8px}.good p:last-child{margin:0}.soft{color:var(--soft);font-size:13.5px}
mark{background:var(--refuse-bg);color:var(--refuse);border-radius:3px;padding:0 1px}
.read{display:grid;grid-template-columns:auto minmax(0,1fr);gap:2px 10px;margin:0;font-size:14.5px}
.read dt{color:var(--soft);font-size:12.5px;padding-top:2px}
.read dd{margin:0;overflow-wrap:anywhere}
.case .shot{height:auto;min-height:64px;max-height:200px}
.shot img{max-height:184px;object-fit:contain}
.grid{align-items:start}
.pages{grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}
.pages .shot,.pages .shot img{max-height:none}
.faults{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,148px),1fr));gap:8px}
.fault{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px 10px}
.fault b{font-size:19px;font-weight:500}
.fault .to{color:var(--soft);font-size:13px;margin:0 3px}
.facts{display:grid;grid-template-columns:minmax(110px,auto) minmax(0,1fr);gap:4px 16px;margin:0;
background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;
font-size:14px}
.charts+.sub{margin-top:16px}.text .where{margin-top:6px;font-size:12.5px}
.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
.legend{display:flex;gap:4px 14px;flex-wrap:wrap;margin:0 0 10px}
.kr::before{background:#e63c3c}.ka::before{background:#e8a01c}.kg::before{background:#2c9a6b}
.kn::before{background:#8a8f98}
@media (max-width:520px){th,td{padding:7px 8px}table,tbody th{font-size:13px}
tbody th{min-width:96px}.tile b{font-size:21px}}
"""
)

_NOT_LOSS = ("step", "lr")
_VALIDATION = "val_"
_TOGETHER = (
    ("exact match, %", ("exact", "exact_normalised")),
    ("character error rate, %", ("cer", "cer_normalised")),
    ("1-NED, %", ("ned", "ned_normalised")),
    ("replay, %", ("replay_exact", "replay_cer")),
    ("regions, %", ("hmean", "precision", "recall")),
)


@dataclass(frozen=True)
class RunFacts:
    """What a report says of the run beside its figures.

    Attributes:
        name: heading of the page.
        before: what the model before is, e.g. "step 0"; it stands above its column.
        after: what the model after is, e.g. "best, step 150".
        best_step: of the model after; None: unknown.
        facts: shown at the end, e.g. {"start model": "ppocrv6_small_rec"}.
        chosen_here: the model after was chosen by its figures on these very samples.
    """

    name: str
    before: str = "before"
    after: str = "after"
    best_step: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    chosen_here: bool = True


def curves(log: Sequence[Mapping[str, object]], best_step: int | None) -> str:
    """Charts of everything in ``metrics.jsonl``; nothing where it is empty."""
    names = list(dict.fromkeys(name for row in log for name in row))
    validation = [name for name in names if name.startswith(_VALIDATION)]
    losses = [
        name
        for name in names
        if name not in _NOT_LOSS and not name.endswith("seconds") and name not in validation
    ]
    charts = []
    if found := curves_of(log, losses):
        charts.append(line_chart("loss", found, best_step=best_step, may_be_log=True))
    for title, metrics in _grouped(validation):
        found = [Curve(_short(curve.name), curve.points) for curve in curves_of(log, metrics)]
        if found:
            charts.append(line_chart(title, found, best_step=best_step, marks=True))
    if found := curves_of(log, ["lr"]):
        charts.append(line_chart("learning rate", found, best_step=best_step))
    if not charts:
        return ""
    line = " The dashed line is the best checkpoint." if best_step is not None else ""
    return (
        f'<h2>Curves</h2><p class="sub">Over optimiser steps.{line}</p>'
        f'<div class="charts">{"".join(charts)}</div>'
    )


def _short(name: str) -> str:
    """Name of a validation curve beside its chart's title."""
    return "normalised" if name.endswith("_normalised") else name.removeprefix(_VALIDATION)


def _grouped(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Validation figures that stand in one chart; each other one has its own."""
    left = list(names)
    groups = []
    for title, members in _TOGETHER:
        chosen = [_VALIDATION + name for name in members if _VALIDATION + name in left]
        if chosen:
            groups.append((title, chosen))
        left = [name for name in left if name not in chosen]
    return groups + [(name.removeprefix(_VALIDATION), [name]) for name in left]


def metric_table(metrics: Iterable[Metric], run: RunFacts) -> str:
    """Before, after, change and chance of each metric."""
    metrics = list(metrics)
    both = any(metric.change is not None for metric in metrics)
    heads = ["", run.before, run.after, "change", "by chance"] if both else ["", run.after]
    rows = []
    for metric in metrics:
        cells = [_figure(metric.after)]
        if both:
            cells = [_figure(metric.before), *cells, _change(metric), _chance_cell(metric)]
        rows.append([shown(metric.title), *cells])
    return _table(heads, rows)


def verdict(metric: Metric, *, samples: str) -> str:
    """What the change of the main metric means, in words.

    Args:
        metric: the main one.
        samples: what it was measured on, e.g. "200 lines".
    """
    if metric.before is None or metric.after is None or metric.change is None or metric.p is None:
        return f"<p>There is nothing to compare with; the figures are of {shown(samples)}.</p>"
    by = metric.change.value
    before, after = f"{metric.before.value:.1f}&nbsp;%", f"{metric.after.value:.1f}&nbsp;%"
    name = metric.title[:1].upper() + metric.title[1:]
    if by == 0:
        return f"<p>{shown(name)} is {after} before and after, on {shown(samples)}.</p>"
    way = "rose" if by > 0 else "fell"
    luck = (
        "this is hardly luck"
        if metric.p < SIGNIFICANT
        else f"that may well be luck: {samples} are too few to tell the models apart"
    )
    return (
        f"<p><b>{shown(name)} {way} from {before} to {after}</b> on {shown(samples)}. If both "
        "models were equally good, chance alone would put them at least so far apart in "
        f"{chance(metric.p)} tries ({shown(metric.test)}); {shown(luck)}.</p>"
    )


def chance(p: float) -> str:
    """A p value as "7 of 1,000"."""
    for of in (100, 1000, 10_000):
        if p * of >= 1.5:
            return f"{round(p * of):,} of {of:,}"
    return "at most 1 of 10,000"


def chosen_here(run: RunFacts, samples: str) -> str:
    """A word of caution where the checkpoint was chosen on the same samples."""
    if not run.chosen_here:
        return ""
    return (
        f'<p class="soft">The checkpoint was chosen on these very {shown(samples)}, which flatters '
        "it a little; only samples that no choice was made on tell how good it really is.</p>"
    )


def share_table(title: str, shares: Sequence[Share], run: RunFacts, *, kind: str) -> str:
    """Shares of right samples by part, with the 95 % interval of each (Wilson).

    Args:
        title: heading of the first column.
        shares: parts; without any, nothing is shown.
        run: names the columns.
        kind: what is counted, e.g. "lines".
    """
    if not shares:
        return ""
    both = all(share.before is not None for share in shares)
    with_cer = all(share.cer_after is not None for share in shares)
    heads = [title, kind, *([run.before] if both else []), run.after]
    heads += ["CER before → after" if both else "CER"] if with_cer else []
    rows = []
    for share in shares:
        cells = [shown(share.title), f"{share.total:,}"]
        if both:
            cells.append(_share_cell(share.before or 0, share.total))
        cells.append(_share_cell(share.after, share.total))
        if with_cer:
            after = f"{share.cer_after:.2f} %"
            cells.append(f"{share.cer_before:.2f} → {after}" if both else after)
        rows.append(cells)
    return _table(heads, rows)


def confidence_section(found: Confidence | None, *, kind: str, wrong: str, note: str) -> str:
    """Reliability diagrams, and the threshold for each wanted error rate.

    Args:
        found: None: nothing was read or found.
        kind: what has a confidence, e.g. "lines".
        wrong: what a wrong one is called, e.g. "misread".
        note: what the confidence is.
    """
    if found is None:
        return ""
    charts = []
    if found.before is not None:
        charts.append(reliability_chart("right, by confidence: before", found.before))
    charts.append(reliability_chart("right, by confidence: after", found.after))
    ece = f"{100 * found.after.ece:.1f} points"
    if found.before is not None:
        ece = f"{100 * found.before.ece:.1f} points before, {ece} after"
    rows = [_threshold_row(one, found.samples) for one in found.thresholds]
    both = found.before is not None
    heads = [
        f"{wrong} at most",
        "threshold",
        "accepted",
        f"{wrong}",
        "on new samples",
        "promised from",
    ]
    heads += ["accepted before"] if both else []
    rows = [row if both else row[:-1] for row in rows]
    return (
        f'<h2>Confidence</h2><p class="sub">{shown(note)} Where bars reach the dashed line, a '
        "confidence says how often it is right; the number above a bar is the percentage of all "
        f"{shown(kind)} that it holds. Expected calibration error (mean distance from "
        f'the line): {ece}.</p><div class="charts">{"".join(charts)}</div>'
        f'<p class="sub">From which confidence on {shown(kind)} can be accepted unseen. The '
        "threshold is fitted to these samples. <em>On new samples</em>: the error rate there is "
        "not above it (95 %, Clopper-Pearson, for this one threshold). <em>Promised from</em>: "
        "from this confidence on the wanted rate holds on new samples of the same kind (95 %, with "
        f"all thresholds that were tried).</p>{_table(heads, rows)}"
    )


def facts(run: RunFacts) -> str:
    """How the run was made."""
    if not run.facts:
        return ""
    rows = "".join(
        f"<dt>{shown(name)}</dt><dd><bdi>{shown(value)}</bdi></dd>"
        for name, value in run.facts.items()
    )
    return f'<h2>The run</h2><dl class="facts">{rows}</dl>'


def _threshold_row(one: Threshold, samples: int) -> list[str]:
    row = [f"{100 * one.wanted:g} %"]
    if one.measured is None:
        row += ["none", "0 %", "–", "–"]
    else:
        point = one.measured
        row += [
            _at_least(point.threshold),
            f"{100 * point.accepted / samples:.1f} %<small>{point.accepted:,}</small>",
            f"{100 * point.rate:.2f} %<small>{point.errors:,}</small>",
            f"≤ {100 * point.upper:.2g} %",
        ]
    if one.guaranteed is None:
        row.append(f"–<small>takes {one.needed:,} without a fault</small>")
    else:
        accepted = 100 * one.guaranteed.accepted / samples
        row.append(f"{_at_least(one.guaranteed.threshold)}<small>{accepted:.1f} % accepted</small>")
    row.append("" if one.accepted_before is None else f"{100 * one.accepted_before:.1f} %")
    return row


def _at_least(threshold: float) -> str:
    """Rounded down: what is accepted must not be lost to the digits that are not shown."""
    return f"{int(threshold * 1e5) / 1e5:.5f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already, heads are text."""
    head = "".join(f"<th>{shown(text)}</th>" for text in heads)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _figure(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    return f"{interval.value:.2f} %{_ends(interval)}"


def _ends(interval: Interval) -> str:
    if interval.low == interval.high:
        return ""
    return f"<small>{interval.low:.2f} to {interval.high:.2f}</small>"


def _change(metric: Metric) -> str:
    if metric.change is None:
        return "–"
    change = metric.change
    way = ""
    if metric.p is not None and metric.p < SIGNIFICANT:
        better = (change.value > 0) == metric.higher_is_better
        way = ' class="up"' if better else ' class="down"'
    ends = ""
    if change.low != change.high:
        ends = f"<small>{change.low:+.2f} to {change.high:+.2f}</small>"
    return f"<span{way}>{change.value:+.2f}</span>{ends}"


def _chance_cell(metric: Metric) -> str:
    if metric.p is None:
        return "–"
    return f"{chance(metric.p)}<small>{shown(metric.test)}</small>"


def _share_cell(right: int, total: int) -> str:
    value, low, high = (100 * end for end in wilson(right, total))
    return f"{value:.1f} %<small>{low:.1f} to {high:.1f}</small>"
