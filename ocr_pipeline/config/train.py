"""Stage 2."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
)

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.det_augment import DBTargetConfig, DetAugmentConfig
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.model import Form
from ocr_pipeline.config.rec_augment import RecAugmentConfig


class OptimConfig(Config):
    """Adam (0.9, 0.999) with linear warm-up, then a cosine to zero."""

    lr: PositiveFloat = 1e-4
    """Peak learning rate for `reference_batch` samples a step."""
    reference_batch: PositiveInt | None = None
    """The rate grows and falls with the samples per step, in proportion; null: it does not."""
    warmup_steps: NonNegativeInt = 20
    """Steps over which the rate rises linearly from 0."""
    weight_decay: NonNegativeFloat = 3e-5
    """L2 added to the gradient of weights; none on normalisations and biases."""
    max_grad_norm: PositiveFloat = 5.0
    """Gradients with a larger global norm are scaled down to it."""


class AmpConfig(Config):
    """Mixed precision; has an effect on GPU only."""

    enabled: bool = True
    """False: float32 everywhere."""
    dtype: Literal["auto", "float16", "bfloat16"] = "auto"
    """auto: bfloat16 where the GPU has it (capability 8.0), else float16 with loss scaling."""


class FreezeConfig(Config):
    """Parts of the network that stand still at first, so that fresh parts cannot spoil them."""

    parts: list[Literal["backbone", "neck"]] = ["backbone", "neck"]
    """Their weights and the statistics of their normalisations stay."""
    steps: NonNegativeInt = 0
    """For so many steps from the start."""


class DistributedConfig(Config):
    """Several processes, as ``python -m paddle.distributed.launch`` starts them."""

    timeout_s: PositiveFloat = 300.0
    """A process that is silent, or behind the others, for longer is missing: all end and name it.
    Longer than the longest difference between them: reading a batch, writing a checkpoint, s."""
    sync_norm: bool = False
    """Normalise by the statistics of all processes' samples together: for batches of few samples a
    process. Two more exchanges a normalisation and step."""


class TrainConfig(Config):
    """What all trainings have."""

    dataset: Path
    """Folder made by ``scripts/prepare.py``."""
    run_dir: Path
    """Folder of the run: gets ``step-NNNNNN/`` checkpoints and ``metrics.jsonl``."""
    form: Form | None = None
    """calibrated: one convolution and normalisation a unit. multi_branch: all branches of the
    released training, slower. null: as the start model has it."""
    steps: PositiveInt = 300
    """Optimiser steps."""
    batch: PositiveInt = 16
    """Samples that go through the network at a time, in each process."""
    find_batch: bool = False
    """Try batches before the first step and take, instead of `batch`, the largest that fits into
    memory; a smaller one where that is as fast. Not more than an eighth of the samples, or 512."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are averaged into one step: a larger batch in the same memory."""
    optim: OptimConfig = OptimConfig()
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the moving average of the weights, which is then what is evaluated and saved;
    it is lower in the first steps. null: none."""
    freeze: FreezeConfig = FreezeConfig()
    amp: AmpConfig = AmpConfig()
    calibration_batches: PositiveInt = 4
    """Batches that give folded normalisations their statistics before the first step."""
    max_start_drop: PositiveFloat = 5.0
    """Percentage points that the network may lose against its start model before the first step,
    on a few samples; more, and something is wrong with its settings: training does not begin."""
    eval_every: PositiveInt = 100
    """Steps between evaluations; the end is always evaluated, and so is step 0."""
    patience: PositiveInt | None = None
    """Evaluations without a better one after which training ends early; null: it never does."""
    keep_last: PositiveInt = 1
    """Checkpoints that are kept beside the best one."""
    log_every: PositiveInt = 10
    """Steps between lines in ``metrics.jsonl``."""
    sinks: list[Literal["tensorboard", "visualdl"]] = []
    """Where the same figures go as well; needs the package `tensorboardX` or `visualdl`."""
    distributed: DistributedConfig = DistributedConfig()
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU where this Paddle finds one."""
    loader: LoaderConfig = LoaderConfig()
    seed: NonNegativeInt = 0
    """Order of samples, augmentation, dropout."""


class RecTrainConfig(TrainConfig):
    """Fine-tune a CTC recognizer."""

    task: Literal["rec"] = "rec"
    start: str = "ppocrv6_small_rec"
    """A released model's name, the folder of an inference model or of a checkpoint, or
    `crnn_mobile` / `crnn_resnet`: a network trained from scratch."""
    charset: Literal["fail", "union", "new"] = "fail"
    """Where the dataset has another character set than the start model: fail says so, union
    allows more characters, new any change. Weights move with their characters."""
    guide: bool = False
    """Train the NRTR decoder (arXiv:1806.00926) along, which also teaches the features; it is not
    exported."""
    image: RecImageSpec | None = None
    """Changes to the start model's input rule, also for the exported model."""
    augment: RecAugmentConfig = RecAugmentConfig()
    best_by: Literal["exact", "exact_normalised", "ned", "ned_normalised"] = "exact"
    """The metric that chooses the best checkpoint."""


class DBLossConfig(Config):
    """Loss of a DB detector (arXiv:1911.08947, section 3.5)."""

    prob_weight: NonNegativeFloat = 5.0
    """Of the probability map."""
    threshold_weight: NonNegativeFloat = 10.0
    """Of the threshold map."""
    binary_weight: NonNegativeFloat = 1.0
    """Of the approximate binary map."""
    focal: bool | None = None
    """Focal loss (arXiv:1708.02002) beside the Dice loss. null: as the family was trained, with it
    for ppocrv6."""
    auxiliary_weights: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = (0.4, 0.3, 0.2)
    """Of the auxiliary heads, from the finest level on."""


class DetTrainConfig(TrainConfig):
    """Fine-tune a DB detector."""

    task: Literal["det"]
    start: str = "ppocrv6_small_det"
    """A released model's name, the folder of an inference model or of a checkpoint."""
    batch: PositiveInt = 8
    """Pages that go through the network at a time."""
    auxiliary: bool = False
    """Train heads on three levels of the neck along, as PP-OCRv6 was; they are not exported."""
    augment: DetAugmentConfig = DetAugmentConfig()
    target: DBTargetConfig = DBTargetConfig(shrink_start=0.6, shrink_end=0.6)
    """The released detectors ended at a shrink ratio of 0.6: their training goes on from there. One
    from scratch starts at 0.4."""
    loss: DBLossConfig = DBLossConfig()
    best_by: Literal["hmean", "precision", "recall"] = "hmean"
    """The metric that chooses the best checkpoint."""


def task(values: Any) -> str:
    """Which config of :data:`AnyTrainConfig` is meant."""
    return str(values.get("task", "rec") if isinstance(values, dict) else values.task)


AnyTrainConfig = Annotated[
    Annotated[RecTrainConfig, Tag("rec")] | Annotated[DetTrainConfig, Tag("det")],
    Discriminator(task),
]
"""What ``scripts/train.py`` reads: ``task`` says which; without it a recognizer is trained."""
