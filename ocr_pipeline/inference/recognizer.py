"""Read cut-out text lines."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.inference.engine import Engine, LogitEngine
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import TextLine, best_of_logits, best_of_probs, decode_best
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import rec_input, rec_width


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
        self._lanes = ThreadPoolExecutor(engine.lanes, "recognize") if engine.lanes > 1 else None

    def recognize(
        self, lines: Sequence[BGRImage], *, emissions: bool = False
    ) -> Sequence[TextLine]:
        """Read lines, each ``[h, w, 3]`` uint8 BGR; one result per line, in order.

        Lines are batched with others of the same bucket only, so what is read on one does not
        depend on the rest.

        Args:
            lines: cut out and straightened.
            emissions: say where each character was emitted, too.
        """
        buckets: dict[int, list[int]] = defaultdict(list)
        for index, line in enumerate(lines):
            buckets[rec_width(line.shape[0], line.shape[1], self.spec.image)[1]].append(index)
        chunks = []
        for width, indices in buckets.items():
            most = max(1, self.batch * self.spec.image.min_width // width)
            chunks += [(width, indices[at : at + most]) for at in range(0, len(indices), most)]
        # The dearest first: so the lanes end at about the same time.
        chunks.sort(key=lambda chunk: -chunk[0] * len(chunk[1]))

        def read(chunk: tuple[int, list[int]]) -> list[TextLine]:
            inputs = np.stack([rec_input(lines[index], self.spec.image) for index in chunk[1]])
            return decode_best(*self._best(inputs), self.charset, emissions=emissions)

        texts = self._lanes.map(read, chunks) if self._lanes else map(read, chunks)
        results: dict[int, TextLine] = {}
        for (_, indices), read_lines in zip(chunks, texts, strict=True):
            results.update(zip(indices, read_lines, strict=True))
        return [results[index] for index in range(len(lines))]

    def _best(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        if isinstance(self.engine, LogitEngine):
            return self.engine.with_logits(inputs, lambda x: best_of_logits(x, self.charset))
        return best_of_probs(self.engine.run(inputs), self.charset)

    def steps(self, line: BGRImage) -> float:
        """Time steps that a line is long in the network's output, without its padding."""
        image = self.spec.image
        return rec_width(line.shape[0], line.shape[1], image)[0] / image.time_stride
