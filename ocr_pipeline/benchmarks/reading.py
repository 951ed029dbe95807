"""What a process that reads pages says, on our side and on the others'.

It needs nothing but the standard library: the others have environments of their own.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_STATUS = Path("/proc/self/status")
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
    that to :data:`MEMORY` the most memory that the process ever held, MB.
    """

    def answer(request: str) -> dict[str, object]:
        if request == MEMORY:
            return {"peak_mb": peak_mb()}
        wall, cpu = time.perf_counter(), time.process_time()
        lines = read(request)
        return {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "lines": [[[[float(v) for v in p] for p in x.points], str(x.text)] for x in lines],
        }

    return answer


def peak_mb() -> float:
    """Largest resident set of this process so far, MB (10^6 bytes); 0 where nobody tells."""
    if not _STATUS.is_file():
        return 0.0
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
