"""After ``train``: a network's weights with everything needed to go on, evaluate or export."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ocr_pipeline.artifacts.folder import (
    Card,
    clear_leftovers,
    hash_files,
    read_card,
    remove,
    staged,
    write_card,
)
from ocr_pipeline.artifacts.pictures import load_pictures, save_pictures
from ocr_pipeline.config.model import DetModelSpec, ModelSpec, RecModelSpec
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage

CARD_NAME = "checkpoint.json"
_MODEL = "model.safetensors"
_STATE = "train_state.safetensors"
_CHARSET = "charset.txt"
_GOLDEN = "golden"
_LEFTOVER = re.compile(r"\.(step-\d+)-(?:new|old|gone)-")
_OS_ERROR = re.compile(r"os error (\d+)")
Tensors = dict[str, NDArray[Any]]
GO_ON = "and give the same command with --resume: the checkpoints before it are whole"


class CheckpointCard(Card):
    """The card of a checkpoint."""

    format: Literal[1] = 1
    model: ModelSpec
    """Network, input and output rules."""
    step: int
    """Optimiser steps taken."""
    metrics: dict[str, float]
    """On the validation part at this step; percentages."""
    main_metric: str
    """The metric that chooses the best checkpoint; higher is better. Empty for a released model."""
    started_from: str
    """Name of the released model, or path and sha256 of the weights that training started from."""
    dataset: str | None = None
    """sha256 of the dataset's manifest."""
    config: dict[str, Any]
    """The resolved training config."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint artefact on disk. Tensors are safetensors files: reading them runs no code."""

    folder: Path
    card: CheckpointCard

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Read and check a checkpoint folder, or the best one of a run's folder.

        Raises:
            ArtifactError: see :func:`~ocr_pipeline.artifacts.folder.read_card`.
        """
        steps = step_folders(folder)
        if not (folder / CARD_NAME).exists() and steps:
            return max(
                (cls.load(step) for step in steps),
                key=lambda c: (c.card.metrics.get(c.card.main_metric, -1.0), -c.card.step),
            )
        return cls(folder, read_card(folder, CARD_NAME, CheckpointCard, made_by="scripts/train.py"))

    @classmethod
    def write(
        cls,
        folder: Path,
        *,
        model: DetModelSpec | RecModelSpec,
        weights: Tensors,
        train_state: Tensors | None,
        charset: Charset | None,
        golden: Sequence[BGRImage],
        step: int,
        metrics: Mapping[str, float],
        main_metric: str,
        started_from: str,
        config: Mapping[str, Any],
        made_by: dict[str, str],
        dataset: str | None = None,
        replace: bool = False,
    ) -> "Checkpoint":
        """Write a checkpoint whole or not at all, also where the power fails.

        Args:
            weights: structured name to tensor, as of ``Layer.state_dict()``.
            train_state: optimiser and scaler tensors; None where training cannot go on from here.
            golden: pictures on which an export must say the same as this checkpoint.

        Raises:
            ArtifactError: the folder exists and ``replace`` is false, or cannot be written (with
                the space needed and free where the disk is full).
        """
        needed = sum(array.nbytes for array in (*weights.values(), *(train_state or {}).values()))
        again = "and give the command again" if train_state is None else GO_ON
        with staged(folder, replace=replace, durable=True, needed=needed, again=again) as scratch:
            _save_tensors(weights, scratch / _MODEL)
            if train_state is not None:
                _save_tensors(train_state, scratch / _STATE)
            if charset is not None:
                charset.save(scratch / _CHARSET)
            save_pictures(golden, scratch / _GOLDEN)
            card = CheckpointCard(
                model=model,
                step=step,
                metrics=dict(metrics),
                main_metric=main_metric,
                started_from=started_from,
                dataset=dataset,
                config=dict(config),
                made_by=made_by,
                files=hash_files(scratch),
            )
            write_card(card, scratch, CARD_NAME)
        return cls(folder, card)

    def weights(self) -> Tensors:
        """Structured name to tensor."""
        return _read_tensors(self.folder / _MODEL)

    def train_state(self) -> Tensors | None:
        """Optimiser and scaler tensors, or None where there are none."""
        return _read_tensors(self.folder / _STATE) if _STATE in self.card.files else None

    def charset(self) -> Charset | None:
        """The character set; None for a detector."""
        return Charset.load(self.folder / _CHARSET) if _CHARSET in self.card.files else None

    def golden(self) -> list[BGRImage]:
        """The pictures on which an export must say the same."""
        return load_pictures(self.folder / _GOLDEN)


def step_folder(run_dir: Path, step: int) -> Path:
    """Folder of the checkpoint at ``step`` of a run."""
    return run_dir / f"step-{step:06d}"


def step_folders(run_dir: Path) -> list[Path]:
    """Checkpoint folders of a run, by step."""
    folders = [path for path in run_dir.glob("step-*") if path.name[5:].isdigit()]
    return sorted(folders, key=lambda path: int(path.name[5:]))


def latest(run_dir: Path) -> Checkpoint | None:
    """The checkpoint with the most steps of a run that training can go on from, if any.

    Raises:
        ArtifactError: it has been damaged since it was written; nothing is passed over in silence.
    """
    for folder in reversed(step_folders(run_dir)):
        try:
            checkpoint = Checkpoint.load(folder)
        except ArtifactError as error:
            raise ArtifactError(
                f"{error}. To go on from an earlier one: delete {folder}, then --resume"
            ) from None
        if _STATE in checkpoint.card.files:
            return checkpoint
    return None


def keep_only(run_dir: Path, kept: Collection[Path]) -> None:
    """Delete all checkpoints of a run but ``kept``; a kill leaves no half of one.

    Raises:
        ArtifactError: one cannot be deleted.
    """
    for folder in step_folders(run_dir):
        if folder not in kept:
            remove(folder)


def clear_run(run_dir: Path) -> None:
    """Clear away what processes left that were killed while they wrote or deleted checkpoints.

    A checkpoint that one of them was about to replace is put back; see
    :func:`~ocr_pipeline.artifacts.folder.clear_leftovers`.
    """
    found = (_LEFTOVER.match(path.name) for path in run_dir.glob(".step-*"))
    for name in sorted({match[1] for match in found if match}):
        clear_leftovers(run_dir / name)


def _save_tensors(tensors: Tensors, path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))  # which it has in words only
        if found is None:
            raise ArtifactError(f"{path}: cannot be written ({error})") from None
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from None
    path.chmod(0o644)  # which safetensors keeps to this user alone


def _read_tensors(path: Path) -> Tensors:
    try:
        tensors: Tensors = load_file(path)
    except SafetensorError as error:
        raise ArtifactError(f"{path}: not a complete safetensors file ({error})") from None
    return {name: np.asarray(value) for name, value in tensors.items()}
