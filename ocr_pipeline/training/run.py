"""What the trainings of both tasks share: where a run begins, and what its checkpoints hold."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from paddle import Tensor, nn

from ocr_pipeline.artifacts.checkpoint import CARD_NAME as CHECKPOINT_NAME
from ocr_pipeline.artifacts.checkpoint import (
    Checkpoint,
    Tensors,
    clear_run,
    latest,
    step_folders,
)
from ocr_pipeline.artifacts.dataset import CARD_NAME, Dataset
from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.train import TrainConfig
from ocr_pipeline.errors import TrainingError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.training.calibrate import calibrate
from ocr_pipeline.training.distributed import ALONE, Ranks, joined
from ocr_pipeline.training.fit import Progress, Save, awaits_evaluation
from ocr_pipeline.training.optimizer import peak_rate
from ocr_pipeline.training.precision import Precision, choose_device, choose_precision
from ocr_pipeline.training.shared_dropout import share_dropout
from ocr_pipeline.training.synced_norm import synchronise
from ocr_pipeline.versions import made_by
from ocr_pipeline.weights.tensors import get_weights
from ocr_pipeline.weights.trainable import TrainableModel


class Quiet:
    """The progress of a process that shows nothing, since another one does."""

    def note(self, text: str) -> None:
        """Nothing."""

    def step(self, step: int, steps: int, loss: float, lr: float) -> None:
        """Nothing."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""


@contextmanager
def begin(config: TrainConfig, progress: Progress) -> Iterator[tuple[Ranks, Progress, Precision]]:
    """Choose device and precision, join the other processes, and say so.

    Gives the processes, the progress that this one is to show, and its precision.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.amp, device)
    with joined(device, config.distributed) as ranks:
        shown = progress if ranks.is_first else Quiet()
        processes = f"{ranks.world} processes, " if ranks.world > 1 else ""
        shown.note(f"{processes}device {device}, {precision.reason}")
        yield ranks, shown, precision


def find_last(config: TrainConfig, *, resume: bool, ranks: Ranks = ALONE) -> Checkpoint | None:
    """The checkpoint to go on from, which rank 0 chooses; None for a new run.

    Raises:
        TrainingError: ``run_dir`` is in use, holds nothing to resume, has all its steps, or another
            process does not see it.
    """
    last = ranks.first(lambda: _find_last(config, resume=resume))
    if last is not None and not (last.folder / CHECKPOINT_NAME).exists():
        raise TrainingError(
            f"rank {ranks.rank}: {last.folder} is not here, where rank 0 goes on from it; give a "
            "run_dir in a folder that all machines share, or copy this checkpoint to all of them"
        )
    return last


def _find_last(config: TrainConfig, *, resume: bool) -> Checkpoint | None:
    clear_run(config.run_dir)
    steps = step_folders(config.run_dir)
    if not resume:
        if steps:
            raise TrainingError(
                f"{config.run_dir}: holds a run already; say --resume to go on with it, or give "
                "another run_dir"
            )
        return None
    last = latest(config.run_dir)
    if last is None and steps:
        raise TrainingError(
            f"{config.run_dir}: ended before its first step was saved, so there is no checkpoint "
            "to resume from; remove the folder and start without --resume"
        )
    if last is None:
        raise TrainingError(
            f"{config.run_dir}: no checkpoint to resume from; start without --resume"
        )
    if last.card.step >= config.steps and not awaits_evaluation(last.card, config):
        raise TrainingError(
            f"{config.run_dir}: has {last.card.step} of {config.steps} steps already; raise steps"
        )
    return last


def saver(
    config: TrainConfig,
    model: TrainableModel,
    dataset: Dataset,
    *,
    charset: Charset | None,
    golden: Sequence[BGRImage],
    main_metric: str,
) -> Save:
    """What writes the checkpoints of a run.

    Args:
        config: of the run; is kept in each card.
        model: its network is what is saved.
        dataset: is trained on; its card's sha256 is kept.
        charset: recognizers only.
        golden: pictures on which an export must say the same.
        main_metric: the metric that chooses the best.
    """
    manifest_sha = sha256_of(dataset.folder / CARD_NAME)

    def save(
        folder: Path, step: int, metrics: Mapping[str, float], state: Tensors | None
    ) -> Checkpoint:
        return Checkpoint.write(
            folder,
            model=model.spec,
            weights=get_weights(model.network),
            train_state=state,
            charset=charset,
            golden=golden,
            step=step,
            metrics=metrics,
            main_metric=main_metric,
            started_from=model.started_from,
            dataset=manifest_sha,
            config=config.model_dump(mode="json"),
            made_by=made_by(),
            replace=True,  # one that was saved unevaluated by a stop
        )

    return save


class _Batch(Protocol):
    @property
    def images(self) -> Tensor: ...

    @property
    def share(self) -> float: ...


def calibrate_on(network: nn.Layer, batches: Iterator[_Batch], count: int, ranks: Ranks) -> None:
    """:func:`~ocr_pipeline.training.calibrate.calibrate` on the first batches of all processes."""
    few = list(itertools.islice(batches, count))
    shares = np.array([batch.share for batch in few]).reshape(-1, 1, 1)
    calibrate(
        network,
        (batch.images for batch in few),
        mean_of=lambda moments: ranks.mean((moments * shares).mean(axis=0)),
    )


def share_network(network: nn.Layer, config: TrainConfig, ranks: Ranks) -> None:
    """All processes start from the weights of the first one; see ``sync_norm`` as well."""
    ranks.start_alike(network)
    share_dropout(network, ranks)
    if config.distributed.sync_norm:
        synchronise(network, ranks)


def check_start(
    before: Mapping[str, float],
    after: Mapping[str, float],
    metric: str,
    *,
    start: str,
    samples: int,
    limit: float,
) -> None:
    """Make sure that nothing was lost on the way from the start model to the first step.

    Args:
        before: metrics of the start model as it was loaded, percent.
        after: of the network that is to be trained, on the same samples.
        metric: the one that counts.
        start: name of the start model.
        samples: how many.
        limit: points that may be lost.

    Raises:
        TrainingError: more was lost.
    """
    if before[metric] - after[metric] > limit:
        raise TrainingError(
            f"before the first step {metric} is {after[metric]:.1f} %, that of {start} as it was "
            f"released {before[metric]:.1f} % on the same {samples} samples (max_start_drop "
            f"allows {limit:g} points less); look at image, charset and form, which change what "
            "the start model sees and is"
        )


def plan_sentence(
    config: TrainConfig, count: int, val: int, what: str, per_epoch: int, world: int = 1
) -> str:
    """What is going to happen, in one sentence; ``per_epoch``: batches that show all once."""
    epochs = config.steps * config.accumulate / per_epoch
    batch = f"{config.batch}"
    if config.accumulate > 1:
        batch = f"{config.accumulate} x {batch}"
    if world > 1:
        batch = f"{batch} in each of {world} processes"
    return (
        f"{count:,} {what} to train on, {val:,} to validate; {config.steps:,} steps of {batch} = "
        f"{epochs:.1f} epochs; peak learning rate {peak_rate(config, world):.2g}"
    )
