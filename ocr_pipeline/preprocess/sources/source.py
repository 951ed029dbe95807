"""One source of labels, opened: its pictures' root and its samples, one at a time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from ocr_pipeline.config.sources import SourceConfig, StorageConfig, Task
from ocr_pipeline.errors import DataError, LabelError
from ocr_pipeline.preprocess.sources import (
    coco,
    icdar2015,
    labelme,
    lmdb_labels,
    paddle_lists,
    ppocrlabel,
    xfund,
)
from ocr_pipeline.preprocess.sources.files import Reading, labels_folder
from ocr_pipeline.preprocess.sources.raw import RawSample
from ocr_pipeline.preprocess.sources.regions import unparsed
from ocr_pipeline.storage import is_remote

_LMDB = "lmdb://"
_LONGEST = 500
"""Characters of a sentence about a fault."""


@dataclass(frozen=True)
class OpenSource:
    """One set of labels.

    Attributes:
        config: as the user wrote it.
        name: for reports and logs.
        images: root URL of the pictures that ``RawSample.image`` is relative to.
        reading: what its format's reader is given.
    """

    config: SourceConfig
    name: str
    images: str
    reading: Reading

    def samples(self) -> Iterator[RawSample]:
        """Yield the samples in the order of the files; what cannot be parsed is a fault.

        Nothing is read before the first sample is asked for. A list of lines is not held in
        memory; a JSON file is.

        Raises:
            DataError: a label file cannot be read, or cannot serve the task.
        """
        group = None if self.config.group is None else re.compile(self.config.group)
        for sample in self._read():
            yield _finished(sample, group)

    def _read(self) -> Iterator[RawSample]:
        match self.config.kind:
            case "list":
                return paddle_lists.read(self.reading)
            case "ppocrlabel":
                return ppocrlabel.read(self.reading)
            case "icdar2015":
                return icdar2015.read(self.reading)
            case "lmdb":
                return lmdb_labels.read(self.reading)
            case "labelme":
                return labelme.read(self.reading)
            case "coco":
                return coco.read(self.reading)
            case "xfund":
                return xfund.read(self.reading)
            case _ as other:
                assert_never(other)


def open_source(
    config: SourceConfig, task: Task, *, images: str | None, storage: StorageConfig
) -> OpenSource:
    """Find out where a source's pictures are; no file is read yet.

    Args:
        config: of the source.
        task: what its samples are for: lines (rec) or pictures with regions (det).
        images: picture root of the whole config, for sources that name none.
        storage: how remote files are read.

    Raises:
        DataError: the format cannot serve the task, or keeps pictures elsewhere than configured.
    """
    name = config.name or config.labels.rstrip("/").rpartition("/")[2] or config.labels
    if config.kind == "lmdb":
        root = _database(config, task)
        reading = Reading(config.labels, task, root, images_given=False, storage=storage)
        return OpenSource(config, name, root, reading)
    given = config.images if config.images is not None else images
    root = given if given is not None else _home(config)
    reading = Reading(config.labels, task, root, given is not None, storage)
    return OpenSource(config, name, root, reading)


def _home(config: SourceConfig) -> str:
    """Where a format keeps its pictures: with its labels."""
    if config.kind == "icdar2015":
        return labels_folder(config.labels, icdar2015.SUFFIXES)
    if config.kind == "labelme":
        return labels_folder(config.labels, labelme.SUFFIXES)
    if config.kind == "ppocrlabel":
        return labels_folder(ppocrlabel.project_folder(config.labels), ppocrlabel.SUFFIXES)
    return labels_folder(config.labels, ())


def _database(config: SourceConfig, task: Task) -> str:
    labels = config.labels
    if task == "det":
        raise DataError(
            f"{labels}: an LMDB database holds lines, no regions; to train a detector give "
            "another kind of labels"
        )
    if "*" in labels:
        raise DataError(f"{labels}: one LMDB database a source; name each as a source of its own")
    if config.images is not None:
        raise DataError(
            f"{labels}: an LMDB database holds its own pictures; take out images={config.images}"
        )
    if labels.startswith(_LMDB):
        return labels
    if is_remote(labels):
        raise DataError(f"{labels}: LMDB is read from a disk only; copy it to this machine")
    folder = Path(labels.removeprefix("file://")).absolute()
    return f"{_LMDB}{folder.parent if folder.name == 'data.mdb' else folder}"


def _finished(sample: RawSample, group: re.Pattern[str] | None) -> RawSample:
    """Add the group, and refuse text that no file system and no UTF-8 file can hold."""
    if bad := _unwritable(sample):
        sample = unparsed(sample.place, LabelError(bad))
    if sample.fault is not None:
        name, sentence = sample.fault
        sample = replace(sample, place=_shown(sample.place), fault=(name, _shown(sentence)))
    if group is None or not sample.image:
        return sample
    match = group.search(sample.image)
    return replace(sample, group=match[1]) if match else sample


def _shown(text: str) -> str:
    """Text for a message: its begin and its end, where it is very long."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _unwritable(sample: RawSample) -> str:
    if "\0" in sample.image:
        return f"the image {sample.image!r} has a NUL character; no file can be called that"
    texts = [sample.image, sample.text or "", *(r.text for r in sample.regions or ())]
    if sample.fault is None:
        texts.append(sample.place)
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return f"{text[:60]!r} holds half a character (a lone surrogate); write it anew"
    return ""
