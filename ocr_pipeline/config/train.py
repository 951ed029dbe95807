"""Stage 2."""

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ocr_pipeline.config.base import Config
from ocr_pipeline.config.image import RecImageSpec
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.model import Form
from ocr_pipeline.config.rec_augment import RecAugmentConfig


class OptimConfig(Config):
    """Adam (0.9, 0.999) with linear warm-up, then a cosine to zero."""

    lr: PositiveFloat = 1e-4
    """Peak learning rate."""
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


class RecTrainConfig(Config):
    """Fine-tune a CTC recognizer."""

    task: Literal["rec"] = "rec"
    dataset: Path
    """Folder made by ``scripts/prepare.py``."""
    run_dir: Path
    """Folder of the run: gets ``step-NNNNNN/`` checkpoints and ``metrics.jsonl``."""
    start: str = "ppocrv6_small_rec"
    """A released model's name, the folder of an inference model or of a checkpoint, or
    `crnn_mobile` / `crnn_resnet`: a network trained from scratch."""
    charset: Literal["fail", "union", "new"] = "fail"
    """Where the dataset has another character set than the start model: fail says so, union
    allows more characters, new any change. Weights move with their characters."""
    form: Form | None = None
    """calibrated: one convolution and normalisation a unit. multi_branch: all branches of the
    released training, slower. null: as the start model has it."""
    guide: bool = False
    """Train the NRTR decoder (arXiv:1806.00926) along, which also teaches the features; it is not
    exported."""
    image: RecImageSpec | None = None
    """Changes to the start model's input rule, also for the exported model."""
    steps: PositiveInt = 300
    """Optimiser steps."""
    batch: PositiveInt = 16
    """Lines per step."""
    optim: OptimConfig = OptimConfig()
    amp: AmpConfig = AmpConfig()
    augment: RecAugmentConfig = RecAugmentConfig()
    calibration_batches: PositiveInt = 4
    """Batches that give folded normalisations their statistics before the first step."""
    eval_every: PositiveInt = 100
    """Steps between evaluations; the end is always evaluated, and so is step 0."""
    log_every: PositiveInt = 10
    """Steps between lines in ``metrics.jsonl``."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU where this Paddle finds one."""
    loader: LoaderConfig = LoaderConfig()
    seed: NonNegativeInt = 0
    """Order of samples, augmentation, dropout."""
