"""What a comparison of page readers is told as: two tables and one JSON object."""

from collections.abc import Sequence
from typing import Any

from ocr_pipeline.benchmarks.pages import PagesReport, SideResult
from ocr_pipeline.benchmarks.peers import PEERS


def as_markdown(report: PagesReport) -> str:
    """Both tables, and what each peer does its own way."""
    plan = report.plan
    ours = ", ".join(name for name in (plan.det, plan.rec) if name)
    parts = [
        f"{report.pages} pages of {report.characters:,} characters, v6 {plan.size}"
        + (f" (ours: {ours})" if ours else "")
        + f", {plan.threads} threads a side; {plan.rounds} rounds in turns, after {plan.warmup}",
        _sides(report.sides),
    ]
    notes = [f"- {s.name}: {PEERS[s.name].differs}." for s in report.sides if s.name in PEERS]
    if notes:
        parts.append("\n".join(notes))
    if report.profiles:
        parts.append(_profiles(report))
    return "\n\n".join(parts)


def _sides(sides: Sequence[SideResult]) -> str:
    columns = (
        "side", "ms a page", "CPU ms", "times the first (95 %)", "CER %", "above the first (95 %)",
        "lines", "characters", "start s", "again s", "peak MB",
    )  # fmt: skip
    rows = []
    for side in sides:
        ratio, more = side.ratio, side.cer_more
        rows.append(
            (
                side.name,
                f"{side.milliseconds:,.0f}",
                f"{side.cpu_milliseconds:,.0f}",
                "" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                f"{side.cer:.3f}",
                "" if more is None else f"{more.value:+.3f} ({more.low:+.3f} to {more.high:+.3f})",
                f"{side.lines:,}",
                f"{side.characters:,}",
                f"{side.first_start_s:.2f}",
                f"{side.start_s:.2f}",
                f"{side.peak_mb:,.0f}",
            )
        )
    return _table(columns, rows)


def _profiles(report: PagesReport) -> str:
    profiles = report.profiles
    columns = ("ms a page", *(profile.name for profile in profiles))
    rows = [(name, *(f"{p.steps[name]:.1f}" for p in profiles)) for name in profiles[0].steps]
    rows += [
        ("the whole page", *(f"{p.milliseconds:.1f}" for p in profiles)),
        ("both networks alone", *(f"{p.networks:.1f}" for p in profiles)),
        ("above these", *(f"{p.above:.1%}" for p in profiles)),
    ]
    return _table(columns, rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def summary(report: PagesReport) -> dict[str, Any]:
    """The figures as one JSON object.

    ``ratio``: time of each other side as a multiple of the first one's, median over pictures, with
    its 95 % interval in ``ratio_interval``. ``cer``: percent; ``cer_above``: points above the first
    side, and the 95 % interval. ``ms``, ``cpu_ms``: a page.
    ``above_networks``: what a page of ours takes above its networks alone, as a share of them.
    """
    sides = report.sides
    return {
        "size": report.plan.size,
        "threads": report.plan.threads,
        "pages": report.pages,
        "characters": report.characters,
        "rounds": report.plan.rounds,
        "ratio": {s.name: round(s.ratio.value, 3) for s in sides if s.ratio is not None},
        "ratio_interval": {
            s.name: [round(s.ratio.low, 3), round(s.ratio.high, 3)]
            for s in sides
            if s.ratio is not None
        },
        "cer": {s.name: round(s.cer, 4) for s in sides},
        "cer_above": {
            s.name: [round(value, 4) for value in s.cer_more]
            for s in sides
            if s.cer_more is not None
        },
        "cer_in_order": {s.name: round(s.cer_in_order, 4) for s in sides},
        "peak_mb": {s.name: round(s.peak_mb) for s in sides},
        "ms": {s.name: round(s.milliseconds, 1) for s in sides},
        "cpu_ms": {s.name: round(s.cpu_milliseconds, 1) for s in sides},
        "lines": {s.name: s.lines for s in sides},
        "characters_read": {s.name: s.characters for s in sides},
        "first_start_s": {s.name: round(s.first_start_s, 2) for s in sides},
        "start_s": {s.name: round(s.start_s, 2) for s in sides},
        "profile": {
            p.name: {
                **{name: round(value, 2) for name, value in p.steps.items()},
                "page": round(p.milliseconds, 1),
                "networks alone": round(p.networks, 1),
            }
            for p in report.profiles
        },
        "above_networks": {p.name: round(p.above, 3) for p in report.profiles},
    }
