"""The check of one sample of either task."""

from collections.abc import Sequence

from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.config.check import CheckConfig
from ocr_pipeline.config.image import DetImageSpec, RecImageSpec
from ocr_pipeline.errors import DataError
from ocr_pipeline.preprocess.check_line import LineChecker
from ocr_pipeline.preprocess.check_one import Item, Notes, Outcome, PictureReader, RefusedError
from ocr_pipeline.preprocess.check_page import PageChecker
from ocr_pipeline.preprocess.check_types import Checked, Rules
from ocr_pipeline.storage import Root


class SampleChecker:
    """Checks samples; decodes a picture once for all its lines that follow one another.

    Args:
        roots: of the sources, by number.
        rules: what the training can use.
        config: policies and thresholds.
        split: part that the samples are of.

    Raises:
        DataError: rules that do not fit together.
    """

    def __init__(
        self, roots: Sequence[Root], rules: Rules, config: CheckConfig, split: Split
    ) -> None:
        self._config = config
        self._split = split
        reader = PictureReader(roots, rules.limits)
        self._line: LineChecker | None = None
        self._page: PageChecker | None = None
        if rules.task == "rec" and rules.charset and isinstance(rules.image, RecImageSpec):
            self._line = LineChecker(
                reader, rules.charset, rules.image, nrtr=rules.nrtr, config=config
            )
        elif rules.task == "det" and isinstance(rules.image, DetImageSpec):
            self._page = PageChecker(reader, rules.image, rules.target, config)
        else:
            raise DataError(
                f"task {rules.task} with {type(rules.image).__name__}: rec needs a character set "
                "and a RecImageSpec, det a DetImageSpec"
            )

    def check(self, item: Item) -> Outcome:
        """Check one sample."""
        notes = Notes(item, self._split, self._config)
        checked: Checked | None = None
        try:
            if item.early is not None:
                notes.sample(item.early)
            if self._line is not None:
                checked = self._line.check(item, notes)
            elif self._page is not None:
                checked = self._page.check(item, notes)
        except RefusedError:
            checked = None
        return Outcome(checked, tuple(notes.findings))
