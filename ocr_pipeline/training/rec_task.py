"""Recognition: CTC loss (Graves et al., ICML 2006), evaluation, and what a run consists of."""

from collections.abc import Callable, Collection, Sequence

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ocr_pipeline.artifacts.dataset import RecSample
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.evaluation.lines import read_lines, score_read
from ocr_pipeline.inference.recognizer import Recognizer
from ocr_pipeline.models.engine import NetworkEngine
from ocr_pipeline.ops.charset import BLANK, Charset
from ocr_pipeline.ops.ctc import TextLine
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.nrtr_tokens import encode_tokens
from ocr_pipeline.training.batches import split_batch
from ocr_pipeline.training.distributed import ALONE, Ranks
from ocr_pipeline.training.nrtr_loss import nrtr_loss
from ocr_pipeline.training.rec_loader import RecBatch
from ocr_pipeline.weights.trainable import TrainableModel


class RecTask:
    """CTC on one network; see :class:`~ocr_pipeline.training.stepper.Task`.

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
        self._ranks.expect(int(batch.images.shape[0]), batch.share)
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

    def split(self, batch: RecBatch, pieces: int) -> Sequence[RecBatch]:
        """See :func:`~ocr_pipeline.training.batches.split_batch`."""
        return split_batch(batch, pieces)

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
