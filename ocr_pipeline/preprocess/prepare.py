"""Read the sources, check every sample, split, and write the dataset."""

import secrets
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import NamedTuple

import cv2

from ocr_pipeline.artifacts.dataset import (
    PACKS_NAME,
    Dataset,
    DetSample,
    RecSample,
    Refusal,
    SourceCard,
    Split,
    cut_out,
)
from ocr_pipeline.artifacts.folder import check_target, staged
from ocr_pipeline.artifacts.packs import PackWriter, ShardInfo
from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.config.image import DetImageSpec, ImageLimits, RecImageSpec, with_changes
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.errors import DataError
from ocr_pipeline.ops.charset import SPACE, Charset
from ocr_pipeline.ops.decode import decode_image
from ocr_pipeline.preprocess.check import (
    Checked,
    CheckResult,
    Finding,
    Rules,
    check_as_a_whole,
    check_between,
    check_samples,
    check_unlabelled,
    near_pairs,
)
from ocr_pipeline.preprocess.report import write_report
from ocr_pipeline.preprocess.sources import OpenSource, open_source
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.split import hold_out
from ocr_pipeline.storage import Root, is_remote, open_root
from ocr_pipeline.versions import made_by

OnProgress = Callable[[int, int], None]
"""Called with (done, total) samples."""
Labelled = tuple[int, RawSample]
"""A label and the number of its source."""


@dataclass(frozen=True)
class Inspection:
    """What the linter found, and what would go into the dataset.

    Attributes:
        sources: all of them; the number of a sample's source is its place here.
        roots: where the pictures of each source are.
        charset: of the dataset; None for detection.
        splits: checked samples of each part.
        findings: everything found, in the order of the labels.
        labels: how many were read.
    """

    sources: list[OpenSource]
    roots: list[Root]
    charset: Charset | None
    splits: dict[Split, list[Checked]]
    findings: list[Finding]
    labels: int

    def refused(self) -> list[Finding]:
        """Findings of samples that are left out; a refused region is masked, its picture taken."""
        return [f for f in self.findings if f.action == "refuse" and f.region is None]

    def counts(self, action: str) -> dict[str, int]:
        """Findings with one action, per fault."""
        return dict(Counter(f.fault for f in self.findings if f.action == action))


def inspect(
    config: PrepareConfig,
    charset: Charset | None,
    *,
    image: RecImageSpec | None = None,
    on_progress: OnProgress | None = None,
) -> Inspection:
    """Run the linter: real decoder, encoder and target builder on every sample; write nothing.

    Args:
        config: sources, rules, policies.
        charset: of the recognizer to be trained; None: it has none of its own, or detection.
        image: input rule of that recognizer, where ``config`` has none; None: the default one.
        on_progress: called as samples are done.

    Raises:
        DataError: a source cannot be read, or the model has no characters of its own and
            ``dictionary`` names none.
    """
    listed = [*config.train_labels, *config.val_labels]
    sources = [
        open_source(source, config.task, images=config.images, storage=config.storage)
        for source in listed
    ]
    roots = [open_root(source.images, config.storage) for source in sources]
    labels = [(n, raw) for n, source in enumerate(sources) for raw in source.samples()]
    first_val = len(config.train_labels)
    train_labels = [label for label in labels if label[0] < first_val]
    val_labels = [label for label in labels if label[0] >= first_val]
    if config.task == "rec":
        texts = [raw.text for _, raw in train_labels if raw.text and raw.image]
        charset = choose_charset(config, charset, texts)
    else:
        charset = None
    rules = _rules(config, charset, image)
    report = on_progress or _ignore

    def check(part: Sequence[Labelled], split: Split, before: int) -> CheckResult:
        return check_samples(
            part,
            roots,
            rules,
            config.check,
            split=split,
            workers=config.workers,
            on_progress=lambda done, _total: report(before + done, len(labels)),
        )

    train = check(train_labels, "train", 0)
    val = check(val_labels, "val", len(train_labels))
    findings = [*train.findings, *val.findings]
    splits: dict[Split, list[Checked]]
    if config.val_labels:
        leaks = check_between(train, val, config.check)
        splits = {"train": leaks.kept, "val": val.kept}
        findings += leaks.findings
    else:
        splits = split_checked(train.kept, config)
    findings += _unlabelled(roots, labels)
    findings += check_as_a_whole(splits["train"], splits["val"], rules, config.check)
    return Inspection(sources, roots, charset, splits, findings, len(labels))


class Prepared(NamedTuple):
    """A dataset, and everything that was found on the way."""

    dataset: Dataset
    findings: list[Finding]


def prepare(
    config: PrepareConfig,
    charset: Charset | None,
    *,
    image: RecImageSpec | None = None,
    replace: bool = False,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """As :func:`prepare_and_tell`; the findings lie in the dataset's ``report.json``."""
    return prepare_and_tell(
        config, charset, image=image, replace=replace, on_progress=on_progress
    ).dataset


def prepare_and_tell(
    config: PrepareConfig,
    charset: Charset | None,
    *,
    image: RecImageSpec | None = None,
    replace: bool = False,
    on_progress: OnProgress | None = None,
) -> Prepared:
    """Turn labels into a dataset; what cannot be used is refused by name.

    The report of the linter lies in the dataset: ``report.json`` and ``report.html``.

    Args:
        config: sources, rules, policies.
        charset: of the recognizer to be trained; None: it has none of its own, or detection.
        image: input rule of that recognizer, where ``config`` has none; None: the default one.
        replace: an existing dataset may be replaced.
        on_progress: called as samples are done.

    Raises:
        DataError: as :func:`inspect`, or no sample is left for a part.
        ArtifactError: the output exists and ``replace`` is false, or cannot be written.
    """
    check_target(config.out, replace=replace)
    found = inspect(config, charset, image=image, on_progress=on_progress)
    for split, samples in found.splits.items():
        if not samples:
            raise DataError(f"no sample is left for {split!r}: {_why_none(found, config)}")
    pack_root = _pack_root(config)
    with staged(config.out, replace=replace) as scratch:
        write_report(scratch, found, limits=config.limits, title=config.out.name)
        rows: dict[Split, list[RecSample | DetSample]] = {
            split: [checked.sample for checked in part] for split, part in found.splits.items()
        }
        packs: dict[str, list[ShardInfo]] = {}
        if config.pack.enabled:
            for split in rows:
                place = open_root(pack_root or str(scratch / PACKS_NAME), config.storage)
                rows[split], packs[split] = _pack(config, place, split, rows[split], found.roots)
        manifest = Dataset.fill(
            scratch,
            task=config.task,
            sources=[_card(s, root) for s, root in zip(found.sources, found.roots, strict=True)],
            splits=rows,
            refusals=[Refusal(f.place, f.fault, f.detail) for f in found.refused()],
            fixed=found.counts("fix"),
            kept=found.counts("keep"),
            charset=found.charset,
            config=config.model_dump(mode="json"),
            made_by=made_by(),
            storage=config.storage,
            limits=config.limits,
            packs=packs,
            pack_root=pack_root,
        )
    return Prepared(Dataset(config.out, manifest, found.charset), found.findings)


def _unlabelled(roots: Sequence[Root], labels: Sequence[Labelled]) -> list[Finding]:
    """Pictures of local folders that no label of any source names."""
    named: dict[str, set[str]] = defaultdict(set)
    for number, raw in labels:
        named[roots[number].url].add(raw.image)
    found = []
    for number, root in enumerate(roots):
        labelled = named.pop(root.url, None)
        if labelled and not is_remote(root.url):
            folders = {name.rpartition("/")[0] for name in labelled}
            names = (n for n in root.names() if _is_picture(n) and n.rpartition("/")[0] in folders)
            found += check_unlabelled(number, root.url, names, labelled)
    return found


def _is_picture(name: str) -> bool:
    return name.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))


def split_checked(samples: Sequence[Checked], config: PrepareConfig) -> dict[Split, list[Checked]]:
    """Hold out about ``val_count`` samples: no text, picture, look or group stands in both parts.

    Which are held out depends on the seed and on what the samples are, not on their order.
    """
    names = [_name(checked) for checked in samples]
    chosen = hold_out(
        names,
        [_ties(checked) for checked in samples],
        near_pairs(samples, config.check),
        count=config.val_count,
        seed=config.seed,
    )
    return {
        "train": [sample for number, sample in enumerate(samples) if number not in chosen],
        "val": [sample for number, sample in enumerate(samples) if number in chosen],
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


def _rules(config: PrepareConfig, charset: Charset | None, image: RecImageSpec | None) -> Rules:
    if config.task == "det":
        return Rules(
            task="det",
            charset=None,
            image=DetImageSpec(),
            target=DBTargetConfig(),
            nrtr=False,
            limits=config.limits,
        )
    return Rules(
        task="rec",
        charset=charset,
        image=with_changes(image or RecImageSpec(), config.image),
        target=None,
        nrtr=config.guide,
        limits=config.limits,
    )


def _name(checked: Checked) -> str:
    """What a sample is ranked by in the split: its group, its text, or its picture."""
    if checked.group is not None:
        return f"\n{checked.group}"  # no text begins so
    sample = checked.sample
    return sample.text if isinstance(sample, RecSample) else checked.pixels.hex()


def _ties(checked: Checked) -> Iterator[tuple[str, str | bytes]]:
    """What two samples may share, so that they belong into the same part."""
    yield ("pixels", checked.pixels)
    if isinstance(checked.sample, RecSample):
        yield ("text", checked.sample.text)
    if checked.group is not None:
        yield ("group", checked.group)


def _card(source: OpenSource, root: Root) -> SourceCard:
    images = source.images if is_remote(source.images) else str(Path(root.url).resolve())
    return SourceCard(name=source.name, images=images, weight=source.config.weight)


def _pack(
    config: PrepareConfig,
    place: Root,
    split: Split,
    samples: Sequence[RecSample | DetSample],
    roots: Sequence[Root],
) -> tuple[list[RecSample | DetSample], list[ShardInfo]]:
    """Copy the pictures of one part into shards; lines of a page are cut out of it."""
    packed = []
    with PackWriter(place, split, shard_mb=config.pack.shard_mb) as writer:
        contents = _contents(samples, roots, config.limits)
        for number, (sample, (name, content)) in enumerate(zip(samples, contents, strict=True)):
            packed.append(changed(sample, packed=writer.add(f"{number:09d}-{name}", content)))
    return packed, writer.close()


def _contents(
    samples: Sequence[RecSample | DetSample], roots: Sequence[Root], limits: ImageLimits
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each picture; a page is read once for all of its lines in a row."""
    last: tuple[int, str] | None = None
    page = None
    for sample in samples:
        name = sample.image.rsplit("/", 1)[-1]
        if not isinstance(sample, RecSample) or sample.crop is None:
            yield name, roots[sample.source].read(sample.image)
            continue
        if page is None or last != (sample.source, sample.image):
            last = (sample.source, sample.image)
            page = decode_image(roots[sample.source].read(sample.image), limits)
        line = cv2.imencode(".png", cut_out(page, sample.crop))[1]
        yield f"{name}.png", line.tobytes()


def _pack_root(config: PrepareConfig) -> str | None:
    """Folder or URL of the shards, a new one each time; None: they lie in the dataset.

    A dataset that is replaced, or another one, keeps its shards: a run that is killed leaves it
    whole.
    """
    out = config.pack.out
    if not config.pack.enabled or out is None:
        return None
    top = out.rstrip("/") if is_remote(out) else Path(open_root(out).url).resolve()
    return f"{top}/{config.out.name}-{secrets.token_hex(4)}"


def _why_none(found: Inspection, config: PrepareConfig) -> str:
    """Why a part is empty, and what to do."""
    refused = found.refused()
    says = f"{found.labels} labels read, {len(refused)} refused"
    if refused:
        return f"{says}; the first: {'; '.join(f'{f.place}: {f.detail}' for f in refused[:3])}"
    return f"{says}; give more labels, or set val_count below {config.val_count}"


def _ignore(_done: int, _total: int) -> None:
    """Nobody watches."""
