"""``metrics.jsonl``: the record of a run."""

import json
from collections.abc import Mapping
from pathlib import Path

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
            raise ArtifactError(
                f"{self._path}: cannot be written ({error.strerror}); make room, then go on from "
                "the last checkpoint with --resume"
            ) from None

    def truncate_after(self, step: int) -> None:
        """Drop the lines of steps that a resumed run takes again, and one that was cut off."""
        if self._path is None or not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        scratch = self._path.with_suffix(".new")
        scratch.write_text("".join(kept), encoding="utf-8")
        scratch.replace(self._path)
