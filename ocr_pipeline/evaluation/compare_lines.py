"""What a training changed on cut-out lines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ocr_pipeline.artifacts.dataset import RecSample, SourceCard
from ocr_pipeline.evaluation.comparison import (
    Confidence,
    Metric,
    Rated,
    Share,
    compare,
    compare_confidences,
    group_numbers,
    share_of,
)
from ocr_pipeline.evaluation.lines import LineReport
from ocr_pipeline.ops.confusions import Confusion, count_confusions
from ocr_pipeline.ops.metrics import edit_distance, normalise_text
from ocr_pipeline.ops.statistics import Parts, mcnemar

_LENGTHS = (1, 5, 9, 13, 17, 25, 41)
"""Labels are grouped by length from each of these on, characters."""
_WRONG_SHOWN = 24
_CHANGED_SHOWN = 12
_CONFUSIONS = 200


@dataclass(frozen=True)
class ReadLine:
    """One line as both models read it.

    Attributes:
        sample: with its label.
        source: name of the source that it is from.
        read, confidence, edits: of the model after.
        before, confidence_before, edits_before: of the model before; None: there is none.
    """

    sample: RecSample
    source: str
    read: str
    confidence: float
    edits: int
    before: str | None = None
    confidence_before: float | None = None
    edits_before: int | None = None

    @property
    def change(self) -> int:
        """Edits more than before."""
        return self.edits - (self.edits if self.edits_before is None else self.edits_before)


@dataclass(frozen=True)
class CountedConfusion:
    """A confusion of the model after, and how often the model before made it."""

    confusion: Confusion
    before: int | None


@dataclass(frozen=True)
class LineComparison:
    """Everything a report says of lines.

    Attributes:
        lines: own lines: those of sources that are no replay.
        pictures: that they come from; fewer than lines where pages were cut up.
        mended, broken: lines that only the model after, or only the model before has right; None:
            there is no model before.
        metrics: of the own lines.
        replay: exact match on replay lines, which guard against forgetting; None: there are none.
        replay_lines: number of them.
        by_length, by_source: exact match and CER of parts.
        confidence: on the own lines.
        confusions: of the own lines, most frequent first.
        surely_wrong: wrong after the training, the most confident first.
        worse, better: more or fewer edits than before, the largest change first.
    """

    lines: int
    pictures: int
    mended: int | None
    broken: int | None
    metrics: tuple[Metric, ...]
    replay: Metric | None
    replay_lines: int
    by_length: tuple[Share, ...]
    by_source: tuple[Share, ...]
    confidence: Confidence | None
    confusions: tuple[CountedConfusion, ...]
    surely_wrong: tuple[ReadLine, ...]
    worse: tuple[ReadLine, ...]
    better: tuple[ReadLine, ...]


def compare_lines(
    before: LineReport | None, after: LineReport, sources: Sequence[SourceCard]
) -> LineComparison:
    """Compare what two models read on the same lines.

    Args:
        before: None: there is only the model after.
        after: of the same samples in the same order.
        sources: of the dataset, by number.

    Raises:
        ValueError: not the same samples, or no line of a source that is no replay.
    """
    everything = list(_read_lines(before, after, sources))
    replayed = [_is_replay(line.sample, sources) for line in everything]
    own = [line for line, aside in zip(everything, replayed, strict=True) if not aside]
    general = [line for line, aside in zip(everything, replayed, strict=True) if aside]
    if not own:
        raise ValueError(f"{len(general)} lines, all of them replay; expected some of your own")
    pictures = {(line.sample.source, line.sample.image) for line in own}
    mended, broken = _turned(own)
    return LineComparison(
        lines=len(own),
        pictures=len(pictures),
        mended=mended,
        broken=broken,
        metrics=_metrics(own),
        replay=_exact(general, "replay_exact", "exact match") if general else None,
        replay_lines=len(general),
        by_length=_by_length(own),
        by_source=_by_source(everything),
        confidence=_confidence(own),
        confusions=_confusions(own),
        surely_wrong=_first(own, lambda line: -line.confidence, lambda line: line.edits > 0),
        worse=_first(
            own, lambda line: -line.change, lambda line: line.change > 0, most=_CHANGED_SHOWN
        ),
        better=_first(
            own, lambda line: line.change, lambda line: line.change < 0, most=_CHANGED_SHOWN
        ),
    )


def _read_lines(
    before: LineReport | None, after: LineReport, sources: Sequence[SourceCard]
) -> Iterator[ReadLine]:
    if before is not None and len(before.lines) != len(after.lines):
        raise ValueError(
            f"{len(before.lines)} lines before and {len(after.lines)} after; expected the same"
        )
    for index, (sample, line) in enumerate(zip(after.samples, after.lines, strict=True)):
        name = sources[sample.source].name if sample.source < len(sources) else ""
        edits = edit_distance(line.text, sample.text)
        if before is None:
            yield ReadLine(sample, name, line.text, line.confidence, edits)
            continue
        first = before.lines[index]
        same = first.text == line.text
        yield ReadLine(
            sample,
            name,
            line.text,
            line.confidence,
            edits,
            first.text,
            first.confidence,
            edits if same else edit_distance(first.text, sample.text),
        )


def _is_replay(sample: RecSample, sources: Sequence[SourceCard]) -> bool:
    return sample.source < len(sources) and sources[sample.source].replay


def _turned(lines: Sequence[ReadLine]) -> tuple[int | None, int | None]:
    """Lines that only the model after, and that only the model before has right."""
    if any(line.edits_before is None for line in lines):
        return None, None
    mended = sum(line.edits == 0 and line.edits_before != 0 for line in lines)
    broken = sum(line.edits != 0 and line.edits_before == 0 for line in lines)
    return mended, broken


def _metrics(lines: Sequence[ReadLine]) -> tuple[Metric, ...]:
    groups = group_numbers((line.sample.source, line.sample.image) for line in lines)

    def metric(name: str, title: str, part: "_Part", *, higher: bool) -> Metric:
        before, after = _parts(lines, part)
        return compare(name, title, before, after, groups=groups, higher_is_better=higher)

    return (
        _exact(lines, "exact", "exact match"),
        metric("cer", "character error rate", _cer_part, higher=False),
        metric("ned", "1-NED", _ned_part, higher=True),
        metric("exact_normalised", "exact match, normalised", _folded_exact_part, higher=True),
        metric(
            "cer_normalised", "character error rate, normalised", _folded_cer_part, higher=False
        ),
    )


def _exact(lines: Sequence[ReadLine], name: str, title: str) -> Metric:
    """Exact match; McNemar's test where every line has a picture of its own."""
    groups = group_numbers((line.sample.source, line.sample.image) for line in lines)
    before, after = _parts(lines, _exact_part)
    mended, broken = _turned(lines)
    alone = groups is None and mended is not None and broken is not None
    p = mcnemar(mended or 0, broken or 0) if alone else None
    return compare(name, title, before, after, groups=groups, p=p)


_Part = Callable[[str, str, int], tuple[float, float]]
"""(read, truth, edits between them) to what the line adds to numerator and denominator."""


def _parts(lines: Sequence[ReadLine], part: _Part) -> tuple[Parts | None, Parts]:
    """Before and after, each ``[N, 2]``."""
    after = [part(line.read, line.sample.text, line.edits) for line in lines]
    earlier = [
        part(line.before, line.sample.text, line.edits_before)
        for line in lines
        if line.before is not None and line.edits_before is not None
    ]
    before = np.array(earlier, dtype=np.float64) if len(earlier) == len(lines) else None
    return before, np.array(after, dtype=np.float64)


def _exact_part(_read: str, _truth: str, edits: int) -> tuple[float, float]:
    return float(edits == 0), 1.0


def _cer_part(_read: str, truth: str, edits: int) -> tuple[float, float]:
    return float(edits), float(len(truth))


def _ned_part(read: str, truth: str, edits: int) -> tuple[float, float]:
    return 1.0 - edits / max(len(read), len(truth), 1), 1.0


def _folded_exact_part(read: str, truth: str, _edits: int) -> tuple[float, float]:
    return float(normalise_text(read) == normalise_text(truth)), 1.0


def _folded_cer_part(read: str, truth: str, edits: int) -> tuple[float, float]:
    if edits == 0:
        return 0.0, float(len(normalise_text(truth)))
    folded, true = normalise_text(read), normalise_text(truth)
    return float(edits if (folded, true) == (read, truth) else edit_distance(folded, true)), float(
        len(true)
    )


def _by_length(lines: Sequence[ReadLine]) -> tuple[Share, ...]:
    shares = []
    for start, end in pairwise([*_LENGTHS, None]):
        assert start is not None  # noqa: S101  (only the last end is open)
        chosen = [
            line
            for line in lines
            if start <= len(line.sample.text) and (end is None or len(line.sample.text) < end)
        ]
        title = f"{start} and more" if end is None else f"{start} to {end - 1}"
        shares.append(_share(title, chosen))
    return tuple(share for share in shares if share.total)


def _by_source(lines: Sequence[ReadLine]) -> tuple[Share, ...]:
    numbers = sorted({line.sample.source for line in lines})
    chosen = ([line for line in lines if line.sample.source == number] for number in numbers)
    return tuple(_share(part[0].source or "?", part) for part in chosen)


def _share(title: str, lines: Sequence[ReadLine]) -> Share:
    rows = [
        (None if line.edits_before is None else line.edits_before == 0, line.edits == 0)
        for line in lines
    ]
    share = share_of(title, rows)
    characters = max(1, sum(len(line.sample.text) for line in lines))
    before = None
    if share.before is not None:
        before = 100 * sum(line.edits_before or 0 for line in lines) / characters
    after = 100 * sum(line.edits for line in lines) / characters
    return Share(share.title, share.total, share.before, share.after, before, after)


def _confidence(lines: Sequence[ReadLine]) -> Confidence | None:
    before = [
        (line.confidence_before, line.edits_before == 0)
        for line in lines
        if line.confidence_before is not None
    ]
    after = Rated.of((line.confidence, line.edits == 0) for line in lines)
    return compare_confidences(Rated.of(before) if len(before) == len(lines) else None, after)


def _confusions(lines: Sequence[ReadLine]) -> tuple[CountedConfusion, ...]:
    after = count_confusions((line.read, line.sample.text) for line in lines)[:_CONFUSIONS]
    if any(line.before is None for line in lines):
        return tuple(CountedConfusion(one, None) for one in after)
    earlier = count_confusions((line.before or "", line.sample.text) for line in lines)
    counts = {(one.truth, one.read): one.count for one in earlier}
    return tuple(CountedConfusion(one, counts.get((one.truth, one.read), 0)) for one in after)


def _first(
    lines: Sequence[ReadLine],
    key: Callable[[ReadLine], float],
    wanted: Callable[[ReadLine], bool],
    *,
    most: int = _WRONG_SHOWN,
) -> tuple[ReadLine, ...]:
    return tuple(sorted(filter(wanted, lines), key=key)[:most])
