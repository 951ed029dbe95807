"""Recognition: CTC loss (Graves et al., ICML 2006), evaluation, and what a run consists of."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F
from pydantic import ValidationError

from ocr_pipeline.artifacts.checkpoint import Checkpoint, Tensors, latest, step_folders
from ocr_pipeline.artifacts.dataset import CARD_NAME, Dataset, RecSample
from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.image import with_changes
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError
from ocr_pipeline.evaluation.lines import evaluate_lines
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.charset import BLANK, Charset
from ocr_pipeline.ops.ctc import steps_needed
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.nrtr_tokens import encode_tokens
from ocr_pipeline.ops.resize import rec_widths
from ocr_pipeline.training.calibrate import calibrate
from ocr_pipeline.training.fit import Progress, fit
from ocr_pipeline.training.nrtr_loss import nrtr_loss
from ocr_pipeline.training.precision import choose_device, choose_precision
from ocr_pipeline.training.rec_loader import RecBatch, RecLoader
from ocr_pipeline.versions import made_by
from ocr_pipeline.weights.fresh import FRESH_NAMES, load_fresh
from ocr_pipeline.weights.reform import with_charset, with_spec
from ocr_pipeline.weights.source import load_trainable
from ocr_pipeline.weights.tensors import get_weights
from ocr_pipeline.weights.trainable import TrainableModel

_GOLDEN_LINES = 8


class RecTask:
    """CTC on one network; see :class:`~ocr_pipeline.training.fit.Task`."""

    main_metric = "exact"

    def __init__(
        self,
        model: TrainableModel,
        spec: RecModelSpec,
        charset: Charset,
        val: Sequence[RecSample],
        read: Callable[[RecSample], BGRImage],
        *,
        batch: int,
    ) -> None:
        self.network = model.network
        engine = NetworkEngine(self.network, task="rec")
        self._recognizer = Recognizer(engine, spec, charset, batch=batch)
        self._classes = spec.classes
        self._guided = spec.guide
        self._val = val
        self._read = read

    def loss(self, batch: RecBatch) -> dict[str, Tensor]:
        """Mean CTC loss of the batch's lines; with a guide, its loss as well and their sum."""
        if not self._guided:
            return {"total": self._ctc(self.network(batch.images).logits, batch)}
        lengths = batch.label_lengths.tolist()
        labels = [row[:n] for row, n in zip(batch.labels.tolist(), lengths, strict=True)]
        tokens, targets = encode_tokens(labels, classes=self._classes)
        out = self.network(batch.images, paddle.to_tensor(tokens))
        ctc = self._ctc(out.logits, batch)
        guide = nrtr_loss(out.guide_logits, paddle.to_tensor(targets))
        return {"total": ctc + guide, "ctc": ctc, "guide": guide}

    def _ctc(self, logits: Tensor, batch: RecBatch) -> Tensor:
        steps = logits.shape[1]
        losses = F.ctc_loss(
            logits.astype("float32").transpose([1, 0, 2]),  # [T, N, K]
            batch.labels,
            paddle.full([batch.images.shape[0]], steps, dtype="int64"),
            batch.label_lengths,
            blank=BLANK,
            reduction="none",
        )
        return losses.mean()

    def evaluate(self) -> dict[str, float]:
        """Exact match, character error rate and 1-NED, raw and normalised, percent."""
        return evaluate_lines(self._recognizer, self._val, self._read).metrics()


def train_recognizer(
    config: RecTrainConfig, progress: Progress, *, resume: bool = False
) -> Checkpoint:
    """Fine-tune a recognizer with CTC from released weights or a checkpoint.

    Args:
        config: what to train on, from what, and how.
        progress: told about steps and evaluations.
        resume: go on with the run in ``config.run_dir`` from its last checkpoint.

    Returns:
        The best checkpoint by exact match on the validation part; step 0 counts.

    Raises:
        TrainingError: ``run_dir`` is in use or holds nothing to resume, the start model is a
            detector, or a loss is not finite.
        ArtifactError: dataset or checkpoint incomplete, or their character sets differ.
        TrainingInterruptedError: stopped by a signal, state saved.
    """
    device = choose_device(config.device)
    precision = choose_precision(config.amp, device)
    progress.note(f"device {device}, {precision.reason}")
    last = _check_run(config, resume=resume)
    dataset = Dataset.load(config.dataset)
    model = _resumed(config, last, dataset) if last else _started(config, dataset, progress)
    spec = model.spec
    assert isinstance(spec, RecModelSpec)  # noqa: S101  (both made sure)
    charset = dataset.characters()
    train, val = dataset.lines("train"), dataset.lines("val")
    _check_lengths(dataset, spec)
    batches = RecLoader(
        dataset,
        image=spec.image,
        augment=config.augment,
        batch=config.batch,
        seed=config.seed,
        config=config.loader,
    )
    read = dataset.pictures("val").read
    task = RecTask(model, spec, charset, val, read, batch=config.batch)
    if last is None and config.start not in FRESH_NAMES:
        first = itertools.islice(batches.from_step(0), config.calibration_batches)
        calibrate(model.network, (batch.images for batch in first))
    golden = [read(sample) for sample in val[:_GOLDEN_LINES]]
    manifest_sha = sha256_of(dataset.folder / CARD_NAME)

    def save(
        folder: Path, step: int, metrics: Mapping[str, float], state: Tensors | None
    ) -> Checkpoint:
        return Checkpoint.write(
            folder,
            model=spec,
            weights=get_weights(model.network),
            train_state=state,
            charset=charset,
            golden=golden,
            step=step,
            metrics=metrics,
            main_metric=task.main_metric,
            started_from=model.started_from,
            dataset=manifest_sha,
            config=config.model_dump(mode="json"),
            made_by=made_by(),
        )

    epochs = config.steps / batches.steps_per_epoch()
    progress.note(
        f"{len(train)} lines to train on, {len(val)} to validate; "
        f"{config.steps} steps of {config.batch} = {epochs:.1f} epochs"
    )
    return fit(
        task,
        batches.from_step,
        config,
        precision=precision,
        save=save,
        progress=progress,
        resume_from=last,
    )


def _check_run(config: RecTrainConfig, *, resume: bool) -> Checkpoint | None:
    """The checkpoint to go on from; None for a new run."""
    if not resume:
        if step_folders(config.run_dir):
            raise TrainingError(
                f"{config.run_dir}: holds a run already; say --resume to go on with it, or give "
                "another run_dir"
            )
        return None
    last = latest(config.run_dir)
    if last is None:
        raise TrainingError(
            f"{config.run_dir}: no checkpoint to resume from; start without --resume"
        )
    if last.card.step >= config.steps:
        raise TrainingError(
            f"{config.run_dir}: has {last.card.step} of {config.steps} steps already; raise steps"
        )
    return last


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


def _started(config: RecTrainConfig, dataset: Dataset, progress: Progress) -> TrainableModel:
    """The start model with the character set, form, guide and input rule that are wanted."""
    if config.start in FRESH_NAMES:
        paddle.seed(config.seed)
        model = load_fresh(config.start, dataset.characters())
    else:
        model = load_trainable(config.start)
    if not isinstance(model.spec, RecModelSpec):
        raise TrainingError(f"start {config.start!r} is a detector; name a recognizer")
    model, change = with_charset(model, dataset.characters(), config.charset)
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
