"""Where a run's figures go beside ``metrics.jsonl``, which is the record; none is needed."""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from ocr_pipeline.errors import TrainingError

SinkName = Literal["tensorboard", "visualdl"]
_PACKAGES: dict[SinkName, str] = {"tensorboard": "tensorboardX", "visualdl": "visualdl"}
_VALIDATION = "val_"


class Sink(Protocol):
    """Takes what ``metrics.jsonl`` takes."""

    def write(self, row: Mapping[str, float]) -> None:
        """Take one row; it holds ``step``."""

    def close(self) -> None:
        """Write what is still in memory."""


def open_sinks(names: Iterable[SinkName], run_dir: Path, *, step: int = 0) -> list[Sink]:
    """Open writers below a run's folder, each in a folder of its name.

    Args:
        names: of the sinks.
        run_dir: of the run.
        step: of the checkpoint that a run is resumed from; TensorBoard hides what stands after it.

    Raises:
        TrainingError: a package is not installed (all of them named).
    """
    wanted = list(dict.fromkeys(names))
    missing = [_PACKAGES[name] for name in wanted if not _is_installed(_PACKAGES[name])]
    if missing:
        raise TrainingError(
            f"sinks: {', '.join(wanted)} need what is not installed; pip install "
            f"{' '.join(missing)}, or leave them out: metrics.jsonl has all figures"
        )
    return [_ScalarSink(_writer(name, run_dir / name, step)) for name in wanted]


class _ScalarSink:
    """Writes numbers by name; training, validation and timing stand apart."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, row: Mapping[str, float]) -> None:
        step = int(row["step"])
        for name, value in row.items():
            if name != "step":
                self._writer.add_scalar(_tag(name), float(value), step)

    def close(self) -> None:
        self._writer.close()


def _tag(name: str) -> str:
    if name.startswith(_VALIDATION):
        return f"val/{name.removeprefix(_VALIDATION)}"
    return f"time/{name}" if name.endswith("seconds") else f"train/{name}"


def _writer(name: SinkName, folder: Path, step: int) -> Any:
    module = importlib.import_module(_PACKAGES[name])
    if name == "tensorboard":
        return module.SummaryWriter(str(folder), purge_step=step + 1 if step else None)
    return module.LogWriter(logdir=str(folder))


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
