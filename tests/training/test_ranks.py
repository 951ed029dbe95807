"""What processes do together, without Paddle's exchanges."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocr_pipeline.artifacts.checkpoint import Checkpoint
from ocr_pipeline.config.model import RecModelSpec
from ocr_pipeline.config.train import DistributedConfig, RecTrainConfig
from ocr_pipeline.errors import TrainingError
from ocr_pipeline.training.distributed import ALONE, Ranks, is_first_process, joined
from ocr_pipeline.training.run import find_last
from tests.training.made_up_ranks import together


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 9])
def test_items_are_spread_and_their_results_are_in_order(world: int, count: int) -> None:
    def work(ranks: Ranks) -> tuple[list[int], list[int]]:
        seen: list[int] = []

        def square(numbers: Sequence[int]) -> list[int]:
            assert numbers, "called for nothing"
            seen.extend(numbers)
            return [number**2 for number in numbers]

        return ranks.spread(count, square), seen

    found = together(world, work)
    for results, _ in found:
        assert results == [number**2 for number in range(count)]
    assert sorted(number for _, seen in found for number in seen) == list(range(count))
    sizes = [len(seen) for _, seen in found]
    assert max(sizes) - min(sizes) <= 1


def test_the_first_one_works_for_all() -> None:
    worked: list[int] = []

    def work(ranks: Ranks) -> str:
        def once() -> str:
            worked.append(ranks.rank)
            return "done"

        return ranks.first(once)

    assert together(3, work) == ["done"] * 3
    assert worked == [0]


def test_means_are_of_all() -> None:
    found = together(2, lambda ranks: ranks.mean(np.array([1.0, ranks.rank])))
    assert all(np.array_equal(one, [1.0, 0.5]) for one in found)


def test_one_alone_gets_what_it_gives() -> None:
    assert ALONE.average([], [1.0, 2.5]) == [1.0, 2.5]
    assert ALONE.gather("x") == ["x"]


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    monkeypatch.delenv("PADDLE_TRAINER_ID", raising=False)
    assert is_first_process()
    with joined("cpu", DistributedConfig()) as ranks:
        assert ranks is ALONE


def test_what_the_launcher_did_not_say_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    monkeypatch.delenv("PADDLE_TRAINER_ENDPOINTS", raising=False)
    assert not is_first_process()
    with (
        pytest.raises(TrainingError, match="PADDLE_TRAINER_ENDPOINTS is not set; start them with"),
        joined("cpu", DistributedConfig()),
    ):
        pass


def saved(folder: Path, step: int) -> Checkpoint:
    return Checkpoint.write(
        folder / f"step-{step:06d}",
        model=RecModelSpec(size="tiny", classes=3),
        weights={},
        train_state={"x": np.zeros(1)} if step else None,
        charset=None,
        golden=[],
        step=step,
        metrics={},
        main_metric="exact",
        started_from="nothing",
        config={},
        made_by={},
    )


def test_a_run_that_ended_before_its_first_save_says_what_to_do(tmp_path: Path) -> None:
    saved(tmp_path, 0)
    config = RecTrainConfig(dataset=tmp_path, run_dir=tmp_path)
    with pytest.raises(TrainingError, match="before its first step was saved.*remove the folder"):
        find_last(config, resume=True)


class Second(Ranks):
    """Rank 1, to whom rank 0 says ``told``."""

    def __init__(self, told: Checkpoint) -> None:
        super().__init__(1, 2)
        self._told = told

    def gather(self, thing: Any) -> list[Any]:
        return [self._told, thing]


def test_a_checkpoint_that_only_rank_0_sees_is_named(tmp_path: Path) -> None:
    config = RecTrainConfig(dataset=tmp_path, run_dir=tmp_path)
    last = saved(tmp_path, 3)
    assert find_last(config, resume=True, ranks=Second(last)) == last
    last.folder.rename(tmp_path / "on-another-machine")
    with pytest.raises(TrainingError, match="rank 1: .*step-000003 is not here, where rank 0"):
        find_last(config, resume=True, ranks=Second(last))
