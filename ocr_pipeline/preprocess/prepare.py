"""Check every sample with the real decoder and encoder, split, and write the dataset."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from ocr_pipeline.artifacts.dataset import Dataset, RecSample, Refusal, Split
from ocr_pipeline.artifacts.folder import check_target
from ocr_pipeline.config.image import RecImageSpec, with_changes
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.errors import DataError, ImageError, LabelError
from ocr_pipeline.ops.charset import SPACE, Charset
from ocr_pipeline.ops.ctc import steps_needed
from ocr_pipeline.ops.decode import read_image
from ocr_pipeline.ops.rec_lists import LabelLine, read_rec_list
from ocr_pipeline.ops.resize import rec_width
from ocr_pipeline.versions import made_by

OnProgress = Callable[[int, int], None]
"""Called with (done, total) samples."""


def prepare(
    config: PrepareConfig,
    charset: Charset | None,
    *,
    image: RecImageSpec | None = None,
    replace: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Turn label lists into a dataset; what cannot be used is refused by name.

    Args:
        config: lists, folders, input rule.
        charset: of the recognizer to be trained; None: it has none of its own.
        image: input rule of that recognizer, where ``config`` has none; None: the default one.
        replace: an existing dataset may be replaced.
        on_progress: called after each sample.

    Raises:
        DataError: a list cannot be read, no sample is left for a split, or the model has no
            characters of its own and ``dictionary`` names none.
        ArtifactError: the output exists and ``replace`` is false, or cannot be written.
    """
    check_target(config.out, replace=replace)
    train_lines = [line for path in config.train_labels for line in read_rec_list(path)]
    val_lines = [line for path in config.val_labels for line in read_rec_list(path)]
    total = len(train_lines) + len(val_lines)
    report = on_progress or _ignore
    charset = choose_charset(config, charset, [line.text for line in train_lines if line.image])
    rule = with_changes(image or RecImageSpec(), config.image)
    checker = _Checker(config, charset, rule, lambda done: report(done, total))
    train = checker.check(train_lines)
    splits: dict[Split, list[RecSample]]
    if config.val_labels:
        splits = {"train": train, "val": checker.check(val_lines)}
        _refuse_leaks(splits, checker.refusals)
    else:
        splits = split_by_text(train, val_count=config.val_count, seed=config.seed)
    for split, samples in splits.items():
        if not samples:
            raise DataError(
                f"no sample is left for {split!r}: {total} label lines read, "
                f"{len(checker.refusals)} refused; the first: "
                f"{_first_refusals(checker.refusals)}"
            )
    return Dataset.write(
        config.out,
        splits=dict(splits),
        refusals=checker.refusals,
        stripped=checker.stripped,
        charset=charset,
        image_root=config.images,
        config=config.model_dump(mode="json"),
        made_by=made_by(),
        replace=replace,
    )


def split_by_text(
    samples: Sequence[RecSample], *, val_count: int, seed: int
) -> dict[Split, list[RecSample]]:
    """Take about ``val_count`` samples for validation; no text stands in both parts.

    Which texts are taken depends on the seed and the texts alone, not on their order or number.
    """
    by_text: dict[str, list[RecSample]] = defaultdict(list)
    for sample in samples:
        by_text[sample.text].append(sample)

    def rank(text: str) -> bytes:
        return hashlib.sha256(f"{seed}\n{text}".encode()).digest()

    chosen: set[str] = set()
    taken = 0
    for text in sorted(by_text, key=rank):
        if taken >= val_count:
            break
        chosen.add(text)
        taken += len(by_text[text])
    return {
        "train": [sample for sample in samples if sample.text not in chosen],
        "val": [sample for sample in samples if sample.text in chosen],
    }


def choose_charset(config: PrepareConfig, model: Charset | None, texts: Sequence[str]) -> Charset:
    """Return the dataset's character set.

    Args:
        config: its ``dictionary`` says which characters.
        model: character set of the recognizer, None where it has none of its own.
        texts: labels to take characters from, where no file is named.

    Raises:
        DataError: no character to choose from.
        ArtifactError: the named file is not a dictionary.
    """
    rule = config.dictionary
    if rule.mode == "model":
        if model is None:
            raise DataError(
                f"model {config.model} has no characters of its own; set dictionary.mode=new, and "
                "dictionary.file for a list (else those of the labels are taken)"
            )
        return model
    if rule.file is not None:
        found: Sequence[str] = Charset.load(rule.file).dictionary
    else:
        found = sorted(_characters(texts, model))
    if rule.mode == "union" and model is not None:
        known = set(model.dictionary)
        found = [*model.dictionary, *(entry for entry in found if entry not in known)]
    if not found:
        raise DataError("the training labels hold no character; check train_labels")
    return Charset(found)


def _characters(texts: Sequence[str], model: Charset | None) -> set[str]:
    """All entries in the labels; control characters are label faults, the space has a class."""
    cut = list if model is None else model.split
    parts = {part for text in texts for part in cut(text.strip())}
    return {part for part in parts if part != SPACE and unicodedata.category(part[0]) != "Cc"}


def _ignore(_done: int, _total: int) -> None:
    """Nobody watches."""


class _Checker:
    """Goes through label lines, keeps what can be trained on, and notes the rest."""

    def __init__(
        self,
        config: PrepareConfig,
        charset: Charset,
        image: RecImageSpec,
        on_sample: Callable[[int], None],
    ) -> None:
        self.config = config
        self.charset = charset
        self.image = image
        self.on_sample = on_sample
        self.refusals: list[Refusal] = []
        self.stripped = 0
        self._seen: dict[str, LabelLine] = {}
        self._done = 0

    def check(self, lines: Sequence[LabelLine]) -> list[RecSample]:
        samples = []
        for line in lines:
            fault, sample = self._check_one(line)
            if sample is not None:
                samples.append(sample)
            else:
                reason, detail = fault
                self.refusals.append(Refusal(line.source, reason, detail))
            self._done += 1
            self.on_sample(self._done)
        return samples

    def _check_one(self, line: LabelLine) -> tuple[tuple[str, str], RecSample | None]:
        if not line.image:
            return ("format", f"{line.text[:60]!r} has no tab; expected image<TAB>text"), None
        if PurePosixPath(line.image).is_absolute() or ".." in PurePosixPath(line.image).parts:
            detail = f"{line.image}: leads out of {self.config.images}; give a path below it"
            return ("outside_root", detail), None
        if first := self._seen.get(line.image):
            same = first.text.strip() == line.text.strip()
            says = "the same" if same else f"{first.text!r} there, {line.text!r} here"
            detail = f"{line.image}: labelled at {first.source} already ({says}); keep one line"
            return ("duplicate" if same else "conflict", detail), None
        self._seen[line.image] = line
        text = line.text.strip()
        try:
            indices = self.charset.encode(text)
        except LabelError as error:
            return ("unknown_character" if text else "empty_label", f"{line.image}: {error}"), None
        path = self.config.images / line.image
        if not path.is_file():
            return ("missing_picture", f"{path}: no such file; check the image root"), None
        try:
            height, width = read_image(path, self.config.limits).shape[:2]
        except ImageError as error:
            return ("unreadable_picture", str(error)), None
        steps = rec_width(height, width, self.image)[1] // self.image.time_stride
        needed = steps_needed(indices)
        if needed > steps:
            detail = (
                f"{line.image}: label of {len(text)} characters needs {needed} time steps, the "
                f"network emits {steps} for {width} x {height} px; cut the line, or check that the "
                "label belongs to this picture"
            )
            return ("label_too_long", detail), None
        self.stripped += text != line.text
        return ("", ""), RecSample(line.image, text, height, width)


def _refuse_leaks(splits: dict[Split, list[RecSample]], refusals: list[Refusal]) -> None:
    """Take training samples out whose text is validated on."""
    validated = {sample.text for sample in splits["val"]}
    leaks = [sample for sample in splits["train"] if sample.text in validated]
    splits["train"] = [sample for sample in splits["train"] if sample.text not in validated]
    refusals.extend(
        Refusal(leak.image, "leak", f"text {leak.text!r} is in the validation list too")
        for leak in leaks
    )


def _first_refusals(refusals: Sequence[Refusal]) -> str:
    return "; ".join(f"{r.source}: {r.detail}" for r in refusals[:3]) or "none"
