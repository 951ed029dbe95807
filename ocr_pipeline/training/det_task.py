"""Detection: DB loss, evaluation by the ICDAR 2015 protocol, and what a run consists of."""

from collections.abc import Callable, Sequence

from paddle import Tensor

from ocr_pipeline.artifacts.dataset import DetSample
from ocr_pipeline.config.model import DetModelSpec
from ocr_pipeline.config.train import DBLossConfig
from ocr_pipeline.evaluation.regions import evaluate_regions, region_figures
from ocr_pipeline.inference.detector import Detector
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.det_metrics import RegionScore, total
from ocr_pipeline.training.batches import split_batch
from ocr_pipeline.training.db_loss import db_loss
from ocr_pipeline.training.det_loader import DetBatch
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.weights.trainable import TrainableModel


class DetTask:
    """DB loss on one network; see :class:`~ocr_pipeline.training.stepper.Task`."""

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

    def split(self, batch: DetBatch, pieces: int) -> Sequence[DetBatch]:
        """See :func:`~ocr_pipeline.training.batches.split_batch`."""
        return split_batch(batch, pieces)

    def evaluate(self) -> dict[str, float]:
        """Precision, recall and hmean, percent; each process looks at its part, all count all."""

        def look_at(numbers: Sequence[int]) -> Sequence[RegionScore]:
            part = [self._val[number] for number in numbers]
            return evaluate_regions(self._detector, part, self._read).pages

        return region_figures(total(self._ranks.spread(len(self._val), look_at)))
