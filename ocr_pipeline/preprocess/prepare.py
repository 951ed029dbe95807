"""Read the sources, check every sample, split, and write the dataset."""

import json
import logging
import secrets
import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2

from ocr_pipeline.artifacts.dataset import (
    CARD_NAME,
    PACKS_NAME,
    Dataset,
    DatasetManifest,
    DetSample,
    RecSample,
    Refusal,
    SourceCard,
    Split,
    cut_out,
)
from ocr_pipeline.artifacts.folder import check_target, staged
from ocr_pipeline.artifacts.packs import PackWriter, ShardInfo
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.det_augment import DBTargetConfig
from ocr_pipeline.config.image import DetImageSpec, ImageLimits, RecImageSpec, with_changes
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.sources import StorageConfig
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
from ocr_pipeline.preprocess.check_one import is_there
from ocr_pipeline.preprocess.check_text import check_text, draws_nothing
from ocr_pipeline.preprocess.replay import REPLAY_NAME, Replay, ReplayLine, open_replay
from ocr_pipeline.preprocess.report import write_report
from ocr_pipeline.preprocess.sources import OpenSource, open_source
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.split import hold_out
from ocr_pipeline.storage import Root, is_remote, open_root, protocol_of
from ocr_pipeline.versions import made_by

OnProgress = Callable[[int, int], None]
"""Called with (done, total) samples."""
Labelled = tuple[int, RawSample]
"""A label and the number of its source."""
_UNDRAWN = ("Cc", "Cs", "Co", "Cn")
"""Categories of characters that no picture shows: control, half, private, unassigned."""
_ONE_SHARD_MB = 5000
_log = logging.getLogger(__name__)


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
    roots = [_picture_root(source, config.storage) for source in sources]
    labels = [
        (n, _tidied(raw, roots[n])) for n, source in enumerate(sources) for raw in source.samples()
    ]
    first_val = len(config.train_labels)
    train_labels = [label for label in labels if label[0] < first_val]
    val_labels = [label for label in labels if label[0] >= first_val]
    if config.task == "rec":
        charset = choose_charset(config, charset, _usable_texts(train_labels, roots))
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
    replay = None if config.replay is None else open_replay(config.replay)
    found = inspect(config, charset, image=image, on_progress=on_progress)
    for split, samples in found.splits.items():
        if not samples:
            raise DataError(f"no sample is left for {split!r}: {_why_none(found, config)}")
    pack_root = _pack_root(config)
    old = _packed_at(config.out)
    with ExitStack() as undo:
        if pack_root is not None:
            undo.callback(_take_away, pack_root, config.out)
        lines = _Replayed(replay, config, found, image, on_progress or _ignore)
        manifest = _write(config, found, pack_root, lines, replace=replace)
        undo.pop_all()
    if old is not None:
        _log.warning(
            "%s: shards of the dataset that was replaced; delete them if no copy of it is in use",
            old,
        )
    return Prepared(Dataset(config.out, manifest, found.charset), found.findings)


class _Replayed:
    """The replay lines of a dataset as they are drawn; none where ``replay`` is None."""

    def __init__(
        self,
        replay: Replay | None,
        config: PrepareConfig,
        found: Inspection,
        image: RecImageSpec | None,
        on_progress: OnProgress,
    ) -> None:
        self._replay = replay
        self._config = config
        self._found = found
        self._image = with_changes(image or RecImageSpec(), config.image)
        self._on_progress = on_progress
        self._counts: Counter[Split] = Counter()

    def lines(self, split: Split) -> Iterator[ReplayLine]:
        """Draw those of one part; their texts are none of the user's own."""
        charset = self._found.charset
        if self._replay is None or charset is None:
            return
        own = [checked.sample for part in self._found.splits.values() for checked in part]
        taken = {sample.text for sample in own if isinstance(sample, RecSample)}
        total = self._found.labels + sum(self._replay.counts.values())
        drawn = self._replay.lines(
            split, charset, self._image, taken=taken, workers=self._config.workers
        )
        for line in drawn:
            self._counts[split] += 1
            self._on_progress(self._found.labels + self._counts.total(), total)
            yield line

    def cards(self) -> list[SourceCard]:
        """Their source, after they were drawn; none where there are none."""
        if self._replay is None:
            return []
        weights = [source.config.weight for source in self._found.sources]
        shown = sum(weights[checked.sample.source] for checked in self._found.splits["train"])
        return [self._replay.card(self._counts["train"], shown)]


def _write(
    config: PrepareConfig,
    found: Inspection,
    pack_root: str | None,
    replayed: _Replayed,
    *,
    replace: bool,
) -> DatasetManifest:
    """Write report, shards and dataset; whole, or not at all but for shards elsewhere."""
    with staged(config.out, replace=replace) as scratch:
        write_report(scratch, found, limits=config.limits, title=config.out.name)
        rows: dict[Split, list[RecSample | DetSample]] = {
            split: [checked.sample for checked in part] for split, part in found.splits.items()
        }
        packs: dict[str, list[ShardInfo]] = {}
        if config.pack.enabled or config.replay is not None:
            for split in rows:
                place = open_root(pack_root or str(scratch / PACKS_NAME), config.storage)
                rows[split], packs[split] = _pack(
                    config, place, split, rows[split], found.roots, replayed.lines(split)
                )
        own = [_card(s, root) for s, root in zip(found.sources, found.roots, strict=True)]
        return Dataset.fill(
            scratch,
            task=config.task,
            sources=own + replayed.cards(),
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


def _picture_root(source: OpenSource, storage: StorageConfig) -> Root:
    """Where the pictures of a source are; a folder has one name, however it is written."""
    root = open_root(source.images, storage)
    return root if protocol_of(root.url) else open_root(str(Path(root.url).resolve()))


def _tidied(raw: RawSample, root: Root) -> RawSample:
    """The label with its picture's path in the one form that has no ``.`` in it."""
    if protocol_of(root.url):
        name = "/".join(part for part in raw.image.split("/") if part != ".")
    else:
        name = str(PurePosixPath(raw.image))
    return raw if not raw.image or name in ("", raw.image) else changed(raw, image=name)


def _usable_texts(labels: Iterable[Labelled], roots: Sequence[Root]) -> Iterator[str]:
    """Texts of labels that can be parsed and, where it costs little, have a picture."""
    last: tuple[int, str] | None = None
    there = False
    for number, raw in labels:
        if not raw.text or not raw.image or raw.fault is not None:
            continue
        if (number, raw.image) != last:
            last = (number, raw.image)
            there = is_remote(roots[number].url) or is_there(roots[number], raw.image)
        if there:
            yield raw.text


def _unlabelled(roots: Sequence[Root], labels: Sequence[Labelled]) -> list[Finding]:
    """Pictures that no label of any source names, in local folders with labelled pictures."""
    named: dict[str, set[str]] = defaultdict(set)
    for number, raw in labels:
        if raw.image:
            named[roots[number].url].add(raw.image)
    found = []
    done: set[str] = set()
    for number, root in enumerate(roots):
        labelled = named.get(root.url)
        if labelled and not protocol_of(root.url) and root.url not in done:
            done.add(root.url)
            folders = {PurePosixPath(name).parent for name in labelled}
            names = (name for folder in sorted(folders) for name in _pictures_in(root, folder))
            others = (name for url in named for name in _seen_from(root.url, url, named[url]))
            found += check_unlabelled(number, root.url, names, labelled.union(others))
    return found


def _seen_from(here: str, folder: str, names: Iterable[str]) -> Iterator[str]:
    """Names below one folder as they are below another; those that are not there are left out."""
    if folder.startswith(f"{here}/"):
        way = folder.removeprefix(f"{here}/")
        yield from (f"{way}/{name}" for name in names)
    elif here.startswith(f"{folder}/"):
        way = here.removeprefix(f"{folder}/") + "/"
        yield from (name.removeprefix(way) for name in names if name.startswith(way))


def _pictures_in(root: Root, folder: PurePosixPath) -> list[str]:
    """Names of the pictures in one folder below a root; none where it cannot be listed."""
    found: list[str] = []
    if not folder.is_absolute() and ".." not in folder.parts:
        with suppress(DataError):  # each label that names a picture there is refused already
            names = open_root(str(Path(root.url) / folder)).names("*")
            found += (str(folder / name) for name in names if _is_picture(name))
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
    if len(chosen) < config.val_count:
        _log.warning(
            "%d samples to validate on, not val_count=%d: samples with a text, picture, look or "
            "group in common stay in one part, and what hangs together is larger",
            len(chosen),
            config.val_count,
        )
    return {
        "train": [sample for number, sample in enumerate(samples) if number not in chosen],
        "val": [sample for number, sample in enumerate(samples) if number in chosen],
    }


def choose_charset(config: PrepareConfig, model: Charset | None, texts: Iterable[str]) -> Charset:
    """Return the dataset's character set.

    Args:
        config: its ``dictionary`` says which characters.
        model: character set of the recognizer, None where it has none of its own.
        texts: labels to take characters from, where no file is named; read only then. What the
            linter refuses gives none, what it mends gives those of the mended label.

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
        found = sorted(_characters(texts, model, config.check))
    if rule.mode == "union" and model is not None:
        known = set(model.dictionary)
        found = [*model.dictionary, *(entry for entry in found if entry not in known)]
    if not found:
        raise DataError("the training labels hold no character; check train_labels")
    return Charset(found)


def _characters(texts: Iterable[str], model: Charset | None, config: CheckConfig) -> set[str]:
    """All entries in the labels as the linter takes them; the space has a class already."""
    cut = list if model is None else model.split
    labels = dict.fromkeys(texts)
    entries = dict.fromkeys(() if model is None else model.dictionary)
    for label in labels:
        entries.update(dict.fromkeys(cut(label)))
        entries.update(dict.fromkeys(cut(unicodedata.normalize("NFC", label))))
    known = frozenset(() if model is None else model.dictionary)
    for entry in list(entries):
        if entry == SPACE or (draws_nothing(entry) and entry not in known):
            del entries[entry]
    if not entries:
        return set()
    everything = Charset(list(entries))
    checked = (check_text(label, everything, config).text for label in labels)
    parts = {part for label in checked if label is not None for part in cut(label)}
    return {part for part in parts if part != SPACE and not _is_undrawn(part)}


def _is_undrawn(part: str) -> bool:
    return part == "\ufffd" or unicodedata.category(part[0]) in _UNDRAWN


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
    # The URL of a folder is absolute, and a database keeps its lmdb://.
    images = source.images if is_remote(source.images) else root.url
    return SourceCard(name=source.name, images=images, weight=source.config.weight)


def _pack(
    config: PrepareConfig,
    place: Root,
    split: Split,
    samples: Sequence[RecSample | DetSample],
    roots: Sequence[Root],
    replay: Iterator[ReplayLine],
) -> tuple[list[RecSample | DetSample], list[ShardInfo]]:
    """Copy the pictures of one part into shards, where that is asked for, and the replay lines.

    Lines of a page are cut out of it. Replay lines lie nowhere else; without other pictures all of
    them are in one shard.
    """
    taken: list[RecSample | DetSample] = []
    shard_mb = config.pack.shard_mb if config.pack.enabled else _ONE_SHARD_MB
    with PackWriter(place, split, shard_mb=shard_mb) as writer:
        if config.pack.enabled:
            contents = _contents(samples, roots, config.limits)
            for number, (sample, (name, content)) in enumerate(zip(samples, contents, strict=True)):
                taken.append(changed(sample, packed=writer.add(f"{number:09d}-{name}", content)))
        else:
            taken += samples
        for number, line in enumerate(replay):
            name = f"{REPLAY_NAME}-{split}-{number:06d}.jpg"
            packed = writer.add(name, line.content)
            size = (line.height, line.width)
            taken.append(RecSample(name, line.text, *size, source=len(roots), packed=packed))
    return taken, writer.close()


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


def _packed_at(folder: Path) -> str | None:
    """Where a dataset says that its shards lie; None: nowhere else, or it is none."""
    try:
        card = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    place = card.get("pack_root") if isinstance(card, dict) else None
    return place if isinstance(place, str) else None


def _take_away(pack_root: str, out: Path) -> None:
    """Remove the shards of a run that failed; those of the dataset that is there stay."""
    if _packed_at(out) == pack_root:
        return
    if is_remote(pack_root):
        _log.warning("%s: shards of a dataset that was not made; delete them", pack_root)
    else:
        shutil.rmtree(pack_root, ignore_errors=True)


def _why_none(found: Inspection, config: PrepareConfig) -> str:
    """Why a part is empty, and what to do."""
    refused = found.refused()
    says = f"{found.labels} labels read, {len(refused)} refused"
    if refused:
        return f"{says}; the first: {'; '.join(f'{f.place}: {f.detail}' for f in refused[:3])}"
    return (
        f"{says}; give more labels, or set val_count below {config.val_count} (what has a "
        "text, picture, look or group in common stays in one part)"
    )


def _ignore(_done: int, _total: int) -> None:
    """Nobody watches."""
