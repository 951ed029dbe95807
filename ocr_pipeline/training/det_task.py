"""Detection: DB loss, evaluation by the ICDAR 2015 protocol, and what a run consists of."""

from collections.abc import Callable, Sequence

import paddle
from paddle import Tensor
from pydantic import ValidationError

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.artifacts.dataset import Dataset, DetSample
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.train import DBLossConfig, DetTrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingError
from ocr_pipeline.evaluation.regions import evaluate_regions, region_figures
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_metrics import RegionScore, total
from ocr_pipeline.training.db_loss import db_loss
from ocr_pipeline.training.det_loader import DetBatch, DetLoader
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.fit import Progress, fit
from ocr_pipeline.training.precision import Precision
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


class DetTask:
    """DB loss on one network; see :class:`~ocr_pipeline.training.fit.Task`."""

    def __init__(
        self,
        model: TrainableModel,
        spec: DetModelSpec,
        val: Sequence[DetSample],
        read: Callable[[DetSample], BGRImage],
        *,
        loss: DBLossConfig,
        main_metric: str = "hmean",
        ranks: Ranks = ALONE,
    ) -> None:
        self.network = model.network
        self.main_metric = main_metric
        self._detector = Detector(NetworkEngine(self.network, task="det"), spec)
        self._loss = loss
        self._focal = spec.family == "ppocrv6" if loss.focal is None else loss.focal
        self._val = val
        self._read = read
        self._ranks = ranks

    def loss(self, batch: DetBatch) -> dict[str, Tensor]:
        """See :func:`~ocr_pipeline.training.db_loss.db_loss`.

        Dice losses are of a whole batch: their mean over several processes is not quite that of one
        batch of all their pages.
        """
        terms = db_loss(self.network(batch.images), batch.maps, self._loss, focal=self._focal)
        if batch.share == 1.0:
            return terms
        return {name: value * batch.share for name, value in terms.items()}

    def evaluate(self) -> dict[str, float]:
        """Precision, recall and hmean, percent; each process looks at its part, all count all."""

        def look_at(numbers: Sequence[int]) -> Sequence[RegionScore]:
            part = [self._val[number] for number in numbers]
            return evaluate_regions(self._detector, part, self._read).pages

        return region_figures(total(self._ranks.spread(len(self._val), look_at)))


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
        return _train(config, ranks, shown, precision, resume=resume)


def _train(
    config: DetTrainConfig,
    ranks: Ranks,
    progress: Progress,
    precision: Precision,
    *,
    resume: bool,
) -> Checkpoint:
    last = ranks.first(lambda: find_last(config, resume=resume))
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
    return fit(
        task,
        batches.from_step,
        config,
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
