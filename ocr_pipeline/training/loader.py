"""Batches from worker processes: the same ones for any number of workers, from any step on.

Nothing goes wrong in silence here: a sample that cannot be read stops the run by its name, and so
does a worker that died or hangs.
"""

import atexit
import mmap
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from paddle import Tensor
from paddle.io import DataLoader, Dataset, get_worker_info

from ocr_pipeline.artifacts.dataset import Dataset as PreparedDataset
from ocr_pipeline.artifacts.dataset import Split
from ocr_pipeline.artifacts.packs import own_shards
from ocr_pipeline.config.loader import LoaderConfig
from ocr_pipeline.errors import DataError, OcrPipelineError, TrainingError
from ocr_pipeline.processes import end_with_parent, signals_held_back
from ocr_pipeline.training.batch_plan import BatchPlan, Planned

Arrays = tuple[NDArray[Any], ...]
_PREFETCHED = 2
"""Batches that Paddle's loader prepares ahead, per worker."""
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Paddle's workers put their batches)
_WATCH_EVERY_S = 1.0
_END_TIMEOUT_S = 5
_NO_FAULT, _DATA_FAULT, _CODE_FAULT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to be made: everything that its chance follows from.

    Attributes:
        index: of the sample in the plan.
        place: in the batches of all processes at this step; a sample may be drawn twice in a step
            where its weight is above 1, and is then changed in two ways.
        bucket, size, epoch: see :class:`~ocr_pipeline.training.batch_plan.Planned`.
        step: of the training.
    """

    index: int
    place: int
    bucket: int
    size: int
    epoch: int
    step: int


class Items(Protocol):
    """Makes batches; runs in the workers, so it holds no tensor."""

    def batch(self, draws: Sequence[Draw], begin: Callable[[int], None]) -> Arrays:
        """Read and change the samples of one batch.

        Args:
            draws: one a sample.
            begin: is told the number of each sample, as ``where`` takes it, before it is read.
        """
        ...

    def where(self, index: int) -> str:
        """Path of the picture of a sample of the dataset, for messages."""
        ...


class Loader:
    """Endless batches of tensors.

    Args:
        items: makes batches.
        plan: which samples are in which batch.
        workers: processes; 0: this one.
        batch_bytes: about how large one batch is, for the check of shared memory.
        sample_timeout_s: a worker that is at one sample for longer hangs, s.

    Raises:
        TrainingError: the shared memory is too small for so many workers.
    """

    def __init__(
        self,
        items: Items,
        plan: BatchPlan,
        *,
        workers: int,
        batch_bytes: int,
        sample_timeout_s: float,
    ) -> None:
        self._items = items
        self.plan = plan
        self._workers = workers
        self._sample_timeout_s = sample_timeout_s
        if workers:
            check_shared_memory(workers, batch_bytes)

    def from_step(self, step: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of step ``step``, ``step + 1``, ... for ever.

        Raises:
            DataError: a sample cannot be made (named).
            TrainingError: a worker died or hangs (its sample named).
        """
        board = _Board(max(1, self._workers))
        loader = DataLoader(
            _Batches(self._items, board),
            batch_sampler=_Draws(self.plan, step),
            collate_fn=_only,
            num_workers=self._workers,
            return_list=True,
            use_buffer_reader=False,
            worker_init_fn=_prepare_worker,
        )
        with ExitStack() as ended:
            with signals_held_back():
                batches, children = _start(loader)
                ended.callback(_end, batches, children)
                # Python itself would end them with SIGTERM, which they ignore, and wait for ever.
                at_exit = atexit.register(partial(_kill, children))
                ended.callback(atexit.unregister, at_exit)
            yield from self._batches(batches, board, [c.pid for c in children if c.pid])

    def _batches(
        self, batches: Iterator[list[Tensor]], board: "_Board", pids: Collection[int]
    ) -> Iterator[tuple[Tensor, ...]]:
        with _Watch(board, self._items, self._sample_timeout_s, pids) as watch:
            while True:
                try:
                    *tensors, fault = next(batches)
                except (RuntimeError, SystemError, StopIteration) as error:
                    # What Paddle raises when one of its workers is gone.
                    raise TrainingError(watch.verdict(str(error))) from None
                kind, text = _told(fault.numpy())
                if kind == _DATA_FAULT:
                    raise DataError(text)
                if kind == _CODE_FAULT:
                    raise TrainingError(text)
                yield tuple(tensors)


def own_samples(
    dataset: PreparedDataset, split: Split, config: LoaderConfig, *, rank: int, world: int
) -> NDArray[np.int32] | None:
    """Numbers of the samples in this process's shards; None: it reads from all of them.

    Raises:
        TrainingError: the dataset is not packed, or has fewer shards than there are processes.
    """
    if not config.own_shards or world == 1:
        return None
    shards = dataset.manifest.packs.get(split, [])
    if len(shards) < world:
        raise TrainingError(
            f"{dataset.folder}: {len(shards)} shards of {split} for {world} processes; prepare it "
            "with pack.enabled=true and a smaller pack.shard_mb, or set own_shards=false"
        )
    mine = own_shards(shards, rank, world)
    column = dataset.samples(split).column("shard")
    return np.flatnonzero(np.isin(column, mine)).astype(np.int32)


def weights_of(
    dataset: PreparedDataset, sources: NDArray[np.integer], own: NDArray[np.int32] | None
) -> NDArray[np.float64] | None:
    """How often each sample is shown in an epoch, by its source; None: all once."""
    weights = np.array([source.weight for source in dataset.manifest.sources])
    if np.all(weights == 1.0):
        return None
    return np.asarray(weights[sources if own is None else sources[own]])


class Partners:
    """Draws samples to join or to cut from, as often as their sources' weights say.

    Args:
        count: samples to draw from.
        weights: ``[count]``; None: all alike.
    """

    def __init__(self, count: int, weights: NDArray[np.float64] | None) -> None:
        self._count = count
        self._sums = None if weights is None else np.cumsum(weights)

    def draw(self, random: np.random.Generator) -> int:
        """Index of one sample."""
        if self._sums is None:
            return int(random.integers(self._count))
        return int(np.searchsorted(self._sums, random.random() * self._sums[-1], side="right"))


def check_shared_memory(
    workers: int, batch_bytes: int, *, free: int | None = None, path: Path = _SHARED_MEMORY
) -> None:
    """Say before the training that its workers would run out of shared memory.

    Args:
        workers: processes, each of which keeps some batches ready.
        batch_bytes: size of one.
        free: bytes to be had; None: look.
        path: where shared memory is mounted; nothing is checked where there is none.

    Raises:
        TrainingError: too small, with both figures.
    """
    if free is None:
        if not path.is_dir():
            return
        free = shutil.disk_usage(path).free
    needed = batch_bytes * (workers * _PREFETCHED + 1)
    if needed > free:
        raise TrainingError(
            f"{path} has {free / 1e6:,.0f} MB free, and {workers} workers need about "
            f"{needed / 1e6:,.0f} MB there; give the container more (docker run --shm-size="
            f"{2 * needed / 1e9:.0f}g), or set workers=0 or a smaller batch"
        )


class _Draws:
    """The batches of a plan; what Paddle calls a batch sampler. A batch is one item to it."""

    def __init__(self, plan: BatchPlan, step: int) -> None:
        self._plan = plan
        self._step = step

    def __iter__(self) -> Iterator[list[list[Draw]]]:
        for step, planned in enumerate(self._plan.from_step(self._step), start=self._step):
            yield [_draws(planned, step, self._plan)]


def _draws(planned: Planned, step: int, plan: BatchPlan) -> list[Draw]:
    return [
        Draw(index, plan.place(row), planned.bucket, planned.size, planned.epoch, step)
        for row, index in enumerate(planned.indices.tolist())
    ]


class _Batches(Dataset):
    """What Paddle's loader asks for batches.

    The last array of a batch tells of a fault; with one there are no other arrays. So a fault ends
    the run with its own words: of an error in a worker Paddle passes on next to nothing.
    """

    def __init__(self, items: Items, board: "_Board") -> None:
        super().__init__()
        self._items = items
        self._board = board

    def __getitem__(self, draws: list[Draw]) -> Arrays:
        worker = get_worker_info()
        number = 0 if worker is None else worker.id
        with self._board.row(number) as begin:
            try:
                arrays = self._items.batch(draws, begin)
            except OcrPipelineError as error:
                return (_tell(_DATA_FAULT, str(error)),)
            except Exception:  # noqa: BLE001  (raised again by the process that trains, whole)
                where = self._items.where(int(self._board.rows[number]["index"]))
                return (_tell(_CODE_FAULT, f"at {where}:\n{traceback.format_exc()}"),)
        return (*arrays, _tell(_NO_FAULT, ""))


def _tell(kind: int, text: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes([kind]) + text.encode(), dtype=np.uint8)


def _told(array: NDArray[np.uint8]) -> tuple[int, str]:
    return int(array[0]), array[1:].tobytes().decode()


def _only(items: Sequence[Arrays]) -> Arrays:
    return items[0]


class _Board:
    """In memory that all workers share: which sample each one is at, and since when."""

    _ROW = np.dtype([("pid", "<i8"), ("index", "<i8"), ("since", "<f8")])

    def __init__(self, workers: int) -> None:
        memory = mmap.mmap(-1, workers * self._ROW.itemsize)
        self.rows = np.frombuffer(memory, dtype=self._ROW)

    @contextmanager
    def row(self, worker: int) -> Iterator[Callable[[int], None]]:
        """Give what notes the sample that this worker begins; when the block ends, it rests."""

        def begin(index: int) -> None:
            self.rows[worker] = (os.getpid(), index, time.monotonic())

        yield begin
        self.rows[worker]["since"] = 0.0


class _Watch:
    """A thread that ends workers which are at one sample for too long.

    Args:
        board: what the workers are at.
        items: names samples.
        timeout_s: longest time for one sample.
        pids: of the workers; none: nobody is watched.
    """

    def __init__(
        self, board: _Board, items: Items, timeout_s: float, pids: Collection[int]
    ) -> None:
        self._board = board
        self._items = items
        self._timeout_s = timeout_s
        self._pids = pids
        self._started = time.monotonic()
        self._hung: str | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._pids:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        pause = min(_WATCH_EVERY_S, self._timeout_s / 4)
        last = time.monotonic()
        while not self._done.wait(pause):
            now, before = time.monotonic(), last
            last = now
            if now - before > 3 * pause:
                # This process stood still, and so did the workers: their clocks start again.
                self._started = now
                for row in self._board.rows:
                    row["since"] = now if row["since"] else 0.0
                continue
            late = self._late(now)
            if late is not None:
                pid, self._hung = late
                os.kill(pid, signal.SIGKILL)
                return

    def _late(self, now: float) -> tuple[int, str] | None:
        """A worker that hangs, and what to say of it."""
        for row in self._board.rows:
            pid = int(row["pid"])
            if row["since"] and now - row["since"] > self._timeout_s and _alive(pid):
                return pid, (
                    f"worker {pid} has been at {self._items.where(int(row['index']))} for more "
                    f"than {self._timeout_s:g} s and was ended; look at this picture and at the "
                    "storage it comes from, or raise sample_timeout_s"
                )
        if now - self._started > self._timeout_s:
            for pid in self._pids:
                if pid not in self._board.rows["pid"] and _alive(pid):
                    return pid, (
                        f"worker {pid} did not begin within {self._timeout_s:g} s and was ended; "
                        "set workers=0, or raise sample_timeout_s"
                    )
        return None

    def verdict(self, said: str) -> str:
        """What went wrong, for a person; ``said`` is Paddle's own word."""
        if self._hung is not None:
            return self._hung
        for row in self._board.rows:
            if row["pid"] and row["pid"] != os.getpid() and not _alive(int(row["pid"])):
                what = self._items.where(int(row["index"]))
                state = "at" if row["since"] else "after"
                return (
                    f"worker {row['pid']} died {state} {what}; it was killed (memory?) or crashed: "
                    "see the system's log, try this picture alone, or set workers=0"
                )
        return f"the workers stopped: {said}; set workers=0 to see why"


def _alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] not in ("Z", "X")


def _start(loader: DataLoader) -> tuple[Iterator[list[Tensor]], list[BaseProcess]]:
    """Start a loader's workers; return its batches and the workers.

    They are forked, and a thread pool of OpenCV does not outlive a fork: the first call that uses
    it would wait for ever. So there is none while they start; they share the cores anyway.
    Paddle's handler of ended children raises in the midst of whatever the main thread does; it is
    taken away, since the loader's own thread finds out too and then says so where it is awaited.
    """
    threads = cv2.getNumThreads()
    before = multiprocessing.active_children()
    handler = signal.getsignal(signal.SIGCHLD)
    cv2.setNumThreads(1)
    try:
        batches = iter(loader)
    finally:
        cv2.setNumThreads(threads)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, handler)
    return batches, [child for child in multiprocessing.active_children() if child not in before]


def _prepare_worker(_worker: int) -> None:
    """Run in each worker: it ends with the training process, and never before it by a signal.

    Ctrl-C and SIGTERM often go to all processes of a job; the training one saves and then ends its
    workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()


def _end(batches: Iterator[list[Tensor]], children: Sequence[BaseProcess]) -> None:
    """End the workers and take back what they hold.

    Paddle ends them when its iterator is deleted, but a thread of its own holds that; so the method
    that it would call is called here. The thread finds out within five seconds.
    """
    _kill(children)  # they hold nothing, and might be at a sample for long
    shut_down = getattr(batches, "_try_shutdown_all", None)
    if shut_down is not None:
        shut_down(*((_END_TIMEOUT_S,) if children else ()))
    for child in children:
        for path in _SHARED_MEMORY.glob(f"paddle_{child.pid}_*"):
            path.unlink(missing_ok=True)


def _kill(children: Sequence[BaseProcess]) -> None:
    for child in children:
        child.kill()
        child.join()
