import importlib.util
import json
import sys
from pathlib import Path

import pytest

from ocr_pipeline import paddle_environment as environment_module
from ocr_pipeline.benchmarks import interleave
from ocr_pipeline.benchmarks.interleave import Side, Worker, take_turns
from ocr_pipeline.benchmarks.mixed_precision import parse_dtypes, run_mixed_precision
from ocr_pipeline.benchmarks.ppocr import ppocr_folder
from ocr_pipeline.benchmarks.statistics import median_ratio
from ocr_pipeline.benchmarks.train_step import CLASSES, TrainStepPlan, run_train_step
from ocr_pipeline.errors import AssetError, ConfigError, TrainingError
from ocr_pipeline.paddle_environment import paddle_environment

FAKE = """
import os, sys
from pathlib import Path
from ocr_pipeline.benchmarks.interleave import protocol, serve_steps
name, log = sys.argv[1], Path(sys.argv[2])
taken = 0
def step():
    global taken
    taken += 1
    print("chatter of a library")
    if name == "dies" and taken == 2:
        raise SystemExit("out of memory, it says")
    with log.open("a") as stream:
        stream.write(name + "\\n")
    return float(taken)
with protocol() as answers:
    print("more chatter")
    serve_steps(step, {"parameters": 3, "flag": os.environ.get("FAKE_FLAG", "none")}, answers)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def fake(name: str, log: Path, **environment: str) -> Side:
    return Side(name, [sys.executable, "-c", FAKE, name, str(log)], environment)


def test_sides_take_turns_and_the_first_one_changes(log: Path) -> None:
    rounds = []
    steps, said = take_turns(
        [fake("a", log), fake("b", log)],
        steps=2,
        warmup=1,
        on_progress=lambda done, total: rounds.append((done, total)),
    )
    assert log.read_text().split() == ["a", "b", "b", "a", "a", "b"]
    assert {name: [step.loss for step in taken] for name, taken in steps.items()} == {
        "a": [2.0, 3.0],
        "b": [2.0, 3.0],
    }
    assert said["a"]["parameters"] == 3
    assert rounds == [(1, 3), (2, 3), (3, 3)]


def test_environment_is_per_side_and_an_empty_value_takes_away(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FLAG", "inherited")
    sides = [fake("a", log), fake("b", log, FAKE_FLAG="own"), fake("c", log, FAKE_FLAG="")]
    _, said = take_turns(sides, steps=1, warmup=0)
    assert [said[name]["flag"] for name in "abc"] == ["inherited", "own", "none"]


def test_side_that_ends_is_named_with_its_last_words(log: Path) -> None:
    message = r"side 'dies': its process ended with exit code 1 \(out of memory, it says\); run it"
    with pytest.raises(TrainingError, match=message):
        take_turns([fake("a", log), fake("dies", log)], steps=3, warmup=0)


def test_side_without_an_answer_is_named(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleave, "START_TIMEOUT_S", 0.1)
    sleeps = Side("sleeps", [sys.executable, "-c", "import time; time.sleep(60)"])
    with (
        Worker(sleeps) as worker,
        pytest.raises(TrainingError, match=r"side 'sleeps': no answer within 0\.1 s"),
    ):
        worker.ready()


def test_ratio_of_medians_with_its_interval() -> None:
    ratio = median_ratio([1.0, 1.2, 1.1, 5.0], [2.0, 2.4, 2.2, 10.0])
    assert ratio == pytest.approx((0.5, 0.5, 0.5))
    spread = median_ratio([1.0, 1.0, 1.0, 1.3, 0.8], [2.0, 2.1, 1.9, 2.0, 2.0])
    assert spread.low < spread.value == 0.5 < spread.high
    assert median_ratio([1.0, 1.0, 1.0, 1.3, 0.8], [2.0, 2.1, 1.9, 2.0, 2.0]) == spread


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_ratio_needs_whole_rounds(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="one of each for every round"):
        median_ratio(ours, theirs)


def test_all_faults_of_a_plan_are_one_message() -> None:
    message = (
        r"^network 'v9'; allowed: ppocrv4_mobile_rec, .*; form 'thin'; allowed: calibrated, "
        r"multi_branch; width 30; allowed: multiples of 8 px, from 16$"
    )
    with pytest.raises(ConfigError, match=message):
        TrainStepPlan(network="v9", forms=("thin",), width=30)


def test_unknown_precision_names_the_allowed_ones() -> None:
    assert parse_dtypes("bf16, fp32") == ["fp32", "bf16"]
    with pytest.raises(ConfigError, match="unknown int4; allowed: fp32, fp16, bf16"):
        parse_dtypes("fp32,int4")


def test_mixed_precision_is_refused_without_a_gpu() -> None:
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle has CUDA")
    with pytest.raises(TrainingError, match="finds no GPU here, and mixed precision has no effect"):
        run_mixed_precision(["fp32"], batch=1, steps=1, warmup=0)


@pytest.mark.parametrize(
    ("vendor", "variables"),
    [
        ("AuthenticAMD", {"FLAGS_use_mkldnn": "1", "MKL_DEBUG_CPU_TYPE": "5"}),
        ("GenuineIntel", {"FLAGS_use_mkldnn": "1"}),
    ],
)
def test_environment_depends_on_the_processor(
    vendor: str, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\nflags\t\t: avx avx2 bmi2\n")
    monkeypatch.setattr(environment_module, "_CPU_INFO", tmp_path / "cpuinfo")
    assert paddle_environment() == variables


def test_script_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(__file__).parents[2] / "scripts/benchmark.py"
    assert importlib.util.spec_from_file_location("benchmark", script) is not None
    assert 'sys.argv.insert(1, "benchmark")' in script.read_text()


@pytest.mark.slow
def test_one_real_step_of_each_side() -> None:
    try:
        ppocr_folder()
    except AssetError as error:
        pytest.skip(str(error))
    plan = TrainStepPlan(
        forms=("calibrated", "multi_branch"), steps=1, warmup=0, batch=2, width=96, tuned=False
    )
    results = {result.name: result for result in run_train_step(plan, paddle_environment())}
    assert list(results) == ["ours, calibrated", "ours, multi_branch", "ppocr"]
    # The same network: the two trainable forms of ours around the one of ppocr.
    assert results["ours, multi_branch"].parameters == results["ppocr"].parameters == 6_329_629
    assert results["ours, calibrated"].parameters < results["ppocr"].parameters
    for result in results.values():
        assert result.last_loss > 0
        assert result.seconds > 0
        assert (result.against_ppocr is None) == (result.name == "ppocr")
        json.dumps(result._asdict())


def test_classes_are_those_of_the_released_models() -> None:
    from ocr_pipeline.weights.catalog import RELEASES

    for name, classes in CLASSES.items():
        assert RELEASES[name].spec.classes == classes
