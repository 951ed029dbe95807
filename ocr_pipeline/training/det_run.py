"""Fine-tuning of a detector: what a run consists of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import paddle
from pydantic import ValidationError

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import CARD_NAME, Dataset, DetSample
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.train import DetTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.training.det_loader import DetLoader
from ocr_pipeline.training.det_task import DetTask
from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.fit import Progress
from ocr_pipeline.training.made_up import Subject, made_pages
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.probe import with_found_batch
from ocr_pipeline.training.ready import Ready
from ocr_pipeline.training.run import (
    begin,
    calibrate_on,
    check_start,
    find_last,
    plan_sentence,
    saver,
    share_network,
)
from ocr_pipeline.weights.reform import with_spec
from ocr_pipeline.weights.source import load_trainable
from ocr_pipeline.weights.trainable import TrainableModel

_GOLDEN_PAGES = 2
_START_PAGES = 8


def train_detector(
    config: DetTrainConfig, progress: Progress, *, resume: bool = False
) -> Checkpoint:
    """Fine-tune a DB detector from released weights or a checkpoint.

    Args:
        config: what to train on, from what, and how.
        progress: told about steps and evaluations.
        resume: go on with the run in ``config.run_dir`` from its last checkpoint.

    Returns:
        The best checkpoint by ``config.best_by`` on the validation part; step 0 counts.

    Raises:
        TrainingError: ``run_dir`` is in use or holds nothing to resume, the start model is a
            recognizer, it lost too much before the first step, or a loss is not finite.
        ArtifactError: dataset or checkpoint incomplete, or the dataset is one of lines.
        TrainingInterruptedError: stopped by a signal, state saved.
    """
    with begin(config, progress) as (ranks, shown, precision):
        return _ready(config, ranks, shown, precision, resume=resume).fit()


@contextmanager
def detector_ready(config: DetTrainConfig, progress: Progress) -> Iterator[Ready]:
    """A new run before its first step, to look at; nothing is written.

    Raises:
        As :func:`train_detector`.
    """
    with begin(config, progress) as (ranks, shown, precision), TemporaryDirectory() as scratch:
        unused = config.model_copy(update={"run_dir": Path(scratch) / "run"})
        yield _ready(unused, ranks, shown, precision, resume=False)


@contextmanager
def detector_subject(
    config: DetTrainConfig, progress: Progress
) -> Iterator[tuple[Subject, Precision]]:
    """The network that would be trained, and batches of noise; there need be no dataset yet.

    Raises:
        TrainingError: the start model is a recognizer.
    """
    with begin(config, progress) as (_, shown, precision):
        dataset = None
        if (config.dataset / CARD_NAME).exists():
            dataset = Dataset.load(config.dataset)
        else:
            shown.note(f"{config.dataset}: no dataset yet")
        yield _subject(_started(config), config, dataset), precision


def _subject(model: TrainableModel, config: DetTrainConfig, dataset: Dataset | None) -> Subject:
    assert isinstance(model.spec, DetModelSpec)  # noqa: S101  (a detector, as was looked)
    side = config.augment.size
    made = partial(made_pages, side=side)
    counts = {} if dataset is None else dataset.manifest.counts
    return Subject(
        DetTask(model, model.spec, [], _no_picture, loss=config.loss),
        largest=made,
        typical=made,
        shapes=(f"{side}x{side}", f"{side}x{side}"),
        train=counts.get("train"),
        val=counts.get("val"),
    )


def _no_picture(sample: DetSample) -> BGRImage:
    raise ValueError(f"{sample.image}: noise has no pictures")


def _ready(
    config: DetTrainConfig,
    ranks: Ranks,
    progress: Progress,
    precision: Precision,
    *,
    resume: bool,
) -> Ready:
    last = find_last(config, resume=resume, ranks=ranks)
    dataset = Dataset.load(config.dataset)
    if dataset.manifest.task != "det":
        raise ArtifactError(
            f"{dataset.folder}: a dataset of lines; a detector is trained on one that was prepared "
            "with task=det"
        )
    model = _resumed(config, last) if last else _started(config)
    spec = model.spec
    assert isinstance(spec, DetModelSpec)  # noqa: S101  (both made sure)
    train, val = dataset.pages("train"), dataset.pages("val")
    config = with_found_batch(
        config, last, lambda: _subject(model, config, dataset), precision, ranks, progress.note
    )
    batches = DetLoader(
        dataset,
        image=spec.image,
        augment=config.augment,
        target=config.target,
        batch=config.batch,
        steps=config.steps * config.accumulate,
        seed=config.seed,
        config=config.loader,
        rank=ranks.rank,
        world=ranks.world,
    )
    read = dataset.pictures("val").read

    def task_on(subject: TrainableModel, samples: Sequence[DetSample]) -> DetTask:
        assert isinstance(subject.spec, DetModelSpec)  # noqa: S101  (a detector, as looked above)
        return DetTask(
            subject,
            subject.spec,
            samples,
            read,
            loss=config.loss,
            main_metric=config.best_by,
            ranks=ranks,
        )

    task = task_on(model, val)
    if last is None:
        calibrate_on(model.network, batches.from_step(0), config.calibration_batches, ranks)
        few = list(val[:_START_PAGES])
        check_start(
            task_on(load_trainable(config.start), few).evaluate(),
            task_on(model, few).evaluate(),
            config.best_by,
            start=config.start,
            samples=len(few),
            limit=config.max_start_drop,
        )
    progress.note(
        plan_sentence(config, len(train), len(val), "pages", batches.steps_per_epoch(), ranks.world)
    )
    share_network(model.network, config, ranks)
    golden = [read(sample) for sample in val[:_GOLDEN_PAGES]]
    return Ready(
        task=task,
        batches_from=batches.from_step,
        config=config,
        precision=precision,
        save=saver(
            config, model, dataset, charset=None, golden=golden, main_metric=task.main_metric
        ),
        progress=progress,
        resume_from=last,
        ranks=ranks,
    )


def _started(config: DetTrainConfig) -> TrainableModel:
    model = load_trainable(config.start)
    if not isinstance(model.spec, DetModelSpec):
        raise TrainingError(f"start {config.start!r} is a recognizer; name a detector")
    values = {**model.spec.model_dump(), **_wanted(model.spec, config)}
    try:
        spec = DetModelSpec.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(fault["msg"] for fault in error.errors())
        raise TrainingError(f"start {config.start}: {faults}") from None
    paddle.seed(config.seed)  # of the fresh branches
    return with_spec(model, spec)


def _resumed(config: DetTrainConfig, last: Checkpoint) -> TrainableModel:
    model = load_trainable(str(last.folder))
    if not isinstance(model.spec, DetModelSpec):
        raise TrainingError(f"{last.folder}: a run of a recognizer; resume it with task=rec")
    wanted = _wanted(model.spec, config)
    changed = [name for name, value in wanted.items() if getattr(model.spec, name) != value]
    if changed:
        raise TrainingError(
            f"{last.folder}: {', '.join(changed)} cannot change within a run; resume with the "
            "settings it was started with, or start a new run from this checkpoint"
        )
    return model


def _wanted(spec: DetModelSpec, config: DetTrainConfig) -> dict[str, object]:
    """What the config says of the network."""
    return {"threshold": True, "auxiliary": config.auxiliary, "form": config.form or spec.form}
