"""The pages of a run's report; labels and file names on them are hostile input."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from ocr_pipeline.evaluation.compare_lines import CountedConfusion, LineComparison, ReadLine
from ocr_pipeline.evaluation.compare_regions import ComparedPages, RegionComparison
from ocr_pipeline.evaluation.comparison import Metric, Share
from ocr_pipeline.evaluation.report_parts import (
    STYLE,
    RunFacts,
    chosen_here,
    confidence_section,
    curves,
    facts,
    metric_table,
    share_table,
    verdict,
)
from ocr_pipeline.ops.confusions import align
from ocr_pipeline.ops.web_page import document, shown, tiles

_PLACES = 300
"""Characters of a line that are shown with their faults."""
_CONFUSIONS = 60
_SURE = 0.9

Log = Sequence[Mapping[str, object]]


def line_page(
    found: LineComparison, run: RunFacts, log: Log, picture: Callable[[ReadLine], str | None]
) -> str:
    """The whole page of a recognizer's run.

    Args:
        found: the figures.
        run: names and facts.
        log: rows of ``metrics.jsonl``.
        picture: gives the data URI of a line's picture; None: it cannot be shown.
    """
    lines = f"{found.lines:,} lines"
    if found.pictures < found.lines:
        lines += f" of {found.pictures:,} pictures"
    by_name = {metric.name: metric for metric in found.metrics}
    body = [
        tiles(
            [
                (_before_after(by_name["exact"]), "exact match, %"),
                (_before_after(by_name["cer"]), "character error rate, %"),
                (f"{found.lines:,}", "validation lines"),
                *_best_tile(run),
            ]
        ),
        f'<h2>Result</h2><div class="good">{verdict(by_name["exact"], samples=lines)}',
        _turned(found),
        chosen_here(run, "lines"),
        "</div>",
        "<h2>Before and after</h2>",
        _intervals("lines" if found.pictures == found.lines else "pictures, with all their lines"),
        metric_table(found.metrics, run),
        _replay(found, run),
        curves(log, run.best_step),
        _lines("Surely wrong", _SURELY_WRONG, found.surely_wrong, picture),
        _lines("Worse than before", "More faults than before.", found.worse, picture),
        _lines("Better than before", "Fewer faults than before.", found.better, picture),
        _confusions(found.confusions),
        _shares("By length of the label", "characters", found.by_length, run, kind="lines"),
        _shares("By source", "source", found.by_source, run, kind="lines"),
        confidence_section(found.confidence, kind="lines", wrong="misread", note=_LINE_CONFIDENCE),
        facts(run),
    ]
    return document(
        title=run.name, chinese="训练报告 · 文字识别", body="\n".join(body), style=STYLE
    )


def region_page(
    found: RegionComparison,
    run: RunFacts,
    log: Log,
    picture: Callable[[ComparedPages], str | None],
) -> str:
    """The whole page of a detector's run; see :func:`line_page`."""
    by_name = {metric.name: metric for metric in found.metrics}
    samples = f"{found.pages:,} pages with {found.regions:,} regions"
    body = [
        tiles(
            [
                (_before_after(by_name["hmean"]), "hmean, %"),
                (_before_after(by_name["precision"]), "precision, %"),
                (_before_after(by_name["recall"]), "recall, %"),
                (f"{found.pages:,}", "validation pages"),
                *_best_tile(run),
            ]
        ),
        f'<h2>Result</h2><div class="good">{verdict(by_name["hmean"], samples=samples)}',
        chosen_here(run, "pages"),
        "</div>",
        "<h2>Before and after</h2>",
        _intervals("pages"),
        metric_table(found.metrics, run),
        curves(log, run.best_step),
        _LEGEND if found.worst or found.worse or found.better else "",
        _pages("Most faults", "Pages with the most faults now.", found.worst, picture),
        _pages("Worse than before", "More faults than before.", found.worse, picture),
        _pages("Better than before", "Fewer faults than before.", found.better, picture),
        _shares(
            "Found, by height of the region", "shorter side", found.by_height, run, kind="regions"
        ),
        _shares("Found, by source", "source", found.by_source, run, kind="regions"),
        confidence_section(
            found.confidence, kind="regions", wrong="false", note=_REGION_CONFIDENCE
        ),
        facts(run),
    ]
    return document(
        title=run.name, chinese="训练报告 · 文字检测", body="\n".join(body), style=STYLE
    )


_SURELY_WRONG = (
    "Wrong in spite of a high confidence. Look at the label too: this is where wrong labels show."
)
_LINE_CONFIDENCE = (
    "The confidence of a line is the mean over its characters, so a long line with one wrong "
    "character may still have a high one."
)
_REGION_CONFIDENCE = (
    "The confidence of a region is its mean probability; a threshold on it is what "
    "decode.min_score is, and a higher one costs recall."
)
_LEGEND = (
    '<h2>Pages</h2><p class="legend"><span class="key kr">missed</span>'
    '<span class="key ka">false</span><span class="key kg">found</span>'
    '<span class="key kn">not counted</span></p>'
)


def _before_after(metric: Metric) -> str:
    if metric.after is None:
        return "–"
    if metric.before is None:
        return f"{metric.after.value:.1f}"
    return f"{metric.before.value:.1f} → {metric.after.value:.1f}"


def _best_tile(run: RunFacts) -> list[tuple[str, str]]:
    return [] if run.best_step is None else [(f"{run.best_step:,}", "best step")]


def _intervals(units: str) -> str:
    return (
        f'<p class="sub">Below each figure its 95 % interval (bootstrap over {units}). By chance: '
        "how often models that are equally good would differ at least so much.</p>"
    )


def _turned(found: LineComparison) -> str:
    if found.mended is None:
        return ""
    return (
        f"<p>{found.mended:,} lines that were misread before are right now; {found.broken:,} that "
        "were right before are misread now.</p>"
    )


def _replay(found: LineComparison, run: RunFacts) -> str:
    if found.replay is None:
        return ""
    return (
        '<h2>What it knew before</h2><p class="sub">General printed lines '
        f"({found.replay_lines:,} of them), which are no part of the task: if they get worse, the "
        f"model forgets.</p>{metric_table([found.replay], run)}"
    )


def _shares(title: str, column: str, shares: Sequence[Share], run: RunFacts, *, kind: str) -> str:
    if len(shares) < 2:  # of one part all has been said
        return ""
    return f"<h2>{shown(title)}</h2>{share_table(column, shares, run, kind=kind)}"


# --- lines


def _lines(
    title: str, says: str, lines: Sequence[ReadLine], picture: Callable[[ReadLine], str | None]
) -> str:
    if not lines:
        return ""
    cards = "".join(_line(line, picture(line)) for line in lines)
    return f'<h2>{title}</h2><p class="sub">{says}</p><div class="grid">{cards}</div>'


def _line(line: ReadLine, picture: str | None) -> str:
    truth = line.sample.text
    rows = [("label", _marked(truth, line.read, of_truth=True)), ("read", _read(line.read, truth))]
    if line.before is not None:
        rows.append(("before", _read(line.before, truth)))
    texts = "".join(f"<dt>{name}</dt><dd><bdi>{text}</bdi></dd>" for name, text in rows)
    sure = "refuse" if line.edits and line.confidence >= _SURE else "keep"
    chips = f'<span class="chip {sure}">confidence {line.confidence:.3f}</span>'
    if line.edits_before is not None and line.change:
        way = "refuse" if line.change > 0 else "well"
        chips += f'<span class="chip {way}">faults {line.edits_before} → {line.edits}</span>'
    return (
        f'<article class="case">{_shot(picture, line.sample.image)}<div class="text">'
        f'<div class="head">{chips}</div><dl class="read">{texts}</dl>'
        f'<p class="where"><bdi>{_where(line.source, line.sample.image)}</bdi></p></div></article>'
    )


def _read(read: str, truth: str) -> str:
    return _marked(truth, read, of_truth=False) if read else '<span class="soft">nothing</span>'


def _marked(truth: str, read: str, *, of_truth: bool) -> str:
    """One of two texts with the places marked at which they differ."""
    places = align(read, truth)
    more = "…" if len(places) > _PLACES else ""
    pieces = []
    for differs, part in groupby(places[:_PLACES], key=lambda place: place.truth != place.read):
        text = "".join(place.truth if of_truth else place.read for place in part)
        # White space at the ends of a mark would not be seen.
        drawn = shown(text.replace(" ", "␣") if differs else text)
        pieces.append(f"<mark>{drawn or '‸'}</mark>" if differs else drawn)
    return "".join(pieces) + more


def _confusions(confusions: Sequence[CountedConfusion]) -> str:
    if not confusions:
        return ""
    cards = "".join(_confusion(one) for one in confusions[:_CONFUSIONS])
    more = ""
    if len(confusions) > _CONFUSIONS:
        more = f" The first {_CONFUSIONS}; more are in report.json."
    return (
        '<h2>Characters taken for others</h2><p class="sub">What stands there → what was read, '
        f'most frequent first.{more}</p><div class="faults">{cards}</div>'
    )


def _confusion(one: CountedConfusion) -> str:
    fault = one.confusion
    codes = " → ".join(
        " ".join(f"U+{ord(char):04X}" for char in text) or "nothing"
        for text in (fault.truth, fault.read)
    )
    was = "" if one.before is None else f", before {one.before:,}"
    return (
        f'<div class="fault" title="{codes}"><b><bdi>{_character(fault.truth)}</bdi></b>'
        f'<span class="to">→</span><b><bdi>{_character(fault.read)}</bdi></b>'
        f"<small>{fault.count:,} ×{was}</small></div>"
    )


def _character(text: str) -> str:
    if not text:
        return '<span class="soft">nothing</span>'
    return "␣" if text == " " else shown(text)


# --- pages


def _pages(
    title: str,
    says: str,
    pages: Sequence[ComparedPages],
    picture: Callable[[ComparedPages], str | None],
) -> str:
    if not pages:
        return ""
    cards = "".join(_page(page, picture(page)) for page in pages)
    return f'<h2>{title}</h2><p class="sub">{says}</p><div class="grid pages">{cards}</div>'


def _page(page: ComparedPages, picture: str | None) -> str:
    after = page.after
    chips = (
        f'<span class="chip refuse">{len(after.missed):,} missed</span>'
        f'<span class="chip fix">{len(after.false):,} false</span>'
        f'<span class="chip well">{after.score.matched:,} found</span>'
    )
    before = ""
    if page.before is not None:
        before = (
            f"<p>before: {len(page.before.missed):,} missed, {len(page.before.false):,} false, "
            f"{page.before.score.matched:,} found</p>"
        )
    return (
        f'<article class="case">{_shot(picture, page.sample.image)}<div class="text">'
        f'<div class="head">{chips}</div>{before}'
        f'<p class="where"><bdi>{_where(page.source, page.sample.image)}</bdi></p></div></article>'
    )


def _shot(picture: str | None, name: str) -> str:
    if picture is None:
        return ""
    return f'<div class="shot"><img src="{picture}" alt="{shown(name)}" loading="lazy"></div>'


def _where(source: str, image: str) -> str:
    return shown(f"{source}: {image}" if source else image)
