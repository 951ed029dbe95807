"""Read cut-out text lines."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.inference.engine import Engine
from ocr_pipeline.ops.charset import Charset
from ocr_pipeline.ops.ctc import TextLine, decode_greedy
from ocr_pipeline.ops.decode import BGRImage
from ocr_pipeline.ops.resize import rec_input


class Recognizer:
    """An engine with the rules of a CTC recognizer around it.

    Args:
        engine: of the exported network.
        spec: input rules.
        charset: classes of the network.
        batch: lines of one width that are run together, at most.
    """

    def __init__(self, engine: Engine, spec: RecModelSpec, charset: Charset, *, batch: int) -> None:
        self.engine = engine
        self.spec = spec
        self.charset = charset
        self.batch = batch

    def recognize(self, lines: Sequence[BGRImage]) -> Sequence[TextLine]:
        """Read lines, each ``[h, w, 3]`` uint8 BGR; one result per line, in order.

        Lines are batched with others of the same bucket only, so what is read on one does not
        depend on the rest.
        """
        inputs = [rec_input(line, self.spec.image) for line in lines]
        buckets: dict[int, list[int]] = defaultdict(list)
        for index, array in enumerate(inputs):
            buckets[array.shape[2]].append(index)
        results: dict[int, TextLine] = {}
        for indices in buckets.values():
            for start in range(0, len(indices), self.batch):
                chunk = indices[start : start + self.batch]
                probs = self.engine.run(np.stack([inputs[index] for index in chunk]))
                results.update(zip(chunk, decode_greedy(probs, self.charset), strict=True))
        return [results[index] for index in range(len(lines))]
