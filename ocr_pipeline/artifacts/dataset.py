"""After ``prepare``: samples that were checked one by one, split, with what was refused."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ocr_pipeline.artifacts.folder import Card, hash_files, read_card, staged, write_card
from ocr_pipeline.ops.charset import Charset

CARD_NAME = "manifest.json"
Split = Literal["train", "val"]


@dataclass(frozen=True)
class RecSample:
    """One text line.

    Attributes:
        image: path of its picture below the image root.
        text: its label.
        height, width: of the picture, px.
    """

    image: str
    text: str
    height: int
    width: int


@dataclass(frozen=True)
class Refusal:
    """One label line that is not in the dataset, and why.

    Attributes:
        source: label file and line number, ``path:line``.
        reason: short name of the fault, the same for all of its kind.
        detail: one sentence that names the value and the next step.
    """

    source: str
    reason: str
    detail: str


class DatasetManifest(Card):
    """The card of a dataset."""

    format: Literal[1] = 1
    task: Literal["rec"]
    image_root: str
    """Folder that image paths start from; absolute."""
    counts: dict[str, int]
    """Samples per split."""
    stripped: int
    """Labels whose outer white space was taken off."""
    refused: dict[str, int]
    """Refused label lines per reason; each one is in ``refused.jsonl``."""
    config: dict[str, Any]
    """The resolved config that made it."""


@dataclass(frozen=True)
class Dataset:
    """A dataset artefact on disk."""

    folder: Path
    manifest: DatasetManifest
    charset: Charset

    @classmethod
    def load(cls, folder: Path) -> "Dataset":
        """Read and check; see :func:`~ocr_pipeline.artifacts.folder.read_card`."""
        manifest = read_card(folder, CARD_NAME, DatasetManifest, made_by="scripts/prepare.py")
        return cls(folder, manifest, Charset.load(folder / "charset.txt"))

    @classmethod
    def write(
        cls,
        folder: Path,
        *,
        splits: dict[Split, Sequence[RecSample]],
        refusals: Sequence[Refusal],
        stripped: int,
        charset: Charset,
        image_root: Path,
        config: dict[str, Any],
        made_by: dict[str, str],
        replace: bool = False,
    ) -> "Dataset":
        """Write a dataset whole or not at all.

        Raises:
            ArtifactError: the folder exists and ``replace`` is false, or cannot be written.
        """
        reasons: dict[str, int] = {}
        for refusal in refusals:
            reasons[refusal.reason] = reasons.get(refusal.reason, 0) + 1
        with staged(folder, replace=replace) as scratch:
            for split, samples in splits.items():
                _write_lines(scratch / f"{split}.jsonl", [vars(sample) for sample in samples])
            _write_lines(scratch / "refused.jsonl", [vars(refusal) for refusal in refusals])
            charset.save(scratch / "charset.txt")
            manifest = DatasetManifest(
                task="rec",
                image_root=str(image_root.resolve()),
                counts={split: len(samples) for split, samples in splits.items()},
                stripped=stripped,
                refused=reasons,
                config=config,
                made_by=made_by,
                files=hash_files(scratch),
            )
            write_card(manifest, scratch, CARD_NAME)
        return cls(folder, manifest, charset)

    @property
    def image_root(self) -> Path:
        """Folder that the samples' image paths start from."""
        return Path(self.manifest.image_root)

    def samples(self, split: Split) -> list[RecSample]:
        """The samples of one split, in their written order."""
        return [RecSample(**value) for value in _read_lines(self.folder / f"{split}.jsonl")]


def _write_lines(path: Path, values: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for value in values:
            stream.write(json.dumps(value, ensure_ascii=False) + "\n")


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
