"""A training loses nothing: whatever ends it, ``--resume`` goes on as if it had never stopped."""

import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from paddle import Tensor
from pydantic import TypeAdapter

from ocr_pipeline.artifacts.checkpoint import Checkpoint, clear_run, latest, step_folders
from ocr_pipeline.artifacts.run_log import LOG_NAME, RunLog
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import AnyTrainConfig, TrainConfig
from ocr_pipeline.errors import ArtifactError, TrainingInterruptedError
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.weights.source import recognizer_rules
from tests.training.doomed import Fate
from tests.training.test_fit import BatchesFrom, ToyTask
from tests.training.test_fit import config as toy_config
from tests.training.test_fit import run as toy_run

WALL_TIMES = ("seconds", "reader_seconds")
DOOMED = Path(__file__).with_name("doomed.py")


# --- Checkpoints, killed at every file operation ----------------------------------------------


@pytest.mark.parametrize("half", ["before", "half"])
def test_a_save_killed_anywhere_leaves_whole_checkpoints(
    tmp_path: Path, root: Path, half: str
) -> None:
    script, log = Path(__file__).with_name("doomed_saves.py"), tmp_path / "log"
    subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run"), half, str(log)],
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
        timeout=120,
    )
    ends = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(ends) > 15
    for before, end in itertools.pairwise(ends):
        assert end["step"] in (before["step"], before["step"] + 1)
        assert end["step"] == end["whole"][-1]
        assert end["same"]
        assert end["left"] <= 1
        assert end["names"] == [f"step-{step:06d}" for step in end["whole"]]
    # Killed while a file was written, between writing and deleting, and while deleting.
    assert {(len(end["whole"]), end["left"]) for end in ends} >= {(1, 1), (2, 0), (3, 1), (1, 0)}
    assert (ends[-1]["whole"], ends[-1]["left"]) == ([ends[-1]["step"]], 0)


# --- The record -------------------------------------------------------------------------------


def write_record(run_dir: Path) -> RunLog:
    log = RunLog(run_dir)
    for step in range(1, 5):
        log.write({"step": step, "total": 0.5})
        if step % 2 == 0:
            log.write({"step": step, "val_exact": 50.0})
    return log


@pytest.mark.parametrize("cut_off", ["", '{"step": 5, "total": 0.', '{"step": 5', "\n", '{"st\n'])
@pytest.mark.parametrize(("step", "kept"), [(None, 0), (0, 0), (1, 1), (2, 3), (3, 4), (9, 6)])
def test_a_record_is_cut_where_the_checkpoint_is(
    tmp_path: Path, cut_off: str, step: int | None, kept: int
) -> None:
    log = write_record(tmp_path)
    path = tmp_path / LOG_NAME
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + cut_off, encoding="utf-8")
    log.truncate_after(step)
    assert path.read_text(encoding="utf-8") == "".join(whole.splitlines(keepends=True)[:kept])
    log.write({"step": 9})
    assert path.read_text(encoding="utf-8").endswith('{"step": 9}\n')


def test_a_record_is_cut_before_an_evaluation_that_is_due(tmp_path: Path) -> None:
    write_record(tmp_path).truncate_after(2, evaluated=False)
    assert rows(tmp_path) == [{"step": 1, "total": 0.5}, {"step": 2, "total": 0.5}]


def test_a_record_damaged_in_its_midst_is_not_thrown_away(tmp_path: Path) -> None:
    log = write_record(tmp_path)
    path = tmp_path / LOG_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"step": 2', "", 1), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match=r"line 2 is no record of a step; correct or delete it"):
        log.truncate_after(4)
    assert path.read_bytes() == before


def test_a_record_on_a_full_disk_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = RunLog(tmp_path)
    monkeypatch.setattr(Path, "open", full)
    message = (
        r"metrics.jsonl: cannot write there \(No space left on device: .* MB free\); free space"
    )
    with pytest.raises(ArtifactError, match=f"{message} and give the same command with --resume"):
        log.write({"step": 1})


# --- The loop, on a network of four numbers ---------------------------------------------------


class StoppedWhileEvaluating(ToyTask):
    """Gets a signal in an evaluation that would last for long."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def evaluate(self) -> dict[str, float]:
        if len(self.evaluated) == self.at:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(100)
        return super().evaluate()


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_signal_during_an_evaluation_saves_at_once(
    tmp_path: Path, at: int, average: float | None
) -> None:
    toy_run(ToyTask(), toy_config(tmp_path / "whole", average=average))
    settings = toy_config(tmp_path / "parts", average=average)
    started = time.monotonic()
    with pytest.raises(TrainingInterruptedError, match=f"stopped after step {2 * at} of 8; saved"):
        toy_run(StoppedWhileEvaluating(at), settings)
    assert time.monotonic() - started < 50
    last = latest(settings.run_dir)
    assert last is not None
    assert (last.card.step, last.card.metrics) == (2 * at, {})
    assert "val_exact" not in rows(settings.run_dir)[-1]
    rest = ToyTask(seed=99)
    toy_run(rest, settings, resume=True)
    assert len(rest.evaluated) == 5 - at  # the one that is due comes first
    check_equal(settings.run_dir, tmp_path / "whole")


def test_an_evaluation_that_is_due_may_be_broken_again(tmp_path: Path) -> None:
    toy_run(ToyTask(), toy_config(tmp_path / "whole", patience=2))
    settings = toy_config(tmp_path / "parts", patience=2)
    with pytest.raises(TrainingInterruptedError, match="after step 4"):
        toy_run(StoppedWhileEvaluating(2), settings)
    for _ in range(2):
        with pytest.raises(TrainingInterruptedError, match="after step 4"):
            toy_run(StoppedWhileEvaluating(0), settings, resume=True)
    with (settings.run_dir / LOG_NAME).open("a", encoding="utf-8") as stream:
        stream.write('{"step": 4, "val_exact": 1.0}\n')  # killed before it was saved
    toy_run(ToyTask(), settings, resume=True)
    check_equal(settings.run_dir, tmp_path / "whole")


@pytest.mark.parametrize("changes", [{}, {"average": 0.9}, {"freeze": {"steps": 3, "parts": []}}])
def test_a_run_killed_before_its_first_save_goes_on_from_its_start(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    class Breaking(BatchesFrom):
        def __call__(self, step: int) -> Iterator[Tensor]:
            yield next(super().__call__(step))
            raise RuntimeError("killed")

    toy_run(ToyTask(), toy_config(tmp_path / "whole", **changes))
    settings = toy_config(tmp_path / "parts", **changes)
    with pytest.raises(RuntimeError, match="killed"):
        toy_run(ToyTask(), settings, source=Breaking([]))
    assert [folder.name for folder in step_folders(settings.run_dir)] == ["step-000000"]
    toy_run(ToyTask(seed=99), settings, resume=True)
    check_equal(settings.run_dir, tmp_path / "whole")


def test_a_run_killed_before_any_save_leaves_no_record(tmp_path: Path) -> None:
    settings = toy_config(tmp_path / "parts")
    RunLog(settings.run_dir).write({"step": 0, "val_exact": 1.0})
    toy_run(ToyTask(), settings)
    toy_run(ToyTask(), toy_config(tmp_path / "whole"))
    check_equal(settings.run_dir, tmp_path / "whole")


# --- Real runs, broken again and again --------------------------------------------------------


@dataclass
class Disk:
    """Where the broken run lives; can be full. ``size``: bytes, of a file system of its own."""

    folder: Path
    size: int | None
    ballast: Path = field(init=False)

    def __post_init__(self) -> None:
        self.ballast = self.folder / "ballast"

    def fill(self, left: int) -> None:
        """Leave so many bytes free."""
        free = shutil.disk_usage(self.folder).free
        self.ballast.write_bytes(bytes(max(0, free - left)))

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system in memory; a folder where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = 64_000_000
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and not subprocess.run(command, capture_output=True).returncode
    try:
        yield Disk(folder, size if mounted else None)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Accidents:
    """Starts one run again and again, and counts what ended it."""

    def __init__(self, settings: TrainConfig, root: Path, disk: Disk | None = None) -> None:
        self.settings = settings
        self.counts: dict[str, int] = {}
        self.ended_at: list[int] = []
        self._root = root
        self._disk = disk

    def meet(self, kind: str, fate: Fate, *, status: int) -> str:
        """Start or go on, and be ended by ``fate``; returns what was said on stderr."""
        arguments = [str(DOOMED), fate.text(), *self._arguments()]
        found, stderr = self._run(arguments)
        assert found == status, f"{kind}: {stderr}; ended at {self.ended_at}"
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.ended_at.append(last_step(self.settings.run_dir))
        for folder in step_folders(self.settings.run_dir):
            Checkpoint.load(folder)  # whole
        return stderr

    def meet_full_disk(self, left: int) -> None:
        """Go on with so many bytes free, or files of so many bytes at most."""
        assert self._disk is not None
        clear_run(self.settings.run_dir)  # or it would make room
        before = checkpoints(self.settings.run_dir)
        if self._disk.size is None:
            text, fate = "File too large", Fate(largest_file=left)
        else:
            text, fate = "No space left on device", Fate()
            self._disk.fill(left)
        stderr = self.meet("full disk", fate, status=1)
        assert f"cannot write there ({text}: " in stderr
        assert "MB free" in stderr
        assert "free space and give the same command with --resume" in stderr
        assert "Traceback" not in stderr
        assert before.items() <= checkpoints(self.settings.run_dir).items()
        assert not list(self.settings.run_dir.glob(".*"))
        self._disk.free()

    def finish(self) -> None:
        """Go on, with the real script, to the end."""
        status, stderr = self._run([str(self._root / "scripts/train.py"), *self._arguments()])
        assert status == 0, stderr

    def _arguments(self) -> list[str]:
        path = self.settings.run_dir.with_suffix(".yaml")
        path.write_text(self.settings.model_dump_json(exclude_unset=True), encoding="utf-8")
        resume = ["--resume"] if step_folders(self.settings.run_dir) else []
        return ["--config", str(path), *resume]

    def _run(self, arguments: Sequence[str]) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(self._root)},
        )
        _, stderr = process.communicate(timeout=240)
        wait_for(lambda: not living(process.pid))
        return process.returncode, stderr


def wait_for(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def living(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:  # it has ended just now
            continue
        state, _, _, of_session = text.rpartition(")")[2].split()[:4]
        if int(of_session) == session and state not in ("Z", "X"):
            found.append(int(path.parent.name))
    return found


def last_step(run_dir: Path) -> int:
    folders = step_folders(run_dir)
    return int(folders[-1].name[5:]) if folders else -1


def rows(run_dir: Path) -> list[dict[str, float]]:
    """The record, without what the clock says."""
    text = (run_dir / "metrics.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if k not in WALL_TIMES} for row in found]


def checkpoints(run_dir: Path) -> dict[str, tuple[dict[str, str], dict[str, float]]]:
    """sha256 of every file and the metrics, of every checkpoint."""
    cards = {folder.name: Checkpoint.load(folder).card for folder in step_folders(run_dir)}
    return {name: (card.files, card.metrics) for name, card in cards.items()}


def check_equal(broken: Path, unbroken: Path) -> None:
    """Losses, metrics, weights and the whole state of training, bit for bit."""
    assert rows(broken) == rows(unbroken)
    assert checkpoints(broken) == checkpoints(unbroken)
    assert Checkpoint.load(broken).folder.name == Checkpoint.load(unbroken).folder.name
    assert {path.name for path in broken.iterdir()} == {path.name for path in unbroken.iterdir()}


def config(values: dict[str, object], **changes: object) -> TrainConfig:
    adapter: TypeAdapter[TrainConfig] = TypeAdapter(AnyTrainConfig)
    return adapter.validate_python(values | changes)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    """A dataset of lines so noisy that the start model misses some."""
    folder = tmp_path_factory.mktemp("lines")
    noise = np.random.default_rng(0)
    labels = []
    for number in range(26):
        text = f"{number * 7919 % 9973:04d}"
        line = np.full((32, 110, 3), 150, np.uint8)
        cv2.putText(line, text, (6, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (90, 90, 90), 1)
        line = np.clip(line + noise.normal(0, 35, line.shape), 0, 255).astype(np.uint8)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        labels.append(f"{number}.png\t{text}")
    (folder / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    values = PrepareConfig.model_validate(
        {
            "out": folder / "dataset",
            "images": folder,
            "train_labels": [folder / "labels.txt"],
            "val_count": 6,
            "model": "ppocrv6_tiny_rec",
            "dictionary": {"mode": "new"},
            "workers": 0,
        }
    )
    charset, image = recognizer_rules(values.model)
    return prepare(values, charset, image=image).folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_broken_ten_times_equals_an_unbroken_one(
    lines: Path, disk: Disk, tmp_path: Path, root: Path
) -> None:
    values: dict[str, object] = {
        "dataset": lines,
        "start": "ppocrv6_tiny_rec",
        "charset": "new",
        "image": {"min_width": 160},
        "max_start_drop": 100.0,
        "calibration_batches": 1,
        "steps": 90,
        "batch": 4,
        "accumulate": 2,
        "optim": {"lr": 1e-3, "warmup_steps": 3},
        "average": 0.7,
        "freeze": {"parts": ["backbone"], "steps": 5},
        "eval_every": 3,
        "patience": 12,
        "best_by": "ned",
        "log_every": 1,
        "loader": {"workers": 2},
        "augment": {"concat": 0.3, "probability": 0.5},
        "seed": 5,
    }
    whole = Accidents(config(values, run_dir=tmp_path / "whole"), root)
    whole.finish()
    end = rows(whole.settings.run_dir)[-1]["step"]
    best = Checkpoint.load(whole.settings.run_dir).card.step
    assert 0 < best < end < whole.settings.steps  # the end came by patience

    chance = np.random.default_rng(20)
    broken = Accidents(config(values, run_dir=disk.folder / "run"), root, disk)

    def stop_after(number: signal.Signals, lines: int) -> None:
        delay = chance.uniform(0.001, 0.3)
        fate = Fate("metrics.jsonl", lines, signal=number, delay_s=delay)
        status = 130 if number == signal.SIGTERM else -signal.SIGKILL
        broken.meet(number.name, fate, status=status)

    def killed(near: str, number: int) -> None:
        broken.meet("SIGKILL", Fate(near, number, half=True), status=-signal.SIGKILL)

    killed("model.safetensors", 1)  # before there is any checkpoint
    assert not step_folders(broken.settings.run_dir)
    stop_after(signal.SIGKILL, 3)  # before any but that of step 0
    later = [
        lambda: stop_after(signal.SIGTERM, int(chance.integers(1, 5))),
        lambda: stop_after(signal.SIGTERM, int(chance.integers(2, 7))),
        lambda: stop_after(signal.SIGTERM, int(chance.integers(4, 7))),
        lambda: killed("metrics.jsonl", int(chance.integers(4, 8))),
        lambda: killed("train_state.safetensors", 2),
        lambda: killed("-gone-", 1),
        lambda: broken.meet_full_disk(0),
        lambda: broken.meet_full_disk(1_200_000),
    ]
    for number in chance.permutation(len(later)):
        later[number]()
    broken.finish()
    check_equal(broken.settings.run_dir, whole.settings.run_dir)
    assert broken.counts == {"SIGTERM": 3, "SIGKILL": 5, "full disk": 2}


def page(number: int) -> tuple[np.ndarray, list[dict[str, object]]]:
    picture = np.full((96, 128, 3), 200, np.uint8)
    low = 40 + 8 * (number % 4)
    text = f"{number * 31:04d}"
    cv2.putText(picture, text, (12, low), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (20, 20, 20), 2)
    points = [[12, low - 22], [84, low - 22], [84, low + 3], [12, low + 3]]
    return picture, [{"transcription": text, "points": points}]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, released_weights: None) -> Path:
    """A dataset of small pages."""
    folder = tmp_path_factory.mktemp("pages")
    labels = []
    for number in range(10):
        picture, regions = page(number)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        labels.append(f"{number}.png\t{json.dumps(regions)}")
    (folder / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    values = PrepareConfig(
        task="det",
        out=folder / "dataset",
        images=folder,
        train_labels=[folder / "labels.txt"],
        val_count=2,
        workers=0,
    )
    return prepare(values, None).folder


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_broken_detector_run_equals_an_unbroken_one(
    pages: Path, disk: Disk, tmp_path: Path, root: Path
) -> None:
    values: dict[str, object] = {
        "task": "det",
        "dataset": pages,
        "start": "ppocrv6_tiny_det",
        "steps": 8,
        "batch": 2,
        "accumulate": 2,
        "optim": {"lr": 1e-3, "warmup_steps": 2},
        "average": 0.7,
        "freeze": {"steps": 2},
        "auxiliary": True,
        "augment": {"size": 64},
        "calibration_batches": 1,
        "max_start_drop": 100.0,
        "eval_every": 2,
        "log_every": 1,
        "keep_last": 2,
        "loader": {"workers": 1},
        "seed": 3,
    }
    whole = Accidents(config(values, run_dir=tmp_path / "whole"), root)
    whole.finish()
    broken = Accidents(config(values, run_dir=disk.folder / "run"), root, disk)
    killed, stopped = -signal.SIGKILL, TrainingInterruptedError.exit_code
    term = Fate("metrics.jsonl", 3, signal=signal.SIGTERM, delay_s=0.05)
    broken.meet("SIGTERM", term, status=stopped)
    broken.meet("SIGKILL", Fate("model.safetensors", 1, half=True), status=killed)
    broken.meet_full_disk(1_200_000)
    broken.meet("SIGKILL", Fate("-gone-", 1, half=True), status=killed)
    broken.finish()
    check_equal(broken.settings.run_dir, whole.settings.run_dir)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fate", "status"),
    [
        # Its first worker is that of the calibration.
        (Fate("fork", 1, signal=signal.SIGTERM, delay_s=0.02), -signal.SIGTERM),
        (Fate("fork", 1, signal=signal.SIGINT, delay_s=0.02), 130),
        # The first tensors are those of step 0.
        (Fate("model.safetensors", 1, signal=signal.SIGTERM), -signal.SIGTERM),
    ],
    ids=["SIGTERM while calibrating", "Ctrl-C while calibrating", "SIGTERM in the first save"],
)
def test_before_the_first_step_a_signal_ends_all_and_spoils_nothing(
    lines: Path, tmp_path: Path, root: Path, fate: Fate, status: int
) -> None:
    values: dict[str, object] = {
        "dataset": lines,
        "start": "ppocrv6_tiny_rec",
        "charset": "new",
        "max_start_drop": 100.0,
        "steps": 1,
        "batch": 2,
        "loader": {"workers": 1},
    }
    run = Accidents(config(values, run_dir=tmp_path / "run"), root)
    stderr = run.meet("signal", fate, status=status)
    assert "Traceback" not in stderr
    assert not step_folders(run.settings.run_dir)
    run.finish()
    assert [folder.name[-1] for folder in step_folders(run.settings.run_dir)] == ["0", "1"]
    assert not list(run.settings.run_dir.glob(".*"))
