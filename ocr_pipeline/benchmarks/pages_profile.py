"""Where the milliseconds of a page go on our side.

A page is read three times: timed step by step; with the networks' inputs kept; and then the
networks alone on those inputs, as many at once as they have lanes. What the whole page takes above
the last is what reading costs around the networks.

The reader knows nothing of this: its functions and engines are wrapped while a page is profiled.
"""

import importlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_pipeline.benchmarks.reading import Found
from ocr_pipeline.errors import ConfigError
from ocr_pipeline.inference.engine import Engine, LogitEngine, compute

DET_NETWORK, REC_NETWORK = "det network", "rec network"


class _Step(NamedTuple):
    """A function of the reader, by where it is called from."""

    name: str
    module: str
    function: str


_INFERENCE = "ocr_pipeline.inference"
STEPS = (
    _Step("decode", f"{_INFERENCE}.reader", "_pixels"),
    _Step("resize and normalise", f"{_INFERENCE}.detector", "scale_page"),
    _Step("resize and normalise", f"{_INFERENCE}.detector", "written_window"),
    _Step("resize and normalise", f"{_INFERENCE}.detector", "normalised_page"),
    _Step("DB decode", f"{_INFERENCE}.detector", "decode_polygons"),
    _Step("crop", f"{_INFERENCE}.reader", "crop_line"),
    _Step("rec preparation", f"{_INFERENCE}.recognizer", "rec_input"),
    _Step("CTC decode", f"{_INFERENCE}.recognizer", "best_of_logits"),
    _Step("CTC decode", f"{_INFERENCE}.recognizer", "best_of_probs"),
    _Step("CTC decode", f"{_INFERENCE}.recognizer", "decode_best"),
    _Step("ordering", f"{_INFERENCE}.reader", "_page_lines"),
)
NAMES = (
    "decode",
    "resize and normalise",
    DET_NETWORK,
    "DB decode",
    "crop",
    "rec preparation",
    REC_NETWORK,
    "CTC decode",
    "ordering",
)
"""All steps, in the order of a page."""


class Stopwatch:
    """Seconds by name, summed over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add what the block takes, less what is timed inside it."""
        outer: float = getattr(self._mine, "inside", 0.0)
        self._mine.inside = 0.0
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            with self._lock:
                self.seconds[name] += taken - self._mine.inside
            self._mine.inside = outer + taken


Call = Callable[[], Any]
Around = Callable[[NDArray[np.float32], Call], Any]
"""Does something around a call of an engine on these images, and returns its result."""


class _Around:
    """An engine with something done around each run."""

    def __init__(self, engine: Engine, around: Around) -> None:
        self._engine = engine
        self._around = around

    @property
    def lanes(self) -> int:
        """As the engine's."""
        return self._engine.lanes

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the engine's."""
        result: NDArray[np.float32] = self._around(images, lambda: self._engine.run(images))
        return result


class _AroundLogits(_Around):
    """The same of an engine that can leave the softmax out."""

    def with_logits(
        self, images: NDArray[np.float32], use: Callable[[NDArray[np.float32]], Any]
    ) -> Any:
        """As the engine's."""
        engine = self._engine
        assert isinstance(engine, LogitEngine)  # noqa: S101  (it was chosen for that)
        return self._around(images, lambda: engine.with_logits(images, use))


def profile_page(reader: Any, path: str) -> dict[str, Any]:
    """Read one picture and say where its time went.

    Args:
        reader: an :class:`~ocr_pipeline.inference.reader.OcrReader`; used by nobody else meanwhile.
        path: of the picture.

    Returns:
        ``seconds``: of the whole page; ``steps``: seconds of each step, summed over threads;
        ``networks``: seconds of both networks alone; ``lines``: what was read.

    Raises:
        ConfigError: the reader has no such function as :data:`STEPS` names.
    """
    watch = Stopwatch()
    with _timed_functions(watch), _timed_engines(reader, watch):
        started = time.perf_counter()
        page = reader.read(path)
        seconds = time.perf_counter() - started
    inputs = _inputs(reader, path)
    alone = 0.0
    for name, part in (("det", reader.detector), ("rec", reader.recognizer)):
        with ThreadPoolExecutor(part.engine.lanes) as lanes:
            started = time.perf_counter()
            list(lanes.map(partial(compute, part.engine), inputs[name]))
            alone += time.perf_counter() - started
    lines = [Found(line.points.tolist(), line.text) for line in page.lines]
    return {
        "seconds": seconds,
        "steps": {name: watch.seconds.get(name, 0.0) for name in NAMES},
        "networks": alone,
        "runs": {name: len(arrays) for name, arrays in inputs.items()},
        "lines": lines,
    }


@contextmanager
def _timed_functions(watch: Stopwatch) -> Iterator[None]:
    before: list[tuple[Any, str, Callable[..., Any]]] = []
    try:
        for step in STEPS:
            module = importlib.import_module(step.module)
            function = getattr(module, step.function, None)
            if function is None:
                raise ConfigError(
                    f"the profile times {step.module}.{step.function}, which is not there; mend "
                    f"the list in {__name__}"
                )
            before.append((module, step.function, function))
            setattr(module, step.function, _timed(watch, step.name, function))
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


def _timed(watch: Stopwatch, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **named: Any) -> Any:
        with watch.time(name):
            return function(*args, **named)

    return timed


@contextmanager
def _engines(reader: Any, det: Around, rec: Around) -> Iterator[None]:
    """Run the networks through these two instead."""
    parts = ((reader.detector, det), (reader.recognizer, rec))
    before = [part.engine for part, _ in parts]
    try:
        for part, around in parts:
            # A detector asks for nothing but probabilities.
            logits = part is reader.recognizer and isinstance(part.engine, LogitEngine)
            part.engine = (_AroundLogits if logits else _Around)(part.engine, around)
        yield
    finally:
        for (part, _), engine in zip(parts, before, strict=True):
            part.engine = engine


@contextmanager
def _timed_engines(reader: Any, watch: Stopwatch) -> Iterator[None]:
    def timed(name: str) -> Around:
        def around(_images: NDArray[np.float32], call: Call) -> Any:
            with watch.time(name):
                return call()

        return around

    with _engines(reader, timed(DET_NETWORK), timed(REC_NETWORK)):
        yield


def _inputs(reader: Any, path: str) -> dict[str, list[NDArray[np.float32]]]:
    """What both networks are fed with on one page; copies, since the reader may use one twice."""
    kept: dict[str, list[NDArray[np.float32]]] = {"det": [], "rec": []}

    def keeping(name: str) -> Around:
        def around(images: NDArray[np.float32], call: Call) -> Any:
            kept[name].append(np.array(images))
            return call()

        return around

    with _engines(reader, keeping("det"), keeping("rec")):
        reader.read(path)
    return kept
