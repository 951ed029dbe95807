"""Read cut-out text lines."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.inference.batching import Batcher
from ocr_pipeline.inference.engine import Engine, LogitEngine
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import TextLine, best_of_logits, best_of_probs, decode_best
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import rec_input, rec_width

_BestPath = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Of one line: best class of each time step, and its probability, both ``[T]``."""


class Recognizer:
    """An engine with the rules of a CTC recognizer around it.

    Args:
        engine: of the exported network; as many batches are run at once as it has lanes.
        spec: input rules.
        charset: classes of the network.
        batch: lines of the narrowest width that are run together, at most; fewer of wider ones, so
            that a batch takes no more memory.
    """

    def __init__(self, engine: Engine, spec: RecModelSpec, charset: Charset, *, batch: int) -> None:
        self.engine = engine
        self.spec = spec
        self.charset = charset
        self.batch = batch
        self._batcher: Batcher[BGRImage, _BestPath] = Batcher(
            engine.lanes, self._lines_of_width, self._best_paths
        )

    def recognize(
        self, lines: Sequence[BGRImage], *, emissions: bool = False
    ) -> Sequence[TextLine]:
        """Read lines, each ``[h, w, 3]`` uint8 BGR; one result per line, in order.

        Lines are batched with others of the same bucket only, those of other threads too, so what
        is read on one does not depend on the rest.

        Args:
            lines: cut out and straightened.
            emissions: say where each character was emitted, too.
        """
        widths = [rec_width(line.shape[0], line.shape[1], self.spec.image)[1] for line in lines]
        paths = self._batcher.compute(list(zip(widths, lines, strict=True)))
        return [
            decode_best(best[None], peak[None], self.charset, emissions=emissions)[0]
            for best, peak in paths
        ]

    def watch_batches(self, on_batch: Callable[[int, int], None]) -> None:
        """Have it told how many lines each batch has, and how many it could; in any thread."""
        self._batcher.on_batch = on_batch

    def _lines_of_width(self, width: int) -> int:
        return max(1, self.batch * self.spec.image.min_width // width)

    def _best_paths(self, lines: Sequence[BGRImage]) -> list[_BestPath]:
        inputs = np.stack([rec_input(line, self.spec.image) for line in lines])
        if isinstance(self.engine, LogitEngine):
            best, peak = self.engine.with_logits(
                inputs, lambda logits: best_of_logits(logits, self.charset)
            )
        else:
            best, peak = best_of_probs(self.engine.run(inputs), self.charset)
        return list(zip(best, peak, strict=True))

    def steps(self, line: BGRImage) -> float:
        """Time steps that a line is long in the network's output, without its padding."""
        image = self.spec.image
        return rec_width(line.shape[0], line.shape[1], image)[0] / image.time_stride
