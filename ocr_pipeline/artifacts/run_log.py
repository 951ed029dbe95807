"""``metrics.jsonl``: the record of a run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ocr_pipeline.artifacts.checkpoint import GO_ON
from ocr_pipeline.artifacts.folder import full_disk, is_full
from ocr_pipeline.errors import ArtifactError

LOG_NAME = "metrics.jsonl"


class RunLog:
    """One JSON object a line, each with its ``step``.

    Args:
        run_dir: folder of the run; is made. None: nothing is recorded.
    """

    def __init__(self, run_dir: Path | None) -> None:
        self._path = None if run_dir is None else run_dir / LOG_NAME
        if run_dir is not None:
            run_dir.mkdir(parents=True, exist_ok=True)

    def write(self, row: Mapping[str, float]) -> None:
        """Add a line.

        Raises:
            ArtifactError: it cannot be written, as on a full disk.
        """
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
        except OSError as error:
            if is_full(error):
                raise ArtifactError(full_disk(self._path, error, again=GO_ON)) from None
            raise ArtifactError(
                f"{self._path}: cannot be written ({error.strerror or error}); check rights, then "
                "go on from the last checkpoint with --resume"
            ) from None

    def truncate_after(self, step: int | None, *, evaluated: bool = True) -> None:
        """Drop the lines of steps that a resumed run takes again, and one that was cut off.

        They are the last ones, so that the file is made shorter, which needs no space.

        Args:
            step: the last one to keep; None: drop all.
            evaluated: its evaluation is kept as well.

        Raises:
            ArtifactError: a line in the midst is no record.
        """
        if self._path is None or not self._path.exists():
            return
        kept = 0
        lines = self._path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            row = _row(line)
            if row is None and number < len(lines):
                raise ArtifactError(
                    f"{self._path}: line {number} is no record of a step; correct or delete it"
                )
            if row is None or step is None or _is_later(row, step, evaluated=evaluated):
                break
            kept += len(line)
        os.truncate(self._path, kept)


def _row(line: bytes) -> dict[str, float] | None:
    """What a line holds; None where it was cut off."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if line.endswith(b"\n") and isinstance(row, dict) and "step" in row else None


def _is_later(row: Mapping[str, float], step: int, *, evaluated: bool) -> bool:
    if row["step"] == step and not evaluated:
        return any(name.startswith("val_") for name in row)
    return row["step"] > step
