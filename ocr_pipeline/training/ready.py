"""A training before its first step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.fit import Progress, Save, fit
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.stepper import Stepper, Task


@dataclass(frozen=True)
class Ready:
    """Everything that :func:`~ocr_pipeline.training.fit.fit` takes.

    Attributes:
        task: loss and evaluation.
        batches_from: number of batches -> endless batches after so many.
        config: of the run.
        precision: mixed or not.
        save: writes a checkpoint.
        progress: told about steps and evaluations.
        ranks: the processes that train together.
        resume_from: a checkpoint of the same run.
    """

    task: Task[Any]
    batches_from: Callable[[int], Iterator[Any]]
    config: TrainConfig
    precision: Precision
    save: Save
    progress: Progress
    ranks: Ranks
    resume_from: Checkpoint | None

    def fit(self) -> Checkpoint:
        """Train; the best checkpoint."""
        return fit(
            self.task,
            self.batches_from,
            self.config,
            precision=self.precision,
            save=self.save,
            progress=self.progress,
            resume_from=self.resume_from,
            ranks=self.ranks,
        )

    def stepper(self, wait: Callable[[], None] | None = None) -> Stepper:
        """Takes steps that nothing is recorded of; see its ``wait``."""
        return Stepper(
            self.task,
            self.config,
            self.precision,
            self.progress.note,
            ranks=self.ranks,
            wait=wait,
        )
