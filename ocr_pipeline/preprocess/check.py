"""The dataset linter: every sample goes through the real decoder, encoder and target builder."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from hashlib import blake2b
from pathlib import PurePosixPath

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.faults import FAULT_BY_NAME
from ocr_pipeline.preprocess.check_one import Item, Outcome
from ocr_pipeline.preprocess.check_pool import check_in_processes
from ocr_pipeline.preprocess.check_sample import SampleChecker
from ocr_pipeline.preprocess.check_sets import (
    check_as_a_whole,
    check_between,
    check_twins,
    check_unlabelled,
    near_pairs,
)
from ocr_pipeline.preprocess.check_text import Note
from ocr_pipeline.preprocess.check_types import Checked, CheckResult, Rules
from ocr_pipeline.preprocess.faults import Finding
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.storage import Root

__all__ = [
    "CheckResult",
    "Checked",
    "Finding",
    "Rules",
    "check_as_a_whole",
    "check_between",
    "check_samples",
    "check_unlabelled",
    "near_pairs",
]

OnChecked = Callable[[int, int], None]
"""Called with (done, total) samples; where the total is not known, it is what is done."""


_Seen = dict[tuple[str, str, object], tuple[tuple[int, str], str]]
"""(folder, picture, crop) to ((source, place), label) of the first label that names it."""


def check_samples(
    samples: Iterable[tuple[int, RawSample]],
    roots: Sequence[Root],
    rules: Rules,
    config: CheckConfig,
    *,
    split: Split = "train",
    workers: int = 0,
    on_progress: OnChecked | None = None,
) -> CheckResult:
    """Check the samples of one part one by one.

    The result does not depend on ``workers``. Pictures are decoded once and not held.

    Args:
        samples: (number of the source, label), in any order.
        roots: where the pictures of each source are, by number.
        rules: what the training to come can use.
        config: policies and thresholds.
        split: part that the samples are of.
        workers: processes; 0 or 1: this one.
        on_progress: told after each few samples.

    Raises:
        DataError: a process died (the files that were being checked are named), or a server does
            not answer.
    """
    items = _compared_by_name(samples, roots, config)
    if workers > 1:
        outcomes = check_in_processes(items, roots, rules, config, split, workers)
    else:
        checker = SampleChecker(roots, rules, config, split)
        outcomes = map(checker.check, items)
    total = len(samples) if isinstance(samples, Sized) else 0
    return check_twins(_collected(outcomes, total, on_progress), split, config)


def _collected(
    outcomes: Iterable[Outcome], total: int, on_progress: OnChecked | None
) -> CheckResult:
    result = CheckResult()
    for outcome in outcomes:
        result.total += 1
        result.findings.extend(outcome.findings)
        if outcome.checked is not None:
            result.kept.append(outcome.checked)
            result.fixed += any(finding.action == "fix" for finding in outcome.findings)
        if on_progress is not None:
            on_progress(result.total, max(total, result.total))
    return result


def _compared_by_name(
    samples: Iterable[tuple[int, RawSample]], roots: Sequence[Root], config: CheckConfig
) -> Iterator[Item]:
    """Samples with the faults that show before any picture is read."""
    seen: _Seen = {}
    for source, raw in samples:
        # Two sources may have their pictures in one folder.
        yield Item(source, raw, _early(source, raw, roots[source].url, seen, config))


def _early(
    source: int,
    raw: RawSample,
    folder: str,
    seen: _Seen,
    config: CheckConfig,
) -> Note | None:
    note = None
    if raw.fault is not None:
        name = raw.fault[0] if raw.fault[0] in FAULT_BY_NAME else "format"
        note = Note(name, config.action(name), raw.fault[1])
        if note.action == "refuse":
            return note
    path = PurePosixPath(raw.image)
    if not raw.image:
        return Note("format", "refuse", "the label names no picture; give its path")
    if "\0" in raw.image:
        return Note("format", "refuse", "the path of the picture holds a NUL; mend the label")
    if path.is_absolute() or ".." in path.parts:
        return Note("outside_root", "refuse", "leads out of the image root; give a path below it")
    key = (folder, raw.image, raw.crop)
    label = _label(raw)
    first = seen.setdefault(key, ((source, raw.place), label))
    if first[0] != (source, raw.place):
        same = first[1] == label
        says = "the same" if same else _difference(raw, first[1], label)
        detail = f"labelled at {first[0][1]} already ({says}); keep one line"
        return Note("duplicate" if same else "conflict", "refuse", detail)
    return note


def _label(raw: RawSample) -> str:
    """What the label says, short enough to be held for each sample."""
    if raw.regions is None:
        return (raw.text or "").strip()
    return blake2b(repr(raw.regions).encode(), digest_size=16).hexdigest()


def _difference(raw: RawSample, first: str, second: str) -> str:
    if raw.regions is None:
        return f"{first!r} there, {second!r} here"
    return "with other regions"
