"""Make the report of a run that has ended, from what it left on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocr_pipeline.artifacts.checkpoint import Checkpoint, step_folder, step_folders
from ocr_pipeline.artifacts.dataset import CARD_NAME, Dataset
from ocr_pipeline.artifacts.run_log import LOG_NAME
from ocr_pipeline.assets import sha256_of
from ocr_pipeline.errors import DataError
from ocr_pipeline.evaluation.lines import evaluate_lines
from ocr_pipeline.evaluation.regions import evaluate_regions
from ocr_pipeline.evaluation.report_parts import RunFacts
from ocr_pipeline.evaluation.run_report import read_log, write_line_report, write_region_report
from ocr_pipeline.evaluation.sources import load_any_detector, load_any_recognizer
from ocr_pipeline.weights.fresh import FRESH_NAMES

_SHOWN_SETTINGS = ("steps", "batch", "accumulate", "average", "form", "seed")


def report_run(run_dir: Path, *, before: str | None = None, dataset: Path | None = None) -> Path:
    """Evaluate step 0 and the best checkpoint on the validation part; write the report.

    Args:
        run_dir: folder of a run; gets ``report.html`` and ``report.json``.
        before: a model as :func:`~ocr_pipeline.weights.source.load_trainable` takes it, to stand
            in the place of step 0; None: the run's step 0, or its start model where that was not
            kept. A network trained from scratch has neither: then there is nothing to compare.
        dataset: folder; None: the one that the run was trained on.

    Returns:
        Path of the page.

    Raises:
        ArtifactError: no complete checkpoint in ``run_dir``, or no complete dataset.
        DataError: its validation part is empty, or the report cannot be written.
        WeightsError: ``before`` is no model.
    """
    best = Checkpoint.load(run_dir)
    place = dataset or Path(str(best.card.config.get("dataset", "")))
    data = Dataset.load(place)
    if not data.manifest.counts.get("val"):
        raise DataError(
            f"{place}: its validation part is empty; prepare it with one, or name another"
        )
    first, name = _before(run_dir, best, before)
    run = RunFacts(
        name=f"Training run: {run_dir.name}",
        before=name,
        after=f"best, step {best.card.step}",
        best_step=best.card.step,
        facts=run_facts(best, place),
        chosen_here=_is_same(best, place),
    )
    log = read_log(run_dir / LOG_NAME)
    read = data.pictures("val").read
    sources = data.manifest.sources
    if data.manifest.task == "rec":
        lines = data.lines("val")
        return write_line_report(
            run_dir,
            run=run,
            log=log,
            before=None
            if first is None
            else evaluate_lines(load_any_recognizer(first), lines, read),
            after=evaluate_lines(load_any_recognizer(str(best.folder)), lines, read),
            sources=sources,
            read=read,
        )
    pages = data.pages("val")
    return write_region_report(
        run_dir,
        run=run,
        log=log,
        before=None if first is None else evaluate_regions(load_any_detector(first), pages, read),
        after=evaluate_regions(load_any_detector(str(best.folder)), pages, read),
        sources=sources,
        read=read,
    )


def run_facts(checkpoint: Checkpoint, dataset: Path) -> dict[str, str]:
    """What the page says of how the run was made.

    Args:
        checkpoint: of the run.
        dataset: that is evaluated.
    """
    card, config = checkpoint.card, checkpoint.card.config
    found = {"start model": card.started_from, "dataset": str(dataset)}
    if not _is_same(checkpoint, dataset):
        found["note"] = "the dataset is not the one that the run was trained on"
    found |= {name: str(config[name]) for name in _SHOWN_SETTINGS if config.get(name) is not None}
    optim = config.get("optim")
    if isinstance(optim, Mapping) and "lr" in optim:
        found["peak learning rate"] = f"{optim['lr']:g}"
    if checkpoint.card.main_metric:
        found["best checkpoint by"] = card.main_metric
    return found | {name: str(version) for name, version in card.made_by.items()}


def _is_same(checkpoint: Checkpoint, dataset: Path) -> bool:
    """Whether a run was trained, and its checkpoint chosen, on this dataset."""
    return checkpoint.card.dataset in (None, sha256_of(dataset / CARD_NAME))


def _before(run_dir: Path, best: Checkpoint, wanted: str | None) -> tuple[str | None, str]:
    """The model before, and what it is called."""
    if wanted is not None:
        return wanted, Path(wanted).name or wanted
    kept = step_folder(run_dir, 0)
    if kept in step_folders(run_dir):
        return str(kept), "step 0"
    start: Any = best.card.config.get("start")
    if start is None or start in FRESH_NAMES:
        return None, "before"
    return str(start), f"start model {Path(str(start)).name}"
