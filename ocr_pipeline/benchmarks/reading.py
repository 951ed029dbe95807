"""What a process that reads pages says, on our side and on the others'.

It needs nothing but the standard library: the others have environments of their own.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ocr_pipeline.benchmarks.groups import memory

MEMORY = "memory"
"""What is sent in place of a picture's path to ask for the peak."""


class Found(NamedTuple):
    """One line that a side has read.

    Attributes:
        points: four corners (x, y), px of the picture, clockwise from top-left.
        text: what it says.
    """

    points: Sequence[Sequence[float]]
    text: str


Read = Callable[[str], Sequence[Found]]
"""From the path of a picture to its lines."""


def answer_with(read: Read) -> Callable[[str], dict[str, object]]:
    """Wrap a reader for :func:`~ocr_pipeline.benchmarks.interleave.serve`.

    The answer to a path has the lines, and the wall and CPU time of reading the file to its text;
    that to :data:`MEMORY` the most memory that it and the others of its group ever held, MB.
    """

    def answer(request: str) -> dict[str, object]:
        if request == MEMORY:
            return {"peak_mb": memory(os.getpgrp()).peak}
        wall, cpu = time.perf_counter(), time.process_time()
        lines = read(request)
        return {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "lines": [[[[float(v) for v in p] for p in x.points], str(x.text)] for x in lines],
        }

    return answer
