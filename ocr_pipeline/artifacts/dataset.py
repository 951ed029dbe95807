"""After ``prepare``: samples that were checked one by one, split, with what was found."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.artifacts.folder import Card, hash_files, read_card, staged, write_card
from ocr_pipeline.artifacts.packs import Location, ShardInfo, read_packed
from ocr_pipeline.config.base import Config
from ocr_pipeline.config.image import ImageLimits
from ocr_pipeline.config.sources import StorageConfig, Task
from ocr_pipeline.errors import ArtifactError, DataError, ImageError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage, decode_image
from ocr_pipeline.ops.geometry import crop_line, order_corners
from ocr_pipeline.storage import Root, open_root

CARD_NAME = "manifest.json"
CHARSET_NAME = "charset.txt"
PACKS_NAME = "packs"
Split = Literal["train", "val"]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class RecSample:
    """One text line.

    Attributes:
        image: path of its picture below its source's image root.
        text: its label.
        height, width: of the line's picture, px, as it is decoded (and cut out).
        source: number of its source in the manifest.
        crop: four corners of the line, (x, y) px; None: the picture is the line.
        packed: where its picture lies in the dataset's packs; None: it was not packed.
    """

    image: str
    text: str
    height: int
    width: int
    source: int = 0
    crop: tuple[Point, ...] | None = None
    packed: Location | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """One labelled region of a picture.

    Attributes:
        points: outline, (x, y) px, clockwise, at least 3.
        text: transcription; may be empty.
        ignore: neither text nor background: masked out in training, not counted in evaluation.
    """

    points: tuple[Point, ...]
    text: str
    ignore: bool = False


@dataclass(frozen=True, slots=True)
class DetSample:
    """One picture with its text regions; for the other fields see :class:`RecSample`."""

    image: str
    height: int
    width: int
    regions: tuple[Region, ...]
    source: int = 0
    packed: Location | None = None


SampleT = TypeVar("SampleT", RecSample, DetSample)


@dataclass(frozen=True)
class Refusal:
    """One label that is not in the dataset, and why.

    Attributes:
        source: label file and line number, ``path:line``.
        reason: short name of the fault, the same for all of its kind.
        detail: one sentence that names the value and the next step.
    """

    source: str
    reason: str
    detail: str


class SourceCard(Config):
    """One source of a dataset's samples."""

    name: str
    images: str
    """Folder or URL that image paths start from; folders are absolute. Of replay: a name."""
    weight: float = 1.0
    """How often each of its samples is shown in an epoch."""
    replay: bool = False
    """General lines that ``prepare`` drew: they lie in the packs alone, and are no part of what the
    model is trained for."""


class DatasetManifest(Card):
    """The card of a dataset."""

    format: Literal[2] = 2
    task: Task
    sources: list[SourceCard]
    storage: StorageConfig = StorageConfig()
    """How pictures that are not on this machine are read."""
    limits: ImageLimits = ImageLimits()
    """What a picture may be."""
    counts: dict[str, int]
    """Samples per split."""
    refused: dict[str, int]
    """Refused labels per reason; each one is in ``refused.jsonl``."""
    fixed: dict[str, int] = {}
    """Labels that were changed per reason, and taken."""
    kept: dict[str, int] = {}
    """Labels that were taken as they are in spite of a doubt, per reason."""
    packs: dict[str, list[ShardInfo]] = {}
    """Shards per split; empty: the pictures lie at their sources. A sample that is in none lies
    there too."""
    pack_root: str | None = None
    """Folder or URL of the shards; null: ``packs/`` in this folder."""
    config: dict[str, Any]
    """The resolved config that made it."""


_INDEX = np.dtype(
    [
        ("offset", "<u8"),  # of the sample's line in the .jsonl
        ("bytes", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("source", "<u2"),
        ("length", "<u2"),  # characters of the label, or regions
        ("shard", "<i4"),  # -1: not packed
    ]
)


class Samples(Sequence[SampleT], Generic[SampleT]):
    """The samples of one split, read from disk one at a time: a million costs what ten do.

    May be sent to other processes and used after a fork.
    """

    def __init__(self, folder: Path, split: Split, kind: type[SampleT]) -> None:
        self._lines = folder / f"{split}.jsonl"
        self._index = folder / f"{split}.index.npy"
        self._kind: type[SampleT] = kind
        self._file: int | None = None
        self._map: NDArray[Any] | None = None
        self._count = len(self._table())

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, key: int) -> SampleT: ...
    @overload
    def __getitem__(self, key: slice) -> "list[SampleT]": ...
    def __getitem__(self, key: int | slice) -> "SampleT | list[SampleT]":
        if isinstance(key, slice):
            return [self[number] for number in range(*key.indices(self._count))]
        row = self._table()[key]
        if self._file is None:
            self._file = os.open(self._lines, os.O_RDONLY)
        line = os.pread(self._file, int(row["bytes"]), int(row["offset"]))
        return _parse(json.loads(line), self._kind)

    def __iter__(self) -> Iterator[SampleT]:
        with self._lines.open(encoding="utf-8") as stream:
            for line in stream:
                yield _parse(json.loads(line), self._kind)

    def column(self, name: str) -> NDArray[Any]:
        """One value of every sample, ``[N]``: height, width, source, length (of the label, or the
        number of regions) or shard (-1: not packed)."""
        return np.array(np.load(self._index, mmap_mode="r")[name])

    def _table(self) -> NDArray[Any]:
        if self._map is None:
            self._map = np.load(self._index, mmap_mode="r")
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_map": None}

    def __del__(self) -> None:
        file: int | None = self.__dict__.get("_file")
        if file is not None:
            os.close(file)


@dataclass
class Pictures:
    """Reads the pictures of a dataset's samples; may be sent to other processes.

    Attributes:
        manifest: of the dataset.
        split: part that the samples are of.
        folder: of the dataset; its packs may be below.
    """

    manifest: DatasetManifest
    split: Split
    folder: Path
    _roots: dict[str, Root] = field(default_factory=dict, repr=False)

    def content(self, sample: RecSample | DetSample) -> bytes:
        """The encoded picture.

        Raises:
            DataError: it cannot be read, or not whole.
        """
        if sample.packed is not None:
            shards = self.manifest.packs[self.split]
            where = self.manifest.pack_root or str(self.folder / PACKS_NAME)
            return read_packed(self._root(where), shards, sample.packed)
        return self._root(self.manifest.sources[sample.source].images).read(sample.image)

    def read(self, sample: RecSample | DetSample) -> BGRImage:
        """The picture, decoded, and cut out where the sample is a part of it.

        Returns:
            ``[H, W, 3]`` uint8 BGR.

        Raises:
            DataError: it cannot be read.
            ImageError: it cannot be decoded; the message starts with its path.
        """
        try:
            picture = decode_image(self.content(sample), self.manifest.limits)
        except ImageError as error:
            raise type(error)(f"{self.where(sample)}: {error}") from None
        if isinstance(sample, RecSample) and sample.crop is not None and sample.packed is None:
            return cut_out(picture, sample.crop)
        return picture

    def where(self, sample: RecSample | DetSample) -> str:
        """Full path or URL of the picture, for messages."""
        root = self.manifest.sources[sample.source].images
        return f"{root.rstrip('/')}/{sample.image}"

    def _root(self, url: str) -> Root:
        if url not in self._roots:
            self._roots[url] = open_root(url, self.manifest.storage)
        return self._roots[url]


def cut_out(picture: BGRImage, crop: Sequence[Point]) -> BGRImage:
    """Cut a labelled line out of its picture, by the function that the reader uses.

    Args:
        picture: ``[H, W, 3]`` uint8 BGR.
        crop: its outline; more than four points are put into their smallest rectangle.
    """
    points = np.array(crop, dtype=np.float32)
    if len(points) != 4:
        points = order_corners(cv2.boxPoints(cv2.minAreaRect(points)).astype(np.float32))
    return crop_line(picture, points)


@dataclass(frozen=True)
class Dataset:
    """A dataset artefact on disk; ``charset`` is None for detection."""

    folder: Path
    manifest: DatasetManifest
    charset: Charset | None

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read and check; see :func:`~ocr_pipeline.artifacts.folder.read_card`.

        Packs in the folder are checked by name and size; their sha256 is in the card.
        """
        manifest = read_card(folder, CARD_NAME, DatasetManifest, made_by="scripts/prepare.py")
        _check_packs(folder, manifest)
        has_one = CHARSET_NAME in manifest.files
        return cls(folder, manifest, Charset.load(folder / CHARSET_NAME) if has_one else None)

    @classmethod
    def write(
        cls,
        folder: Path,
        *,
        task: Task,
        sources: Sequence[SourceCard],
        splits: Mapping[Split, Iterable[RecSample | DetSample]],
        refusals: Sequence[Refusal] = (),
        fixed: Mapping[str, int] | None = None,
        kept: Mapping[str, int] | None = None,
        charset: Charset | None,
        config: dict[str, Any],
        made_by: dict[str, str],
        storage: StorageConfig | None = None,
        limits: ImageLimits | None = None,
        packs: Mapping[str, list[ShardInfo]] | None = None,
        pack_root: str | None = None,
        replace: bool = False,
    ) -> "Dataset":
        """Write a dataset whole or not at all.

        Raises:
            ArtifactError: the folder exists and ``replace`` is false, or cannot be written.
        """
        with staged(folder, replace=replace) as scratch:
            manifest = cls.fill(
                scratch,
                task=task,
                sources=sources,
                splits=splits,
                refusals=refusals,
                fixed=fixed,
                kept=kept,
                charset=charset,
                config=config,
                made_by=made_by,
                storage=storage,
                limits=limits,
                packs=packs,
                pack_root=pack_root,
            )
        return cls(folder, manifest, charset)

    @staticmethod
    def fill(
        scratch: Path,
        *,
        task: Task,
        sources: Sequence[SourceCard],
        splits: Mapping[Split, Iterable[RecSample | DetSample]],
        refusals: Sequence[Refusal],
        fixed: Mapping[str, int] | None,
        kept: Mapping[str, int] | None,
        charset: Charset | None,
        config: dict[str, Any],
        made_by: dict[str, str],
        storage: StorageConfig | None,
        limits: ImageLimits | None,
        packs: Mapping[str, list[ShardInfo]] | None,
        pack_root: str | None,
    ) -> DatasetManifest:
        """Write all files of a dataset into a folder that :func:`staged` gave; card last."""
        counts = {split: _write_samples(scratch, split, rows) for split, rows in splits.items()}
        with (scratch / "refused.jsonl").open("w", encoding="utf-8") as stream:
            for refusal in refusals:
                stream.write(json.dumps(asdict(refusal), ensure_ascii=False) + "\n")
        if charset is not None:
            charset.save(scratch / CHARSET_NAME)
        reasons: dict[str, int] = {}
        for refusal in refusals:
            reasons[refusal.reason] = reasons.get(refusal.reason, 0) + 1
        manifest = DatasetManifest(
            task=task,
            sources=list(sources),
            storage=storage or StorageConfig(),
            limits=limits or ImageLimits(),
            counts=counts,
            refused=reasons,
            fixed=dict(fixed or {}),
            kept=dict(kept or {}),
            packs=dict(packs or {}),
            pack_root=pack_root,
            config=config,
            made_by=made_by,
            files={
                name: digest
                for name, digest in hash_files(scratch, skip=PACKS_NAME).items()
                if name != CARD_NAME
            },
        )
        write_card(manifest, scratch, CARD_NAME)
        return manifest

    def lines(self, split: Split) -> Samples[RecSample]:
        """The text lines of one part.

        Raises:
            ArtifactError: this is a detection dataset.
        """
        self._expect("rec")
        return Samples(self.folder, split, RecSample)

    def own_lines(self, split: Split) -> Sequence[RecSample]:
        """The text lines of one part without those that ``prepare`` drew to be replayed.

        Raises:
            ArtifactError: this is a detection dataset.
        """
        lines = self.lines(split)
        drawn = [n for n, source in enumerate(self.manifest.sources) if source.replay]
        if not drawn:
            return lines
        own = np.flatnonzero(~np.isin(lines.column("source"), drawn))
        return [lines[number] for number in own.tolist()]

    def parts(self) -> str:
        """How many samples each part has, for a person."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.manifest.counts.items())
        if not any(source.replay for source in self.manifest.sources):
            return counts
        train, val = (len(self.lines(s)) - len(self.own_lines(s)) for s in ("train", "val"))
        return f"{counts} (of which drawn for replay: {train:,} and {val:,})"

    def pages(self, split: Split) -> Samples[DetSample]:
        """The pictures with regions of one part.

        Raises:
            ArtifactError: this is a recognition dataset.
        """
        self._expect("det")
        return Samples(self.folder, split, DetSample)

    def samples(self, split: Split) -> "Samples[RecSample] | Samples[DetSample]":
        """The samples of one part, of whatever task."""
        return self.lines(split) if self.manifest.task == "rec" else self.pages(split)

    def pictures(self, split: Split) -> Pictures:
        """What reads the pictures of one part's samples."""
        return Pictures(self.manifest, split, self.folder)

    def characters(self) -> Charset:
        """The character set.

        Raises:
            ArtifactError: this is a detection dataset.
        """
        self._expect("rec")
        assert self.charset is not None  # noqa: S101  (written with every recognition dataset)
        return self.charset

    def _expect(self, task: Task) -> None:
        if self.manifest.task != task:
            raise ArtifactError(
                f"{self.folder}: a dataset for task={self.manifest.task}, asked for task={task}; "
                f"prepare one with task={task}"
            )


def _write_samples(scratch: Path, split: Split, samples: Iterable[RecSample | DetSample]) -> int:
    """Write the lines and the index of one part; return how many."""
    rows = bytearray()
    offset = count = 0
    with (scratch / f"{split}.jsonl").open("wb") as stream:
        for sample in samples:
            line = (json.dumps(_as_values(sample), ensure_ascii=False) + "\n").encode()
            length = len(sample.text) if isinstance(sample, RecSample) else len(sample.regions)
            shard = sample.packed[0] if sample.packed else -1
            values = (offset, len(line), sample.height, sample.width, sample.source)
            rows += np.array([(*values, min(length, 65535), shard)], dtype=_INDEX).tobytes()
            stream.write(line)
            offset += len(line)
            count += 1
    np.save(scratch / f"{split}.index.npy", np.frombuffer(rows, dtype=_INDEX))
    return count


def _as_values(sample: RecSample | DetSample) -> dict[str, Any]:
    """The sample as JSON; what has its default is left out."""
    values = asdict(sample)
    optional = {"source": 0, "crop": None, "packed": None}
    return {k: v for k, v in values.items() if k not in optional or v != optional[k]}


def _parse(values: dict[str, Any], kind: type[SampleT]) -> SampleT:
    if packed := values.get("packed"):
        values["packed"] = tuple(packed)
    if crop := values.get("crop"):
        values["crop"] = _points(crop)
    if kind is DetSample:
        values["regions"] = tuple(
            Region(_points(r["points"]), r["text"], r["ignore"]) for r in values["regions"]
        )
    return kind(**values)


def _points(values: Sequence[Sequence[float]]) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in values)


def _check_packs(folder: Path, manifest: DatasetManifest) -> None:
    if not manifest.packs:
        return
    root = open_root(manifest.pack_root or str(folder / PACKS_NAME), manifest.storage)
    faults = []
    for shard in (shard for shards in manifest.packs.values() for shard in shards):
        try:
            size = root.size(shard.name)
        except DataError as error:
            faults.append(str(error))
            continue
        if size != shard.bytes:
            faults.append(f"{shard.name} has {size:,} bytes, not {shard.bytes:,}")
    if faults:
        raise ArtifactError(
            f"{folder}: {len(faults)} of its shards are missing or changed: {'; '.join(faults[:5])}"
            "; copy the whole dataset again, or make it again with scripts/prepare.py"
        )
