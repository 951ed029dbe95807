"""What came of load on services: tables and plain values."""

import statistics
from collections.abc import Sequence
from typing import Any

from ocr_pipeline.benchmarks.peers import SERVER_PEERS, find_peers
from ocr_pipeline.benchmarks.serve import Load, LoadReport, Service, Turns

_SETTLING_S, _WINDOW_S = 120.0, 30.0
_MOST_POINTS = 200
_LEAST_READ = 0.95


def as_markdown(report: LoadReport) -> str:
    """Tables with notes below."""
    plan, first = report.plan, report.services[0]
    pictures = f"{len(plan.pictures)} pictures in turn ({len(set(plan.pictures))} different)"
    turns = f"{plan.rounds} turns of {plan.seconds:g} s{'' if plan.soak else ' or more'}"
    lines = [f"{pictures}, {turns}", ""]
    heads = "load | service | pictures/s | times | p50 ms | p95 ms | times | CPU ms | answers"
    lines += [f"| {heads} | differing |", f"|{'---|' * 10}"]
    for load in plan.loads:
        for service in report.services:
            cells = [load.label, service.name, *_cells(service.turns[load], first.turns[load])]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| service | CER % | start s | peak MB |", "|---|---|---|---|"]
    for s in report.services:
        started, peak = (s.server.start_s, s.peak_mb) if s.server else (None, None)
        cells = [s.name, _shown(s.cer(), 3), _shown(started, 1), _shown(peak, 0)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        f"\n{s.name}, {load.label}: {_grown(memory_growth(s.turns[load].course))}"
        for s in report.services
        for load in plan.loads
        if plan.soak and s.server
    ]
    lines += [
        f"\n{s.name}: still at work when it was stopped after {s.restless} turns; its next ones "
        "have that work too"
        for s in report.services
        if s.restless
    ]
    lines += ["", "load: clients, or arrivals a second"]
    if len(report.services) > 1:
        lines[-1] += f"; times: {first.name} against the service, above 1 where it is faster"
    peers = find_peers(plan.against, SERVER_PEERS)
    return "\n".join(lines + [f"- {peer.name}: {peer.differs}" for peer in peers])


def summary(report: LoadReport) -> dict[str, Any]:
    """Plain values for JSON.

    Returns:
        ``ratio`` and ``p95_ratio``: by other service and load, how many times the first service is
        as fast (pictures a second; time that 95 % wait), None where one read nothing, the second
        also where one did not read more than 5 % of the pictures;
        ``servers``: by name, all figures; ``pictures``: sent in turn.
    """
    first, others = report.services[0], report.services[1:]
    loads = report.plan.loads
    return {
        "ratio": {
            s.name: {n.label: _ratio(first.turns[n], s.turns[n]) for n in loads} for s in others
        },
        "p95_ratio": {
            s.name: {n.label: _p95_ratio(first.turns[n], s.turns[n]) for n in loads} for s in others
        },
        "servers": {service.name: _figures(service, loads) for service in report.services},
        "pictures": len(report.plan.pictures),
    }


def memory_growth(course: Sequence[tuple[float, float]]) -> dict[str, float] | None:
    """What a service held more at the end of a soak than once it had settled, after two minutes.

    Args:
        course: seconds and MB.

    Returns:
        ``settled_mb``, ``end_mb``: medians of half a minute; ``growth_mb``: their difference;
        ``mb_per_hour``: slope of the line through all that came after two minutes. None where less
        than three minutes were seen.
    """
    if not course or course[-1][0] < _SETTLING_S + 2 * _WINDOW_S:
        return None
    later = [(at, mb) for at, mb in course if at >= _SETTLING_S]
    settled = statistics.median(mb for at, mb in later if at < _SETTLING_S + _WINDOW_S)
    end = statistics.median(mb for at, mb in later if at >= course[-1][0] - _WINDOW_S)
    slope = statistics.linear_regression(*zip(*later, strict=True)).slope
    return {
        "settled_mb": round(settled, 1),
        "end_mb": round(end, 1),
        "growth_mb": round(end - settled, 1),
        "mb_per_hour": round(3600 * slope, 1),
    }


def _figures(service: Service, loads: Sequence[Load]) -> dict[str, Any]:
    started = service.server is not None
    return {
        "url": service.url,
        "cer": _rounded(service.cer(), 3),
        "unread": sum(path not in service.first for path in service.bodies),
        "peak_mb": round(service.peak_mb, 1) if started else None,
        "restless": service.restless if started else None,
        "start_s": round(service.server.start_s, 2) if service.server else None,
        "loads": {load.label: _load_figures(service.turns[load]) for load in loads},
    }


def _load_figures(turns: Turns) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "per_second": round(turns.per_second, 3),
        "per_second_by_round": [round(rate, 3) for rate in turns.by_round],
        "p50_ms": _rounded(turns.wait_ms(50), 1),
        "p95_ms": _rounded(turns.wait_ms(95), 1),
        "cpu_ms": _rounded(turns.cpu_ms, 1),
        "statuses": dict(sorted(turns.answers.items())),
        "differing": turns.differing,
    }
    if turns.course:
        step = -(-len(turns.course) // _MOST_POINTS)
        curve = [[round(at, 1), round(mb, 1)] for at, mb in turns.course[::step]]
        figures["memory"] = {"growth": memory_growth(turns.course), "curve": curve}
    return figures


def _cells(turns: Turns, first: Turns) -> list[str]:
    same = turns is first
    return [
        f"{turns.per_second:.2f}",
        "" if same else _shown(_ratio(first, turns), 2),
        _shown(turns.wait_ms(50), 0),
        _shown(turns.wait_ms(95), 0),
        "" if same else _shown(_p95_ratio(first, turns), 2),
        _shown(turns.cpu_ms, 0),
        ", ".join(f"{status}: {number}" for status, number in sorted(turns.answers.items())),
        str(turns.differing),
    ]


def _ratio(first: Turns, other: Turns) -> float | None:
    return round(first.per_second / other.per_second, 3) if first.times and other.times else None


def _p95_ratio(first: Turns, other: Turns) -> float | None:
    if min(first.read_share, other.read_share) < _LEAST_READ:
        return None
    ours, theirs = first.wait_ms(95), other.wait_ms(95)
    return round(theirs / ours, 3) if ours and theirs else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _grown(growth: dict[str, float] | None) -> str:
    if growth is None:
        return "memory: too short to say whether it grows; three minutes at least"
    return (
        f"memory after 2 minutes {growth['settled_mb']:,.0f} MB, at the end "
        f"{growth['end_mb']:,.0f} MB ({growth['growth_mb']:+,.0f} MB; "
        f"{growth['mb_per_hour']:+,.0f} MB an hour)"
    )
