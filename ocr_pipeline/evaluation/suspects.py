"""Labels that are probably wrong: those that a recognizer is sure are something else.

As in confident learning (Northcutt, Jiang, Chuang, arXiv:1911.00068), labels are ranked by the
probabilities of a model that should not have learnt from them. A line has no fixed list of classes,
so the probability of its label is that of CTC (the sum over all alignments), set against that of
the text which the model reads.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import exp, isfinite, sqrt

import numpy as np

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.evaluation.labelled import LabelPart
from ocr_pipeline.inference.orientation import turn
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.ops.ctc import decode_greedy
from ocr_pipeline.ops.ctc_likelihood import FoldedCharset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.metrics import normalise_text
from ocr_pipeline.ops.resize import rec_input

_CHUNK = 256
"""Pictures in memory at a time."""
_LIKELY = -1.0
"""A label whose log probability is above this (0.37) is not looked at upside-down as well."""
_MOST_RATIO = 18.0
"""A label that is less probable than the reading by more (a factor of 66 million) is none the more
suspect for it: beyond, a label that is wholly different would stand above any sure reading."""
_DOUBT_WEIGHT = 3.0
"""How much the model's doubt of its own reading takes off a score."""
_WAY_WEIGHT = 3.0
"""The same for a label that fits the picture the other way up, where that reading is less sure."""
_LOWEST = -1000.0
"""Stands for the logarithm of 0."""
_MOST_ODDS = 1e6
_ALIKE, _MOST_EDITS = 0.5, 3
"""Texts less alike, or with more differences, are better read than compared."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a model says to one picture, one way up.

    Attributes:
        text: that it reads.
        confidence: of it; mean probability of its characters, in [0, 1].
        log_read: natural logarithm of the probability of that text; 0 is certain.
        log_label: the same of the label.
        turned: the picture was turned by 180 degrees.
    """

    text: str
    confidence: float
    log_read: float
    log_label: float
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that a model reads differently.

    Attributes:
        part, number: of the sample in what was ranked.
        sample: with the label.
        place: where the label stands, ``path:line``.
        read: text that the model reads.
        confidence: of it, in [0, 1].
        turned: read so after a turn by 180 degrees.
        score: the higher, the more probably the label is wrong; no unit. About 0 and below: the
            model is as unsure of its own reading.
        odds: how many times more probable the model's reading is than the label; from 1 (also
            where the label is the more probable one) to 66 million (also where it is more).
        form_only: the two differ in case, width, white space or middle dots only; these stand
            behind all others.
        unknown: characters of the label that the model does not know.
    """

    part: int
    number: int
    sample: RecSample
    place: str
    read: str
    confidence: float
    turned: bool
    score: float
    odds: float
    form_only: bool
    unknown: tuple[str, ...]

    def reason(self) -> str:
        """Why it stands here, for a person."""
        seen = f"reads {self.read!r} with confidence {self.confidence:.2f}"
        says = [seen if self.read else "sees no text"]
        if self.turned:
            says[0] += ", upside-down"
        if self.form_only:
            return f"{says[0]}; only case, width or spaces differ"
        edits = differences(self.sample.text, self.read)
        if edits:
            says.append(edits)
        says.append(f"the label is {_odds(self.odds)} less probable")
        if self.unknown:
            says.append(f"not known to the model: {' '.join(self.unknown)}")
        return "; ".join(says)


@dataclass(frozen=True)
class Ranking:
    """All labels of a set that a model reads differently.

    Attributes:
        samples: labels that were looked at.
        suspects: worst first.
    """

    samples: int
    suspects: Sequence[Suspect]


def find_suspects(
    recognizer: Recognizer, parts: Sequence[LabelPart], on_step: Callable[[int, int], None]
) -> Ranking:
    """Read every sample and rank the labels that are read differently.

    Args:
        recognizer: best one that has not learnt from these labels.
        parts: the labels.
        on_step: told (done, total) now and then.

    Raises:
        ImageError, DataError: a picture cannot be read.
    """
    total = sum(len(part.samples) for part in parts)
    judge = _Judge(recognizer)
    found: list[Suspect] = []
    done = 0
    on_step(done, total)
    for part_number, part in enumerate(parts):
        for start in range(0, len(part.samples), _CHUNK):
            chunk = part.samples[start : start + _CHUNK]
            judged = judge.looks([part.read(sample) for sample in chunk], [s.text for s in chunk])
            for number, (sample, looks) in enumerate(zip(chunk, judged, strict=True), start=start):
                suspect = judge.suspect(part_number, number, sample, part.place(number), looks)
                if suspect is not None:
                    found.append(suspect)
            done += len(chunk)
            on_step(done, total)
    found.sort(key=lambda s: (s.form_only, -s.score, s.part, s.number))
    return Ranking(total, found)


def score_label(looks: Sequence[Look], characters: int) -> tuple[float, float, Look]:
    """Weigh a label against what the model reads.

    Args:
        looks: the picture as it stands, and perhaps turned.
        characters: of the label.

    Returns:
        score, odds (see :class:`Suspect`), and the look whose reading is believed.
    """
    # A picture the wrong way up is often read as nothing at all, and surely so.
    best = max(looks, key=lambda look: (bool(look.text), look.log_read))
    label = max(
        look.log_label + _WAY_WEIGHT * min(0.0, look.log_read - best.log_read) for look in looks
    )
    ratio = min(best.log_read - label, _MOST_RATIO)
    length = max(1, min(characters, len(best.text)))
    score = (ratio + _DOUBT_WEIGHT * best.log_read) / sqrt(length)
    return score, exp(max(ratio, 0.0)), best


def differences(label: str, read: str) -> str:
    """Say what a label has where the model reads something else; empty where all is different."""
    says = []
    matcher = SequenceMatcher(None, label, read, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return ""
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "replace":
            says.append(f"{label[a:b]!r} where {read[c:d]!r} is read")
        elif kind == "delete":
            says.append(f"{label[a:b]!r} is not read")
        elif kind == "insert":
            says.append(f"{read[c:d]!r} is read as well")
    return ", ".join(says) if len(says) <= _MOST_EDITS else ""


def _odds(odds: float) -> str:
    if odds > _MOST_ODDS:
        return "over a million times"
    return f"{odds:,.0f} times" if odds >= 2 else "not much"


class _Judge:
    """Looks at pictures with a recognizer that is told what their labels are."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._folded = FoldedCharset(recognizer.charset)

    def looks(self, pictures: Sequence[BGRImage], labels: Sequence[str]) -> list[list[Look]]:
        """Judge labels by their pictures; what looks improbable is looked at upside-down too."""
        upright = self._look(pictures, labels, turned=False)
        doubtful = [at for at, look in enumerate(upright) if look.log_label < _LIKELY]
        other = self._look(
            [turn(pictures[at]) for at in doubtful], [labels[at] for at in doubtful], turned=True
        )
        looks = [[look] for look in upright]
        for at, look in zip(doubtful, other, strict=True):
            looks[at].append(look)
        return looks

    def suspect(
        self, part: int, number: int, sample: RecSample, place: str, looks: Sequence[Look]
    ) -> Suspect | None:
        """The sample as a suspect; None where the model reads its label."""
        score, odds, best = score_label(looks, len(self._folded.keys(sample.text)))
        if best.text == sample.text:
            return None
        return Suspect(
            part,
            number,
            sample,
            place,
            best.text,
            best.confidence,
            best.turned,
            score,
            odds,
            normalise_text(best.text) == normalise_text(sample.text),
            tuple(self._folded.unknown(sample.text)),
        )

    def _look(
        self, pictures: Sequence[BGRImage], labels: Sequence[str], *, turned: bool
    ) -> list[Look]:
        found: dict[int, Look] = {}
        charset = self._recognizer.charset
        for chunk, inputs in self._batches(pictures):
            probs = self._recognizer.engine.run(inputs)
            lines = decode_greedy(probs, charset)
            read = self._folded.log_likelihoods(probs, [line.text for line in lines])
            label = self._folded.log_likelihoods(probs, [labels[at] for at in chunk])
            for row, at in enumerate(chunk):
                line = lines[row]
                values = (float(value) for value in (read[row], label[row]))
                log_read, log_label = (v if isfinite(v) else _LOWEST for v in values)
                found[at] = Look(line.text, line.confidence, log_read, log_label, turned)
        return [found[at] for at in range(len(pictures))]

    def _batches(
        self, pictures: Sequence[BGRImage]
    ) -> Iterator[tuple[list[int], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
        """Yield (numbers of pictures, network input): those of one width together."""
        inputs = [rec_input(picture, self._recognizer.spec.image) for picture in pictures]
        buckets: dict[int, list[int]] = defaultdict(list)
        for number, array in enumerate(inputs):
            buckets[array.shape[2]].append(number)
        for numbers in buckets.values():
            for start in range(0, len(numbers), self._recognizer.batch):
                chunk = numbers[start : start + self._recognizer.batch]
                yield chunk, np.stack([inputs[number] for number in chunk])
