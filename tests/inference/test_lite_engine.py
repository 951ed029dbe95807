"""The process that runs ``.nb`` files: answers, faults, limits, its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ocr_pipeline.config.engine import EngineConfig
from ocr_pipeline.errors import EngineError
from ocr_pipeline.inference import lite_engine
from ocr_pipeline.inference.lite_engine import X86_MODEL, LiteEngine
from ocr_pipeline.inference.lite_toolchain import PYTHON_VARIABLE
from tests.lite_environment import PINNED, make_environment


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("lite") / "environment")


@pytest.fixture
def folder(tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of an exported model whose network sums up the channels."""
    monkeypatch.setenv(PYTHON_VARIABLE, str(environment))
    (tmp_path / X86_MODEL).write_text("sum")
    return tmp_path


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, (count, 3, height, width)).astype(np.float32)


def worker_of(folder: Path) -> int:
    return int((folder / f"{X86_MODEL}.pid").read_text())


def is_alive(process: int) -> bool:
    """Not gone, and not merely waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(process: int, seconds: float = 10.0) -> bool:
    limit = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < limit:
        time.sleep(0.02)
    return not is_alive(process)


def test_arrays_come_back_whole_whatever_their_size_and_order(folder: Path) -> None:
    engine = LiteEngine(folder, EngineConfig())
    assert engine.lanes == 1
    for shape in ((1, 48, 640), (3, 48, 320), (2, 48, 64), (1, 700, 900), (1, 48, 640)):
        images = pictures(*shape)
        np.testing.assert_array_equal(engine.run(images), images.sum(axis=1, keepdims=True))
    turned = pictures(1, 32, 64).transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(engine.run(turned), turned.sum(axis=1, keepdims=True))


def test_a_predictor_sees_one_size_and_there_is_one(folder: Path) -> None:
    """The planted predictor ends the process where it is given a second size."""
    (folder / X86_MODEL).write_text("count")
    engine = LiteEngine(folder, EngineConfig())
    for width in (64, 32, 32, 96, 32):
        assert engine.run(pictures(2, 8, width)).max() == 1


def test_several_threads_get_their_own_answers(folder: Path) -> None:
    engine = LiteEngine(folder, EngineConfig())
    faults: list[str] = []

    def ask(seed: int) -> None:
        for number in range(20):
            images = pictures(1, 8, 16 * (1 + number % 3), seed)
            if not np.array_equal(engine.run(images), images.sum(axis=1, keepdims=True)):
                faults.append(f"{seed} {number}")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_process_that_ends_is_named_and_started_again(folder: Path) -> None:
    engine = LiteEngine(folder, EngineConfig())
    bad = pictures(1, 8, 8)
    bad[0, 0, 0, 0] = 666
    with pytest.raises(
        EngineError, match=r"input of \[1, 3, 8, 8\]: .*no valid out_shape \(signal 6\)"
    ):
        engine.run(bad)
    first = worker_of(folder)
    assert engine.run(pictures(1, 8, 8)).shape == (1, 1, 8, 8)
    assert worker_of(folder) != first


def test_a_killed_process_is_named_and_started_again(folder: Path) -> None:
    engine = LiteEngine(folder, EngineConfig())
    os.kill(worker_of(folder), signal.SIGKILL)
    with pytest.raises(EngineError, match=r"it said nothing \(signal 9\)"):
        engine.run(pictures(4, 400, 400))
    assert engine.run(pictures(1, 8, 8)).shape == (1, 1, 8, 8)


def test_a_process_that_does_not_answer_is_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LiteEngine(folder, EngineConfig())
    monkeypatch.setattr(lite_engine, "_RUN_TIMEOUT_S", 0.3)
    bad = pictures(1, 8, 8)
    bad[0, 0, 0, 0] = 777
    with pytest.raises(EngineError, match="it took too long"):
        engine.run(bad)
    assert ends(worker_of(folder))


def test_a_file_that_lite_cannot_load_is_refused_at_once(folder: Path) -> None:
    (folder / X86_MODEL).write_text("broken")
    with pytest.raises(EngineError, match=r"x86\.nb: Paddle Lite cannot load it: .*recognized"):
        LiteEngine(folder, EngineConfig())
    assert ends(worker_of(folder))


def test_a_file_that_is_not_there_and_a_gpu_are_refused(folder: Path) -> None:
    with pytest.raises(EngineError, match="device gpu: Paddle Lite is run on the CPU here"):
        LiteEngine(folder, EngineConfig(device="gpu"))
    (folder / X86_MODEL).unlink()
    with pytest.raises(EngineError, match=r"x86\.nb: absent; export again with lite"):
        LiteEngine(folder, EngineConfig())


@pytest.mark.parametrize("shape", [(3, 48, 320), (1, 1, 48, 320), (1, 3, 48, 0), (0, 3, 48, 64)])
def test_an_input_that_is_no_batch_of_pictures_is_refused(
    shape: tuple[int, ...], folder: Path
) -> None:
    engine = LiteEngine(folder, EngineConfig())
    with pytest.raises(EngineError, match=r"expected \[N, 3, H, W\], none of them 0"):
        engine.run(np.zeros(shape, np.float32))


def test_a_toolchain_with_numpy_2_does_not_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = make_environment(tmp_path / "new", {**PINNED, "numpy": "2.3.5"})
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    with pytest.raises(EngineError, match=r"cannot load it: .*numpy is 2\.3\.5, needed is 1\.x"):
        LiteEngine(folder, EngineConfig())
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(EngineError, match=r"none: no such file"):
        LiteEngine(folder, EngineConfig())


def test_closing_ends_the_process_and_so_does_forgetting(folder: Path) -> None:
    engine = LiteEngine(folder, EngineConfig())
    engine.close()
    assert ends(worker_of(folder))
    engine.close()
    assert engine.run(pictures(1, 8, 8)).shape == (1, 1, 8, 8)
    del engine
    assert ends(worker_of(folder))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_process_ends_with_its_parent(end: signal.Signals, folder: Path) -> None:
    program = (
        "import pathlib, time\n"
        "from ocr_pipeline.config.engine import EngineConfig\n"
        "from ocr_pipeline.inference.lite_engine import LiteEngine\n"
        f"engine = LiteEngine(pathlib.Path({str(folder)!r}), EngineConfig())\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        worker = worker_of(folder)
        assert is_alive(worker)
        parent.send_signal(end)
    assert ends(worker)
