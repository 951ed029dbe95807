"""Faults that show only when samples are compared: twins, leaks, what a whole part lacks."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ocr_pipeline.artifacts.dataset import DetSample, RecSample, Split
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.faults import Action
from ocr_pipeline.ops.charset import SPACE, Charset
from ocr_pipeline.preprocess.check_near import find_near, find_near_between, link_near
from ocr_pipeline.preprocess.check_regions import Layout
from ocr_pipeline.preprocess.check_types import Checked, CheckResult, Rules
from ocr_pipeline.preprocess.faults import Finding

_SAME_REGION = 0.5
"""Regions of two people's labels of one picture overlap by at least this."""
_MIN_DIGITS = 200
_NAMED = 40


def check_twins(result: CheckResult, split: Split, config: CheckConfig) -> CheckResult:
    """Find pictures that stand in one part under two names.

    Returns:
        ``result`` without what the policies refuse, with the findings added at the end.
    """
    kept = result.kept
    findings: list[Finding] = []
    refused: set[int] = set()
    labels = _Labels(kept)
    for members in _same_pixels(kept):
        said = labels.told_apart(members)
        fault = "duplicate_picture" if max(said) == 0 else "picture_conflict"
        action = config.action(fault)
        # Of copies that contradict each other, all are named: the first says what no other does.
        contrary = members[said.index(1)] if max(said) > 0 else members[0]
        for index, group in zip(members, said, strict=True):
            if index == members[0] and fault == "duplicate_picture":
                continue
            other = kept[contrary if group == 0 else members[0]]
            findings.append(_finding(kept[index], split, fault, action, other))
            if action == "refuse":
                refused.add(index)
    named: set[int] = set()
    action = config.action("near_conflict")
    pairs = find_near(kept, bits=config.near_bits, limit=config.conflict_difference)
    for first, second in pairs:
        if second in named or {first, second} & refused or labels.agree(first, second):
            continue
        named.add(second)
        findings.append(_finding(kept[second], split, "near_conflict", action, kept[first]))
    if action == "refuse":
        refused |= named
    return _without(result, refused, findings)


def check_between(train: CheckResult, val: CheckResult, config: CheckConfig) -> CheckResult:
    """Find training samples that the validation part knows: by text, picture, or nearly so.

    Returns:
        ``train`` without what the policies refuse, and with these findings alone.
    """
    texts = {item.sample.text for item in val.kept if isinstance(item.sample, RecSample)}
    pixels = {item.pixels: item for item in val.kept}
    near = _near_between(train.kept, val.kept, config)
    findings: list[Finding] = []
    refused: set[int] = set()
    for index, item in enumerate(train.kept):
        if isinstance(item.sample, RecSample) and item.sample.text in texts:
            action = config.action("leak")
            detail = f"{item.sample.image}: text {item.sample.text!r} is in the validation list too"
            findings.append(_plain(item, "train", "leak", action, detail))
        elif item.pixels in pixels or index in near:
            twin = pixels.get(item.pixels)
            fault = "leak_picture" if twin is not None else "leak_near_picture"
            action = config.action(fault)
            findings.append(_finding(item, "train", fault, action, twin or near[index]))
        else:
            continue
        if action == "refuse":
            refused.add(index)
    return replace(_without(train, refused, []), findings=findings)


def check_as_a_whole(
    train: Sequence[Checked], val: Sequence[Checked], rules: Rules, config: CheckConfig
) -> list[Finding]:
    """Find what the training part lacks or has too much of; recognition only."""
    if rules.charset is None or len(train) < config.min_samples:
        return []
    counts = _characters(train, rules.charset)
    found = [
        _rare(counts, config),
        _only_validated(counts, _characters(val, rules.charset)),
        *_uneven(train, counts, config),
        *_dominant(train, config),
        _unused(counts, rules.charset),
        _mixed(counts),
    ]
    return [finding for finding in found if finding is not None]


def check_unlabelled(
    source: int, root: str, names: Iterable[str], labelled: Iterable[str]
) -> list[Finding]:
    """Find pictures of a folder that no label names; one finding for all of them.

    Args:
        source: its number.
        root: of the pictures, for the message.
        names: all pictures below the root.
        labelled: those that labels name.
    """
    known = set(labelled)
    missing = sorted(name for name in names if name not in known)
    if not missing:
        return []
    detail = (
        f"{root}: {_count(len(missing), 'picture')} without a label: {_some(missing)}; label them, "
        "or leave them out on purpose"
    )
    return [Finding("unlabelled_picture", "keep", root, "", detail, source=source)]


def near_pairs(items: Sequence[Checked], config: CheckConfig) -> list[tuple[int, int]]:
    """Pairs (earlier, later) over which nearly equal pictures hang together; no exact copies.

    A split that keeps them together has no leaking pictures.
    """
    return link_near(items, bits=config.near_bits, limit=config.near_difference)


def _same_pixels(kept: Sequence[Checked]) -> list[list[int]]:
    """Indices of samples with the same pixels, two or more each."""
    by_pixels: dict[bytes, list[int]] = defaultdict(list)
    for index, item in enumerate(kept):
        by_pixels[item.pixels].append(index)
    return [members for members in by_pixels.values() if len(members) > 1]


def _near_between(
    train: Sequence[Checked], val: Sequence[Checked], config: CheckConfig
) -> dict[int, Checked]:
    """Training samples with the validation picture that each is nearly the same as."""
    near = find_near_between(train, val, bits=config.near_bits, limit=config.near_difference)
    return {number: val[other] for number, other in near.items()}


class _Labels:
    """What the labels of samples say, compared with one another."""

    def __init__(self, items: Sequence[Checked]) -> None:
        self._items = items
        self._layouts: dict[int, Layout] = {}

    def agree(self, first: int, second: int) -> bool:
        """Whether the labels of two copies of one picture say the same."""
        one, other = self._items[first].sample, self._items[second].sample
        if isinstance(one, RecSample) or isinstance(other, RecSample):
            return getattr(one, "text", None) == getattr(other, "text", None)
        return self._layout(first, one).is_like(self._layout(second, other), _SAME_REGION)

    def told_apart(self, members: Sequence[int]) -> list[int]:
        """For each copy of a picture the number of what its label says, from 0 on."""
        texts: dict[str, int] = {}
        firsts: list[int] = []
        said = []
        for member in members:
            sample = self._items[member].sample
            if isinstance(sample, RecSample):
                said.append(texts.setdefault(sample.text, len(texts)))
                continue
            known = (n for n, first in enumerate(firsts) if self.agree(first, member))
            said.append(next(known, len(firsts)))
            if said[-1] == len(firsts):
                firsts.append(member)
        return said

    def _layout(self, number: int, sample: DetSample) -> Layout:
        if number not in self._layouts:
            outlines = [region.points for region in sample.regions]
            self._layouts[number] = Layout(outlines, (sample.height, sample.width))
        return self._layouts[number]


_HOW = {
    "duplicate_picture": "the same pixels and label as",
    "picture_conflict": "the same pixels as, but not the label of,",
    "near_conflict": "nearly the same picture as, but not the label of,",
    "leak_picture": "the same pixels as the validation picture",
    "leak_near_picture": "nearly the same picture as the validation picture",
}


def _finding(item: Checked, split: Split, fault: str, action: Action, other: Checked) -> Finding:
    """A finding on a picture and another one that it is compared with."""
    says = ""
    if fault.endswith("conflict"):
        says = f" ({_says(other)} there, {_says(item)} here); look which one is right"
    where = f"{other.sample.image}, {other.place}"
    return _plain(item, split, fault, action, f"{item.sample.image}: {_HOW[fault]} {where}{says}")


def _says(item: Checked) -> str:
    sample = item.sample
    if isinstance(sample, RecSample):
        return repr(sample.text)
    return _count(len(sample.regions), "region")


def _plain(item: Checked, split: Split, fault: str, action: Action, detail: str) -> Finding:
    sample = item.sample
    return Finding(
        fault, action, item.place, sample.image, detail, source=sample.source, split=split
    )


def _without(result: CheckResult, refused: set[int], findings: list[Finding]) -> CheckResult:
    kept = [item for index, item in enumerate(result.kept) if index not in refused]
    return replace(result, kept=kept, findings=[*result.findings, *findings])


def _characters(items: Sequence[Checked], charset: Charset) -> Counter[str]:
    counts: Counter[str] = Counter()
    for item in items:
        if isinstance(item.sample, RecSample):
            counts.update(charset.split(item.sample.text))
    return counts


def _rare(counts: Mapping[str, int], config: CheckConfig) -> Finding | None:
    rare = {char: n for char, n in counts.items() if n < config.rare_below and char != SPACE}
    if not rare:
        return None
    named = _some([f"{char!r} {n}" for char, n in sorted(rare.items(), key=lambda kv: kv[::-1])])
    detail = (
        f"{len(rare)} of {len(counts)} characters of the training part have fewer than "
        f"{config.rare_below} examples: {named}; add or synthesise lines with them"
    )
    return Finding("rare_character", "keep", "", "", detail)


def _only_validated(counts: Mapping[str, int], validated: Mapping[str, int]) -> Finding | None:
    unseen = sorted(char for char in validated if char not in counts)
    if not unseen:
        return None
    detail = (
        f"{_count(len(unseen), 'character')} of the validation part not in the training part: "
        f"{_some([repr(char) for char in unseen])}; train on some of their lines"
    )
    return Finding("val_only_character", "keep", "", "", detail, split="val")


def _uneven(
    train: Sequence[Checked], counts: Mapping[str, int], config: CheckConfig
) -> Iterable[Finding]:
    """Characters in nearly every label, and digits that are missing among many."""
    within: Counter[str] = Counter()
    for item in train:
        if isinstance(item.sample, RecSample):
            within.update(set(item.sample.text) - {SPACE})
    for char, lines in within.most_common():
        share = lines / len(train)
        if share <= config.character_share:
            break
        detail = (
            f"{char!r} stands in {share:.0%} of the training labels; more than "
            f"{config.character_share:.0%} teaches to guess it: add lines without it"
        )
        yield Finding("character_imbalance", "keep", "", "", detail)
    digits = {digit: counts.get(digit, 0) for digit in "0123456789"}
    mean = sum(digits.values()) / 10
    few = [f"{d!r} {n}" for d, n in digits.items() if n < config.digit_ratio * mean]
    if few and sum(digits.values()) >= _MIN_DIGITS:
        detail = (
            f"digits have {mean:.0f} examples on average, but {', '.join(few)}; at least "
            f"{config.digit_ratio:.0%} of the average is expected: add lines with them"
        )
        yield Finding("character_imbalance", "keep", "", "", detail)


def _dominant(train: Sequence[Checked], config: CheckConfig) -> Iterable[Finding]:
    texts = Counter(item.sample.text for item in train if isinstance(item.sample, RecSample))
    for text, count in texts.most_common():
        share = count / len(train)
        if share <= config.dominant_share:
            break
        detail = (
            f"text {text!r} makes up {share:.0%} of the training part ({count:,} of "
            f"{len(train):,}); at most {config.dominant_share:.0%} is expected: thin it out"
        )
        yield Finding("dominant_text", "keep", "", "", detail)


def _unused(counts: Mapping[str, int], charset: Charset) -> Finding | None:
    unused = [entry for entry in charset.dictionary if entry not in counts]
    if not unused:
        return None
    detail = (
        f"{len(unused):,} of {len(charset.dictionary):,} characters of the set are in no training "
        f"label: {_some(unused)}; what the released weights know of them may fade"
    )
    return Finding("unused_characters", "keep", "", "", detail)


def _mixed(counts: Mapping[str, int]) -> Finding | None:
    pairs = []
    for char, count in sorted(counts.items()):
        narrow = unicodedata.normalize("NFKC", char)
        if "\uff01" <= char <= "\uff5e" and narrow in counts:
            pairs.append(f"{char!r} {count} and {narrow!r} {counts[narrow]}")
    if not pairs:
        return None
    detail = f"both full-width and half-width: {_some(pairs)}; agree on one where pictures show one"
    return Finding("mixed_forms", "keep", "", "", detail)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
