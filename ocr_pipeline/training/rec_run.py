"""Fine-tuning of a recognizer: what a run consists of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import paddle
from pydantic import ValidationError

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import CARD_NAME, Dataset, RecSample
from ocr_pipeline.config.image import with_changes
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import steps_needed
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import rec_widths
from ocr_pipeline.training.distributed import Ranks
from ocr_pipeline.training.fit import Progress
from ocr_pipeline.training.made_up import Subject, made_lines
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.probe import with_found_batch
from ocr_pipeline.training.ready import Ready
from ocr_pipeline.training.rec_loader import RecLoader
from ocr_pipeline.training.rec_task import RecTask
from ocr_pipeline.training.run import (
    begin,
    calibrate_on,
    check_start,
    find_last,
    plan_sentence,
    saver,
    share_network,
)
from ocr_pipeline.weights.fresh import FRESH_NAMES, load_fresh
from ocr_pipeline.weights.reform import with_charset, with_spec
from ocr_pipeline.weights.source import load_trainable, recognizer_rules
from ocr_pipeline.weights.trainable import TrainableModel

_GOLDEN_LINES = 8
_START_LINES = 64


def train_recognizer(
    config: RecTrainConfig, progress: Progress, *, resume: bool = False
) -> Checkpoint:
    """Fine-tune a recognizer with CTC from released weights or a checkpoint.

    Args:
        config: what to train on, from what, and how.
        progress: told about steps and evaluations.
        resume: go on with the run in ``config.run_dir`` from its last checkpoint.

    Returns:
        The best checkpoint by ``config.best_by`` on the validation part; step 0 counts.

    Raises:
        TrainingError: ``run_dir`` is in use or holds nothing to resume, the start model is a
            detector, it lost too much before the first step, or a loss is not finite.
        ArtifactError: dataset or checkpoint incomplete, or their character sets differ.
        TrainingInterruptedError: stopped by a signal, state saved.
    """
    with begin(config, progress) as (ranks, shown, precision):
        return _ready(config, ranks, shown, precision, resume=resume).fit()


@contextmanager
def recognizer_ready(config: RecTrainConfig, progress: Progress) -> Iterator[Ready]:
    """A new run before its first step, to look at; nothing is written.

    Raises:
        As :func:`train_recognizer`.
    """
    with begin(config, progress) as (ranks, shown, precision), TemporaryDirectory() as scratch:
        unused = config.model_copy(update={"run_dir": Path(scratch) / "run"})
        yield _ready(unused, ranks, shown, precision, resume=False)


@contextmanager
def recognizer_subject(
    config: RecTrainConfig, progress: Progress
) -> Iterator[tuple[Subject, Precision]]:
    """The network that would be trained, and batches of noise; there need be no dataset yet.

    Raises:
        TrainingError: the start model is a detector, or trained from scratch without a dataset.
    """
    with begin(config, progress) as (_, shown, precision):
        dataset = None
        charset, _rule = recognizer_rules(config.start)
        if (config.dataset / CARD_NAME).exists():
            dataset = Dataset.load(config.dataset)
            charset = dataset.characters()
        else:
            shown.note(f"{config.dataset}: no dataset yet; counted with the widest usual line")
        if charset is None:
            raise TrainingError(
                f"start {config.start}: has no character set of its own, and {config.dataset} is "
                "no dataset; prepare it first"
            )
        yield _subject(_started(config, charset, shown), config, dataset), precision


def _subject(model: TrainableModel, config: RecTrainConfig, dataset: Dataset | None) -> Subject:
    spec, charset = model.spec, model.charset
    assert isinstance(spec, RecModelSpec)  # noqa: S101  (a recognizer, as was looked)
    assert charset is not None  # noqa: S101  (it is a recognizer)
    widths = np.array([spec.image.min_width])
    train = val = None
    if dataset is not None:
        lines = dataset.lines("train")
        train, val = len(lines), len(dataset.lines("val"))
        widths = rec_widths(lines.column("height"), lines.column("width"), spec.image)
    made = partial(made_lines, image=spec.image, classes=spec.classes)
    largest, typical = int(widths.max()), int(np.median(widths))
    return Subject(
        RecTask(model, spec, charset, [], _no_picture, batch=config.batch),
        largest=partial(made, width=largest),
        typical=partial(made, width=typical),
        shapes=(f"{spec.image.height}x{largest}", f"{spec.image.height}x{typical}"),
        train=train,
        val=val,
    )


def _no_picture(sample: RecSample) -> BGRImage:
    raise ValueError(f"{sample.image}: noise has no pictures")


def _ready(
    config: RecTrainConfig,
    ranks: Ranks,
    progress: Progress,
    precision: Precision,
    *,
    resume: bool,
) -> Ready:
    last = find_last(config, resume=resume, ranks=ranks)
    dataset = Dataset.load(config.dataset)
    charset = dataset.characters()
    model = _resumed(config, last, dataset) if last else _started(config, charset, progress)
    spec = model.spec
    assert isinstance(spec, RecModelSpec)  # noqa: S101  (both made sure)
    train, val = dataset.lines("train"), dataset.lines("val")
    _check_lengths(dataset, spec)
    config = with_found_batch(
        config, last, lambda: _subject(model, config, dataset), precision, ranks, progress.note
    )
    batches = RecLoader(
        dataset,
        image=spec.image,
        augment=config.augment,
        batch=config.batch,
        seed=config.seed,
        config=config.loader,
        rank=ranks.rank,
        world=ranks.world,
    )
    read = dataset.pictures("val").read
    replay = {n for n, source in enumerate(dataset.manifest.sources) if source.replay}

    def task_on(subject: TrainableModel, samples: Sequence[RecSample]) -> RecTask:
        assert isinstance(subject.spec, RecModelSpec)  # noqa: S101  (looked above)
        assert subject.charset is not None  # noqa: S101  (it is a recognizer)
        return RecTask(
            subject,
            subject.spec,
            subject.charset,
            samples,
            read,
            batch=config.batch,
            main_metric=config.best_by,
            replay=replay,
            ranks=ranks,
        )

    task = task_on(model, val)
    if last is None and config.start not in FRESH_NAMES:
        calibrate_on(model.network, batches.from_step(0), config.calibration_batches, ranks)
        few = list(val[:_START_LINES])
        check_start(
            task_on(load_trainable(config.start), few).evaluate(),
            task_on(model, few).evaluate(),
            config.best_by,
            start=config.start,
            samples=len(few),
            limit=config.max_start_drop,
        )
    progress.note(
        plan_sentence(config, len(train), len(val), "lines", batches.steps_per_epoch(), ranks.world)
    )
    share_network(model.network, config, ranks)
    golden = [read(sample) for sample in val[:_GOLDEN_LINES]]
    return Ready(
        task=task,
        batches_from=batches.from_step,
        config=config,
        precision=precision,
        save=saver(
            config, model, dataset, charset=charset, golden=golden, main_metric=task.main_metric
        ),
        progress=progress,
        resume_from=last,
        ranks=ranks,
    )


def _check_lengths(dataset: Dataset, spec: RecModelSpec) -> None:
    """Every label must fit into the time steps of its picture's bucket, or CTC has no path."""
    lines, charset = dataset.lines("train"), dataset.characters()
    buckets = rec_widths(lines.column("height"), lines.column("width"), spec.image)
    # A label of L characters needs 2 L - 1 steps at most: only those that might not fit are read.
    longest = 2 * lines.column("length").astype(np.int64) - 1
    for number in np.flatnonzero(longest > buckets // spec.image.time_stride).tolist():
        sample, bucket = lines[number], int(buckets[number])
        steps, needed = bucket // spec.image.time_stride, steps_needed(charset.encode(sample.text))
        if needed > steps:
            raise TrainingError(
                f"{sample.image}: label {sample.text!r} needs {needed} time steps, its bucket of "
                f"{bucket} px gives {steps}; prepare the dataset with the same `image` rule as the "
                "training, or raise image.min_width"
            )


def _resumed(config: RecTrainConfig, last: Checkpoint, dataset: Dataset) -> TrainableModel:
    model = load_trainable(str(last.folder))
    assert isinstance(model.spec, RecModelSpec)  # noqa: S101  (a run of lines)
    wanted = _wanted(model.spec, config)
    changed = [name for name, value in wanted.items() if getattr(model.spec, name) != value]
    if changed:
        raise TrainingError(
            f"{last.folder}: {', '.join(changed)} cannot change within a run; resume with the "
            "settings it was started with, or start a new run from this checkpoint"
        )
    charset = dataset.characters()
    if model.charset != charset:
        raise ArtifactError(
            f"{dataset.folder}: its character set of {charset.classes} classes is not the "
            f"run's; resume with the dataset that {last.folder} was trained on"
        )
    return model


def _started(config: RecTrainConfig, charset: Charset, progress: Progress) -> TrainableModel:
    """The start model with the character set, form, guide and input rule that are wanted."""
    if config.start in FRESH_NAMES:
        paddle.seed(config.seed)
        model = load_fresh(config.start, charset)
    else:
        model = load_trainable(config.start)
    if not isinstance(model.spec, RecModelSpec):
        raise TrainingError(f"start {config.start!r} is a detector; name a recognizer")
    model, change = with_charset(model, charset, config.charset)
    if change.new or change.dropped:
        progress.note(f"character set: {change.sentence()}")
    assert isinstance(model.spec, RecModelSpec)  # noqa: S101  (looked above)
    if model.spec.guide and not config.guide:
        progress.note("the start model's guide is left out; guide=true trains it on")
    values = {**model.spec.model_dump(), **_wanted(model.spec, config)}
    try:
        spec = RecModelSpec.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(fault["msg"] for fault in error.errors())
        raise TrainingError(f"start {config.start}: {faults}") from None
    return with_spec(model, spec)


def _wanted(spec: RecModelSpec, config: RecTrainConfig) -> dict[str, object]:
    """What the config says of the network."""
    return {
        "guide": config.guide,
        "form": config.form or spec.form,
        "image": with_changes(spec.image, config.image),
    }
