"""Twenty steps from each released recognizer, on lines that stock models read badly."""

import itertools
from pathlib import Path

import paddle
import pytest

from ocr_pipeline.artifacts.dataset import Dataset
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.config.train import OptimConfig, RecTrainConfig
from ocr_pipeline.errors import AssetError
from ocr_pipeline.fonts import find_font
from ocr_pipeline.models.layers import named_units
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.preprocess.render import render_set
from ocr_pipeline.training import train_recognizer
from ocr_pipeline.training.optimizer import build_optimizer, learning_rate
from ocr_pipeline.training.rec_loader import RecLoader
from ocr_pipeline.training.rec_task import RecTask
from ocr_pipeline.weights.catalog import RELEASES
from ocr_pipeline.weights.released import load_released
from ocr_pipeline.weights.source import recognizer_rules
from tests.conftest import Silent

STEPS, BATCH, LR = 20, 16, 1e-4
COLLAPSED_AFTER = 10
RECOGNIZERS = [name for name, release in RELEASES.items() if release.spec.task == "rec"]


class Metrics(Silent):
    def __init__(self) -> None:
        self.seen: dict[int, dict[str, float]] = {}

    def evaluated(self, step: int, metrics: object) -> None:
        assert isinstance(metrics, dict)
        self.seen[step] = metrics


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    try:
        font = find_font(may_fetch=True)
    except AssetError as error:
        pytest.skip(str(error))
    config = RenderConfig(out=folder / "set", train_lines=200, val_lines=80, seed=11)
    return render_set(config, font, lambda _done, _total: None)


def dataset(lines: Path, out: Path, model: str) -> Dataset:
    config = PrepareConfig(
        out=out,
        images=lines,
        train_labels=[lines / "train.txt"],
        val_labels=[lines / "val.txt"],
        model=model,
    )
    charset, image = recognizer_rules(model)
    return prepare(config, charset, image=image)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        RECOGNIZERS[0],
        *(pytest.param(name, marks=pytest.mark.long) for name in RECOGNIZERS[1:]),
    ],
)
def test_twenty_steps_improve_every_released_recognizer(
    name: str, lines: Path, tmp_path: Path
) -> None:
    made = dataset(lines, tmp_path / "set", name)
    metrics = Metrics()
    config = RecTrainConfig(
        dataset=made.folder,
        run_dir=tmp_path / "run",
        start=name,
        steps=STEPS,
        batch=BATCH,
        optim=OptimConfig(lr=LR, warmup_steps=2),
        eval_every=STEPS,
    )
    train_recognizer(config, metrics)
    before, after = metrics.seen[0], metrics.seen[STEPS]
    print(
        f"{name}: exact {before['exact']:.1f} -> {after['exact']:.1f} %, "
        f"CER {before['cer']:.1f} -> {after['cer']:.1f} %"
    )
    assert after["exact"] > before["exact"]
    assert after["cer"] < before["cer"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_folded_weights_with_leftover_normalisations_collapse(lines: Path, tmp_path: Path) -> None:
    """Why training starts from calibrated normalisations.

    Here all units that the released file has folded stay folded, and the few normalisations that it
    still holds are trained as usual: the statistics of a batch then replace those that the folded
    weights were made for.
    """
    name = "ppocrv6_tiny_rec"
    made = dataset(lines, tmp_path / "set", name)
    model = load_released(name)
    for unit_name, unit in named_units(model.network):
        if not unit_name.startswith(("backbone.stem", "neck")):  # which the file has not folded
            unit.fold()
    spec = model.spec
    config = LoaderConfig()
    batches = RecLoader(made, image=spec.image, augment=None, batch=BATCH, seed=0, config=config)
    read = made.pictures("val").read
    task = RecTask(model, spec, made.characters(), made.lines("val"), read, batch=BATCH)
    before = task.evaluate()
    optim = OptimConfig(lr=LR, warmup_steps=2)
    optimizer = build_optimizer(model.network, optim)
    model.network.train()
    for step, batch in enumerate(itertools.islice(batches.from_step(0), COLLAPSED_AFTER)):
        optimizer.set_lr(learning_rate(step, steps=STEPS, config=optim))
        paddle.seed(step)
        task.loss(batch)["total"].backward()
        optimizer.step()
        optimizer.clear_grad()
    after = task.evaluate()
    print(
        f"folded: exact {before['exact']:.1f} -> {after['exact']:.1f} %, "
        f"CER {before['cer']:.1f} -> {after['cer']:.1f} %"
    )
    assert after["cer"] > before["cer"]
