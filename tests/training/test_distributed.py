"""Trainings of two processes as a user starts them: what they learn, and how they end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest

from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.train import RecTrainConfig
from ocr_pipeline.preprocess import prepare
from ocr_pipeline.training import train_recognizer
from ocr_pipeline.weights.source import recognizer_rules
from tests.conftest import Silent
from tests.processes import children

STEPS = 20
BATCH = 8
VAL = 7
PATIENCE_S = 240.0
"""For what must come; machines may be busy."""
Losses = dict[int, float]


@dataclass
class Started:
    """One process of a training."""

    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> tuple[int, str]:
        """Exit code and everything that was said."""
        code = self.process.wait(timeout=PATIENCE_S)
        return code, self.log.read_text("utf-8")


def drawn(folder: Path, model: str, *, wrong: bool = False) -> Path:
    """A dataset of 31 lines to train on and 7 to validate: an epoch ends with an odd batch."""
    folder.mkdir()
    rows = []
    for number in range(31 + VAL):
        text = f"A{number * 7919 % 9973:04d}"
        line = np.full((32, 110, 3), 235, np.uint8)
        cv2.putText(line, text, (3, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (30, 30, 30), 2)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", line)[1].tobytes())
        rows.append(f"{number}.png\t{text[::-1] if wrong else text}")
    (folder / "labels.txt").write_text("\n".join(rows), encoding="utf-8")
    config = PrepareConfig.model_validate(
        {
            "out": folder / "dataset",
            "images": folder,
            "train_labels": [folder / "labels.txt"],
            "val_count": VAL,
            "model": model,
            "dictionary": {"mode": "new"},
        }
    )
    charset, image = recognizer_rules(model)
    return prepare(config, charset, image=image).folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("sets") / "crnn", "crnn_mobile")


def config(dataset: Path, run_dir: Path, world: int, **changes: object) -> RecTrainConfig:
    values = {
        "dataset": dataset,
        "run_dir": run_dir,
        "start": "crnn_mobile",
        "device": "cpu",
        "steps": STEPS,
        "batch": BATCH // world,
        "eval_every": 5,
        "log_every": 1,
        "distributed": {"sync_norm": True, "timeout_s": PATIENCE_S},
    }
    return RecTrainConfig.model_validate(values | changes)


def script(root: Path, settings: RecTrainConfig, *extra: str) -> list[str]:
    path = settings.run_dir.with_suffix(".yaml")
    path.write_text(settings.model_dump_json(), encoding="utf-8")
    words = [str(root / "scripts/train.py"), "--config", str(path), "--no-report"]
    return [*words, *extra]


def launch(log_dir: Path, *options: str) -> list[str]:
    words = [sys.executable, "-m", "paddle.distributed.launch", "--log_dir", str(log_dir)]
    return [*words, *options]


@contextmanager
def started(
    words: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Started]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            words, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}
        )
    try:
        yield Started(process, log)
    finally:
        for pid in (*children(process.pid), process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def both(root: Path, settings: RecTrainConfig, *extra: str) -> Iterator[list[Started]]:
    """Two processes without a launcher, so that the end of each can be seen."""
    ends = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    env = {"PADDLE_TRAINERS_NUM": "2", "PADDLE_TRAINER_ENDPOINTS": ",".join(ends)}
    env |= {"PADDLE_MASTER": f"127.0.0.1:{free_port()}", "PADDLE_DISTRI_BACKEND": "gloo"}
    words = [sys.executable, *script(root, settings, *extra)]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                started(
                    words,
                    settings.run_dir.with_suffix(f".{rank}.log"),
                    env | {"PADDLE_TRAINER_ID": str(rank), "PADDLE_CURRENT_ENDPOINT": ends[rank]},
                )
            )
            for rank in range(2)
        ]


def finished(root: Path, settings: RecTrainConfig, *extra: str) -> None:
    """Two processes to the end."""
    with both(root, settings, *extra) as ranks:
        for rank in ranks:
            code, said = rank.ended()
            assert code == 0, said


def rows(run_dir: Path) -> list[dict[str, float]]:
    path = run_dir / "metrics.jsonl"
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def losses(run_dir: Path) -> Losses:
    return {int(row["step"]): row["total"] for row in rows(run_dir) if "total" in row}


def evaluated(run_dir: Path, step: int) -> dict[str, float]:
    (row,) = [row for row in rows(run_dir) if row["step"] == step and "val_exact" in row]
    return row


def wait_until(condition: Callable[[], bool], running: Sequence[Started]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        for one in running:
            assert one.process.poll() is None, one.log.read_text("utf-8")
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def after_a_save(run_dir: Path) -> Callable[[], bool]:
    return lambda: len(losses(run_dir)) >= 6


@pytest.mark.timeout(300)
def test_two_launched_processes_train_and_evaluate_as_one(
    dataset: Path, root: Path, tmp_path: Path
) -> None:
    alone = config(dataset, tmp_path / "alone", 1, steps=2)
    train_recognizer(alone, Silent())
    settings = config(dataset, tmp_path / "two", 2, steps=2)
    words = launch(tmp_path / "log", "--nproc_per_node", "2", *script(root, settings))
    with started(words, tmp_path / "launcher.log") as launcher:
        code, said = launcher.ended()
    assert code == 0, said
    assert "2 processes, device cpu" in said
    assert "2 steps of 4 in each of 2 processes" in said
    # Weights are those at the start: the same answers, so the same totals to the last digit.
    assert evaluated(settings.run_dir, 0) == evaluated(alone.run_dir, 0)
    assert losses(settings.run_dir) == pytest.approx(losses(alone.run_dir), rel=1e-5)
    assert "lines to train on" not in (tmp_path / "log/workerlog.1").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_rank_0_alone_finds_ends_all(dataset: Path, root: Path, tmp_path: Path) -> None:
    settings = config(dataset, tmp_path / "run", 2)
    (settings.run_dir / "step-000000").mkdir(parents=True)
    with both(root, settings) as ranks:
        for rank in ranks:
            code, said = rank.ended()
            assert code == 1, said
            assert "holds a run already" in said
    assert "error: rank 0 (process " in said


@pytest.fixture(scope="module")
def together(dataset: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that nothing disturbed."""
    settings = config(dataset, tmp_path_factory.mktemp("whole") / "together", 2)
    finished(root, settings)
    return settings.run_dir


def largest_difference(found: Losses, expected: Losses) -> float:
    assert sorted(found) == sorted(expected) == list(range(1, STEPS + 1))
    return max(abs(found[step] - expected[step]) / max(1.0, expected[step]) for step in found)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_what_one_learns_with_the_doubled_batch(
    dataset: Path, root: Path, tmp_path: Path, together: Path
) -> None:
    alone = config(dataset, tmp_path / "alone", 1)
    train_recognizer(alone, Silent())
    assert largest_difference(losses(together), losses(alone.run_dir)) < 1e-4
    assert evaluated(together, 0) == evaluated(alone.run_dir, 0)
    unlike = config(dataset, tmp_path / "unlike", 2, distributed={"sync_norm": False})
    finished(root, unlike)
    assert largest_difference(losses(unlike.run_dir), losses(alone.run_dir)) > 1e-3


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["ppocrv6_tiny_rec", "ppocrv6_small_rec"])
def test_so_do_they_from_a_released_model(
    model: str, root: Path, tmp_path: Path, released_weights: None
) -> None:
    """Small has dropout; labels are wrong, else there would be no loss to compare."""
    dataset = drawn(tmp_path / "set", model, wrong=True)
    values = {"start": model, "charset": "new", "eval_every": STEPS}
    alone = config(dataset, tmp_path / "alone", 1, **values)
    train_recognizer(alone, Silent())
    assert min(losses(alone.run_dir).values()) > 1
    two = config(dataset, tmp_path / "two", 2, **values)
    finished(root, two)
    assert largest_difference(losses(two.run_dir), losses(alone.run_dir)) < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("killed", "workers"), [pytest.param(0, 0, marks=pytest.mark.long), (1, 1)]
)
def test_a_killed_process_is_named_and_the_run_resumes(
    killed: int, workers: int, dataset: Path, root: Path, tmp_path: Path, together: Path
) -> None:
    settings = config(dataset, tmp_path / "run", 2, loader={"workers": workers})
    with both(root, settings) as ranks:
        wait_until(after_a_save(settings.run_dir), ranks)
        ranks[killed].process.kill()
        code, said = ranks[1 - killed].ended()
        name = f"rank {killed} (process {ranks[killed].process.pid} on {socket.gethostname()})"
    assert code == 1
    assert f"error: {name} is gone (last seen at " in said
    assert "start the job again with --resume" in said
    finished(root, settings, "--resume")
    assert losses(settings.run_dir) == losses(together)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_under_the_launcher_a_killed_process_ends_the_job(
    dataset: Path, root: Path, tmp_path: Path
) -> None:
    settings = config(dataset, tmp_path / "run", 2)
    words = launch(tmp_path / "log", "--nproc_per_node", "2", *script(root, settings))
    with started(words, tmp_path / "launcher.log") as launcher:
        wait_until(after_a_save(settings.run_dir), [launcher])
        os.kill(children(launcher.process.pid)[1], signal.SIGKILL)
        code, _ = launcher.ended()
    assert code == 1  # that of rank 0
    assert "error: rank 1 (process " in (tmp_path / "log/workerlog.0").read_text("utf-8")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("hung", [0, 1])
def test_a_hung_process_is_named_after_the_timeout(
    hung: int, dataset: Path, root: Path, tmp_path: Path
) -> None:
    limit = {"sync_norm": True, "timeout_s": 30}
    settings = config(dataset, tmp_path / "run", 2, steps=2000, distributed=limit)
    with both(root, settings) as ranks:
        wait_until(after_a_save(settings.run_dir), ranks)
        ranks[hung].process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        code, said = ranks[1 - hung].ended()
        took = time.monotonic() - stopped
    assert code == 1
    assert f"error: rank {hung} (process {ranks[hung].process.pid} on " in said
    assert "has been silent for 30 s (at step " in said
    assert 28 < took < 60


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_process_stops_and_saves_all(
    told: int, dataset: Path, root: Path, tmp_path: Path, together: Path
) -> None:
    settings = config(dataset, tmp_path / "run", 2)
    with both(root, settings) as ranks:
        wait_until(after_a_save(settings.run_dir), ranks)
        ranks[told].process.send_signal(signal.SIGTERM)
        for rank in ranks:
            code, said = rank.ended()
            assert code == 130, said
            assert f"of {STEPS}; saved in" in said
    last = max(losses(settings.run_dir))
    assert (settings.run_dir / f"step-{last:06d}/train_state.safetensors").exists()
    finished(root, settings, "--resume")
    assert losses(settings.run_dir) == losses(together)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("who", "expected"), [("launcher", 15), ("rank 1", 130)])
def test_a_signal_under_the_launcher_stops_and_saves(
    who: str, expected: int, dataset: Path, root: Path, tmp_path: Path
) -> None:
    settings = config(dataset, tmp_path / "run", 2, steps=2000)
    words = launch(tmp_path / "log", "--nproc_per_node", "2", *script(root, settings))
    with started(words, tmp_path / "launcher.log") as launcher:
        wait_until(after_a_save(settings.run_dir), [launcher])
        pid = launcher.process.pid
        os.kill(pid if who == "launcher" else children(pid)[1], signal.SIGTERM)
        code, _ = launcher.ended()
    assert code == expected
    last = max(losses(settings.run_dir))
    assert (settings.run_dir / f"step-{last:06d}/train_state.safetensors").exists()
    for rank in range(2):
        said = (tmp_path / f"log/workerlog.{rank}").read_text("utf-8")
        assert f"error: stopped after step {last} of 2000" in said


@dataclass(frozen=True)
class Node:
    """A machine, stood in for by a network namespace."""

    namespace: str
    address: str


def ip(*words: str) -> None:
    result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(result.stderr.strip())


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    """Two namespaces with a cable between them."""
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` (iproute2) to make network namespaces with")
    mark = uuid4().hex[:6]
    found = [Node(f"ocr-{mark}-{n}", f"10.77.0.{n + 1}") for n in range(2)]
    made: list[str] = []
    try:
        for node in found:
            ip("netns", "add", node.namespace)
            made.append(node.namespace)
            ip("-n", node.namespace, "link", "set", "lo", "up")
        ends = [node.namespace for node in found]
        ip(*f"-n {ends[0]} link add cable type veth peer name cable netns {ends[1]}".split())
        for node in found:
            ip("-n", node.namespace, "addr", "add", f"{node.address}/24", "dev", "cable")
            ip("-n", node.namespace, "link", "set", "cable", "up")
    except OSError as error:
        for name in made:
            ip("netns", "del", name)
        pytest.skip(f"no network namespaces can be made here: {error}")
    yield found
    for name in made:
        ip("netns", "del", name)


@contextmanager
def on_two_nodes(
    nodes: Sequence[Node], words: Sequence[str], folder: Path, *, ips: bool
) -> Iterator[list[Started]]:
    with ExitStack() as stack:
        found = []
        for rank, node in enumerate(nodes):
            options = ["--nproc_per_node", "1", "--host", node.address]
            if ips:
                options += ["--ips", ",".join(node.address for node in nodes)]
            else:
                options += ["--nnodes", "2", "--rank", str(rank)]
                options += ["--master", f"{nodes[0].address}:6170"]
            command = ["ip", "netns", "exec", node.namespace]
            command += launch(folder / f"log-{rank}", *options, *words)
            found.append(stack.enter_context(started(command, folder / f"launcher-{rank}.log")))
        yield found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "ips", [False, pytest.param(True, marks=pytest.mark.long)], ids=["master", "ips"]
)
def test_two_nodes_train_together(
    ips: bool, nodes: list[Node], dataset: Path, root: Path, tmp_path: Path, together: Path
) -> None:
    settings = config(dataset, tmp_path / "run", 2)
    with on_two_nodes(nodes, script(root, settings), tmp_path, ips=ips) as launchers:
        for launcher in launchers:
            code, said = launcher.ended()
            assert code == 0, said
    assert losses(settings.run_dir) == losses(together)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cut_cable_is_noticed_on_both_sides(
    nodes: list[Node], dataset: Path, root: Path, tmp_path: Path
) -> None:
    limit = {"sync_norm": True, "timeout_s": 30}
    settings = config(dataset, tmp_path / "run", 2, steps=2000, distributed=limit)
    with on_two_nodes(nodes, script(root, settings), tmp_path, ips=False) as launchers:
        wait_until(after_a_save(settings.run_dir), launchers)
        ip("-n", nodes[0].namespace, "link", "set", "cable", "down")
        for rank, launcher in enumerate(launchers):
            code, _ = launcher.ended()
            assert code == 1
            said = (tmp_path / f"log-{rank}/workerlog.0").read_text("utf-8")
            assert re.search(rf"error: rank {1 - rank} .* has been silent for 30 s", said), said
