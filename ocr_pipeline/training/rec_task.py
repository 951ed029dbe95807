"""Recognition: CTC loss (Graves et al., ICML 2006), evaluation, and what a run consists of."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F
from pydantic import ValidationError

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import Dataset, RecSample
from ocr_pipeline.config.image import with_changes
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError
from ocr_pipeline.evaluation.lines import read_lines, score_read
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.charset import BLANK, Charset
from ocr_pipeline.ops.ctc import TextLine, steps_needed
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.nrtr_tokens import encode_tokens
from ocr_pipeline.ops.resize import rec_widths
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.fit import Progress, fit
from ocr_pipeline.training.nrtr_loss import nrtr_loss
from ocr_pipeline.training.precision import Precision
from ocr_pipeline.training.rec_loader import RecBatch, RecLoader
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
from ocr_pipeline.weights.source import load_trainable
from ocr_pipeline.weights.trainable import TrainableModel

_GOLDEN_LINES = 8
_START_LINES = 64


class RecTask:
    """CTC on one network; see :class:`~ocr_pipeline.training.fit.Task`.

    Args:
        model: its network is trained.
        spec: input rule and classes.
        charset: of the labels.
        val: lines to validate on.
        read: gives their pictures.
        batch: lines that are read at a time.
        main_metric: the metric that chooses the best checkpoint.
        replay: numbers of sources that keep old abilities; they are measured apart.
        ranks: the processes that evaluate together.
    """

    def __init__(
        self,
        model: TrainableModel,
        spec: RecModelSpec,
        charset: Charset,
        val: Sequence[RecSample],
        read: Callable[[RecSample], BGRImage],
        *,
        batch: int,
        main_metric: str = "exact",
        replay: Collection[int] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        self.network = model.network
        self.main_metric = main_metric
        engine = NetworkEngine(self.network, task="rec")
        self._recognizer = Recognizer(engine, spec, charset, batch=batch)
        self._classes = spec.classes
        self._guided = spec.guide
        self._val, self._replay = val, []
        if replay:
            self._val = [sample for sample in val if sample.source not in replay]
            self._replay = [sample for sample in val if sample.source in replay]
        self._read = read
        self._ranks = ranks

    def loss(self, batch: RecBatch) -> dict[str, Tensor]:
        """Mean CTC loss of the batch's lines; with a guide, its loss as well and their sum.

        The mean of these over all processes is that of all their lines.
        """
        terms = self._terms(batch)
        if batch.share == 1.0:
            return terms
        return {name: value * batch.share for name, value in terms.items()}

    def _terms(self, batch: RecBatch) -> dict[str, Tensor]:
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
        """Exact match, character error rate and 1-NED, raw and normalised, percent.

        Those of replayed lines are told apart: ``replay_exact``, ``replay_cer``.
        """
        metrics = self._measured(self._val)
        if self._replay:
            old = self._measured(self._replay)
            metrics |= {"replay_exact": old["exact"], "replay_cer": old["cer"]}
        return metrics

    def _measured(self, samples: Sequence[RecSample]) -> dict[str, float]:
        """Each process reads its part; all count all."""

        def read_part(numbers: Sequence[int]) -> list[TextLine]:
            return read_lines(self._recognizer, [samples[n] for n in numbers], self._read)

        return score_read(samples, self._ranks.spread(len(samples), read_part)).metrics()


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
        return _train(config, ranks, shown, precision, resume=resume)


def _train(
    config: RecTrainConfig,
    ranks: Ranks,
    progress: Progress,
    precision: Precision,
    *,
    resume: bool,
) -> Checkpoint:
    last = ranks.first(lambda: find_last(config, resume=resume))
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
    return fit(
        task,
        batches.from_step,
        config,
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
