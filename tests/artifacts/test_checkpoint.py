import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from ocr_pipeline.artifacts import checkpoint
from ocr_pipeline.artifacts.checkpoint import (
    Checkpoint,
    Tensors,
    clear_run,
    keep_only,
    latest,
    step_folder,
    step_folders,
)
from ocr_pipeline.artifacts.dataset import Dataset, SourceCard
from ocr_pipeline.config.model import DetModelSpec, RecModelSpec
from ocr_pipeline.errors import ArtifactError
from ocr_pipeline.ops.charset import Charset

CHARSET = Charset(["一", "A", "\u3000"])
REC = RecModelSpec(size="tiny", classes=5)


def weights() -> Tensors:
    random = np.random.default_rng(0)
    return {
        "head.weight": random.normal(size=(4, 5)).astype(np.float32),
        "norm._mean": np.zeros(3, np.float32),
        "steps": np.array([7], np.int64),
    }


def write(folder: Path, *, step: int = 3, exact: float = 50.0, **changes: Any) -> Checkpoint:
    values: dict[str, Any] = {
        "model": REC,
        "weights": weights(),
        "train_state": {"moment": np.ones(2, np.float32)},
        "charset": CHARSET,
        "golden": [],
        "step": step,
        "metrics": {"exact": exact, "cer": 100 - exact},
        "main_metric": "exact",
        "started_from": "ppocrv6_tiny_rec",
        "config": {"seed": 1, "run_dir": "work/甲"},
        "made_by": {"numpy": "2.0"},
    }
    return Checkpoint.write(folder, **(values | changes))


def write_run(run_dir: Path, exact_of_steps: dict[int, float]) -> Path:
    for step, exact in exact_of_steps.items():
        write(step_folder(run_dir, step), step=step, exact=exact)
    return run_dir


def test_checkpoint_is_read_back_as_written(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    golden = [random.integers(0, 256, (4, width, 3), dtype=np.uint8) for width in (9, 5)]
    written = write(tmp_path / "c", golden=golden, dataset="ab12")
    loaded = Checkpoint.load(tmp_path / "c")
    assert loaded == written
    assert loaded.card.model == REC
    assert loaded.card.config == {"seed": 1, "run_dir": "work/甲"}
    assert loaded.card.dataset == "ab12"
    assert loaded.charset() == CHARSET
    for one, other in zip(loaded.golden(), golden, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensors_keep_names_types_and_values(tmp_path: Path) -> None:
    write(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c")
    assert loaded.weights().keys() == weights().keys()
    for name, tensor in weights().items():
        assert loaded.weights()[name].dtype == tensor.dtype
        np.testing.assert_array_equal(loaded.weights()[name], tensor)
    state = loaded.train_state()
    assert state is not None
    np.testing.assert_array_equal(state["moment"], np.ones(2, np.float32))


def test_tensors_can_be_read_by_others(tmp_path: Path) -> None:
    write(tmp_path / "c")
    files = [path for path in (tmp_path / "c").iterdir() if path.suffix == ".safetensors"]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o644, 0o644]


def test_detector_has_neither_charset_nor_need_of_a_train_state(tmp_path: Path) -> None:
    write(tmp_path / "c", model=DetModelSpec(size="small"), charset=None, train_state=None)
    loaded = Checkpoint.load(tmp_path / "c")
    assert loaded.card.model == DetModelSpec(size="small")
    assert loaded.charset() is None
    assert loaded.train_state() is None
    assert loaded.golden() == []


def test_existing_checkpoint_is_not_replaced_unasked(tmp_path: Path) -> None:
    write(tmp_path / "c", step=1)
    with pytest.raises(ArtifactError, match="exists already; give another name, delete it, or say"):
        write(tmp_path / "c", step=2)
    assert Checkpoint.load(tmp_path / "c").card.step == 1
    write(tmp_path / "c", step=2, replace=True)
    assert Checkpoint.load(tmp_path / "c").card.step == 2


def test_truncated_weights_are_found_by_the_card(tmp_path: Path) -> None:
    write(tmp_path / "c")
    path = tmp_path / "c" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    message = (
        f"{tmp_path / 'c'}: changed since it was made: model.safetensors; copy it again, or make "
        "it again with scripts/train.py"
    )
    with pytest.raises(ArtifactError, match=re.escape(message)):
        Checkpoint.load(tmp_path / "c")


def test_weights_truncated_after_loading_are_refused(tmp_path: Path) -> None:
    checkpoint = write(tmp_path / "c")
    path = tmp_path / "c" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    message = f"^{re.escape(str(path))}: not a complete safetensors file \\(.+\\)"
    with pytest.raises(ArtifactError, match=message):
        checkpoint.weights()


def test_all_missing_files_of_a_checkpoint_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "c", golden=[np.zeros((4, 4, 3), np.uint8)])
    shutil.rmtree(tmp_path / "c" / "golden")
    (tmp_path / "c" / "charset.txt").unlink()
    message = r"is missing 2 of 4 files: charset\.txt, golden/00\.png; copy the whole folder"
    with pytest.raises(ArtifactError, match=message):
        Checkpoint.load(tmp_path / "c")


def test_dataset_is_no_checkpoint(tmp_path: Path) -> None:
    Dataset.write(
        tmp_path / "data",
        task="rec",
        sources=[SourceCard(name="a", images=str(tmp_path))],
        splits={"train": [], "val": []},
        charset=CHARSET,
        config={},
        made_by={},
    )
    message = r"data: holds no checkpoint\.json; expected a folder made by scripts/train\.py"
    with pytest.raises(ArtifactError, match=message):
        Checkpoint.load(tmp_path / "data")


def test_missing_checkpoint_is_named(tmp_path: Path) -> None:
    message = f"{tmp_path / 'absent'}: no such folder; make it with scripts/train.py"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        Checkpoint.load(tmp_path / "absent")


def test_run_folder_gives_its_best_checkpoint(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", {0: 20.0, 100: 70.5, 200: 60.0})
    assert Checkpoint.load(run_dir).card.step == 100


def test_earliest_of_equally_good_checkpoints_is_the_best(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", {0: 20.0, 50: 70.0, 100: 70.0, 150: 70.0})
    assert Checkpoint.load(run_dir).card.step == 50


def test_main_metric_decides_which_checkpoint_is_best(tmp_path: Path) -> None:
    for step, exact in ((0, 20.0), (100, 70.0)):
        write(step_folder(tmp_path, step), step=step, exact=exact, main_metric="cer")
    assert Checkpoint.load(tmp_path).card.step == 0


def test_checkpoint_at_which_all_is_wrong_still_beats_none(tmp_path: Path) -> None:
    write(step_folder(tmp_path, 10), step=10, metrics={})
    write(step_folder(tmp_path, 20), step=20, exact=0.0)
    assert Checkpoint.load(tmp_path).card.step == 20


def test_latest_is_the_last_one_that_training_can_go_on_from(tmp_path: Path) -> None:
    write_run(tmp_path, {50: 90.0, 100: 10.0})
    write(step_folder(tmp_path, 150), step=150, train_state=None)
    found = latest(tmp_path)
    assert found is not None
    assert found.card.step == 100


def test_run_without_a_checkpoint_has_no_latest(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    write(step_folder(tmp_path, 150), step=150, train_state=None)
    assert latest(tmp_path) is None


def test_a_damaged_last_checkpoint_is_not_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path, {50: 90.0, 100: 10.0})
    damaged = step_folder(tmp_path, 100)
    (damaged / "model.safetensors").write_bytes(b"")
    message = (
        "changed since it was made: model.safetensors; copy it again, or make it again with "
        f"scripts/train.py. To go on from an earlier one: delete {damaged}, then --resume"
    )
    with pytest.raises(ArtifactError, match=re.escape(message)):
        latest(tmp_path)
    shutil.rmtree(damaged)
    found = latest(tmp_path)
    assert found is not None
    assert found.card.step == 50


@pytest.mark.parametrize("words", ["(os error 28)", "(os error 122)"])
@pytest.mark.parametrize("state", [True, False])
def test_a_full_disk_is_told_with_space_and_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, *, state: bool
) -> None:
    def full(_tensors: Tensors, _path: Path) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: in some language {words}")

    write(step_folder(tmp_path, 1), step=1)
    monkeypatch.setattr(checkpoint, "save_file", full)
    changes: dict[str, Any] = {} if state else {"train_state": None}
    big: Tensors = {"head.weight": np.zeros((1_000_000, 5), np.float32)}
    end = r"\); free space and give the command again$"
    if state:
        end = r"\); free space and give the same command with --resume: the checkpoints before .*"
    with pytest.raises(ArtifactError, match=f"MB free, 20.0 MB needed{end}"):
        write(step_folder(tmp_path, 2), step=2, weights=big, **changes)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert Checkpoint.load(step_folder(tmp_path, 1)).card.step == 1


def test_tensors_that_cannot_be_written_for_another_reason_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_tensors: Tensors, _path: Path) -> None:
        raise SafetensorError("odd header")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(ArtifactError, match=r"model.safetensors: cannot be written \(odd header\)"):
        write(tmp_path / "c")


def test_only_what_is_to_be_kept_is_kept(tmp_path: Path) -> None:
    write_run(tmp_path, {0: 20.0, 50: 70.0, 100: 60.0, 150: 65.0})
    keep_only(tmp_path, [step_folder(tmp_path, 50), step_folder(tmp_path, 150)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000050", "step-000150"]


def test_a_run_is_cleared_of_what_killed_processes_left(tmp_path: Path) -> None:
    write_run(tmp_path, {50: 70.0, 100: 60.0})
    for name in (".step-000007-new-a", ".step-000050-gone-b", ".step-000100-old-c"):
        shutil.copytree(step_folder(tmp_path, 50), tmp_path / name)
    aside = tmp_path / ".step-000150-old-d" / "step-000150"
    write(aside, step=150)
    (tmp_path / ".step-mine").mkdir()
    clear_run(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".step-mine", "step-000050", "step-000100", "step-000150"]
    clear_run(tmp_path / "absent")


def test_step_folders_come_by_step_without_other_files(tmp_path: Path) -> None:
    for step in (1000, 20, 300):
        step_folder(tmp_path, step).mkdir()
    (tmp_path / "step-note.txt").write_text("", encoding="utf-8")
    (tmp_path / ".step-000400-x").mkdir()
    names = [path.name for path in step_folders(tmp_path)]
    assert names == ["step-000020", "step-000300", "step-001000"]
