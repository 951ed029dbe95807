import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from ocr_pipeline.artifacts.folder import (
    Card,
    check_target,
    clear_leftovers,
    hash_files,
    read_card,
    remove,
    staged,
    write_card,
)
from ocr_pipeline.errors import ArtifactError

CARD_NAME = "checkpoint.json"
MADE_BY = "scripts/train.py"


class FakeCard(Card):
    format: Literal[1] = 1
    step: int


def make(folder: Path, text: str = "one", *, replace: bool = False) -> Path:
    with staged(folder, replace=replace) as scratch:
        (scratch / "a.txt").write_text(text, encoding="utf-8")
        (scratch / "below").mkdir()
        (scratch / "below" / "b.txt").write_text("two", encoding="utf-8")
        (scratch / "c.txt").write_text("three", encoding="utf-8")
        card = FakeCard(step=3, made_by={"numpy": "2.0"}, files=hash_files(scratch))
        write_card(card, scratch, CARD_NAME)
    return folder


def read(folder: Path) -> FakeCard:
    return read_card(folder, CARD_NAME, FakeCard, made_by=MADE_BY)


def change_card(folder: Path, **values: Any) -> None:
    path = folder / CARD_NAME
    card = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(card | values), encoding="utf-8")


def break_off(target: Path, error: BaseException, *, replace: bool = False) -> None:
    with staged(target, replace=replace) as scratch:
        (scratch / "a.txt").write_text("half", encoding="utf-8")
        raise error


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_folder_is_written_and_read_back(tmp_path: Path) -> None:
    card = read(make(tmp_path / "deep" / "er" / "artefact"))
    assert card.step == 3
    assert card.made_by == {"numpy": "2.0"}
    assert sorted(card.files) == ["a.txt", "below/b.txt", "c.txt"]


def test_nothing_is_left_beside_a_written_folder(tmp_path: Path) -> None:
    make(tmp_path / "artefact")
    make(tmp_path / "artefact", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]


def test_written_folder_can_be_read_by_others(tmp_path: Path) -> None:
    assert make(tmp_path / "artefact").stat().st_mode & 0o777 == 0o755


def test_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "artefact"
    with staged(target) as scratch:
        (scratch / "a.txt").write_text("one", encoding="utf-8")
        assert not target.exists()
    assert (target / "a.txt").is_file()


def test_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="disk on fire"):
        break_off(tmp_path / "new", RuntimeError("disk on fire"))
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_replacing_keeps_the_old_folder(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    before = everything_in(target)
    with pytest.raises(KeyboardInterrupt):
        break_off(target, KeyboardInterrupt(), replace=True)
    assert everything_in(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["artefact"]
    assert read(target).step == 3


def test_replaced_folder_holds_the_new_files_only(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact", "old")
    (target / "stray.txt").write_text("old", encoding="utf-8")
    make(target, "new", replace=True)
    assert (target / "a.txt").read_text(encoding="utf-8") == "new"
    assert not (target / "stray.txt").exists()


def test_existing_folder_is_not_replaced_unasked(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact", "old")
    message = f"{target}: exists already; give another name, delete it, or say --overwrite"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        make(target, "new")
    assert (target / "a.txt").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_artefact_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "pictures"
    kept = target
    if kind == "folder":
        target.mkdir()
        kept = target / "holiday.jpg"
    kept.write_bytes(b"irreplaceable")
    message = (
        f"{target}: will not be overwritten: it holds none of manifest.json, checkpoint.json, "
        "exported.json, so it was not made by this pipeline; give another name"
    )
    with pytest.raises(ArtifactError, match=re.escape(message)):
        make(target, replace=True)
    assert kept.read_bytes() == b"irreplaceable"


def test_target_is_checked_before_the_work(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    check_target(tmp_path / "new", replace=False)
    check_target(target, replace=True)
    with pytest.raises(ArtifactError, match="exists already; give another name, delete it, or"):
        check_target(target, replace=False)


def test_target_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    target = tmp_path / "file" / "artefact"
    with pytest.raises(ArtifactError, match=f"^{re.escape(str(target))}: cannot write there \\(.+"):
        make(target)


# --- Killed, and side by side -----------------------------------------------------------------

MAKER = """
import sys, time
from pathlib import Path
from ocr_pipeline.artifacts.folder import Card, staged, write_card
from ocr_pipeline.errors import ArtifactError

target, rounds, number, wait = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
for _ in range(rounds):
    try:
        with staged(target, replace=True) as scratch:
            (scratch / "a.txt").write_text(number)
            (scratch / "b.txt").write_text(number)
            print("begun", flush=True)
            time.sleep(wait)
            write_card(Card(format=1, made_by={}), scratch, "checkpoint.json")
    except ArtifactError:
        pass  # another one was quicker
"""


def maker(
    target: Path, *, rounds: int = 1, number: int = 0, wait: float = 0.0
) -> "subprocess.Popen[str]":
    """A process that writes the artefact; says ``begun`` when a part of it is there."""
    words = [sys.executable, "-c", MAKER, str(target), str(rounds), str(number), str(wait)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_for(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.001)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    target = make(tmp_path / "集 [1]*", "old")
    with maker(target, wait=60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGKILL)
    assert len(names_in(tmp_path)) == 2
    assert (target / "a.txt").read_text(encoding="utf-8") == "old"
    make(target, "new", replace=True)
    assert names_in(tmp_path) == [target.name]
    assert (target / "a.txt").read_text(encoding="utf-8") == "new"


def test_a_kill_between_the_two_renames_costs_nothing(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact", "old")
    before = everything_in(target)
    aside = tmp_path / ".artefact-old-abc"
    aside.mkdir()
    target.replace(aside / "artefact")
    (tmp_path / ".artefact-new-abc").mkdir()
    (tmp_path / ".artefact-new-abc" / "a.txt").write_text("new", encoding="utf-8")
    clear_leftovers(target)
    assert names_in(tmp_path) == ["artefact"]
    assert everything_in(target) == before


def test_a_kill_after_both_renames_leaves_the_new_one(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact", "new")
    make(tmp_path / ".artefact-old-abc" / "artefact", "old")
    clear_leftovers(target)
    assert names_in(tmp_path) == ["artefact"]
    assert (target / "a.txt").read_text(encoding="utf-8") == "new"


def test_what_was_put_back_is_not_replaced_unasked(tmp_path: Path) -> None:
    make(tmp_path / ".artefact-old-abc" / "artefact", "old")
    with pytest.raises(ArtifactError, match="exists already"):
        check_target(tmp_path / "artefact", replace=False)
    assert read(tmp_path / "artefact").step == 3


def test_only_leftovers_of_the_same_target_are_cleared(tmp_path: Path) -> None:
    others = [".artefact-2-new-abc", ".other-new-abc", ".artefact", "artefact-new-abc", ".git"]
    for name in others:
        (tmp_path / name).mkdir()
    make(tmp_path / "artefact")
    assert names_in(tmp_path) == sorted([*others, "artefact"])


def test_a_living_process_keeps_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "artefact"
    with maker(target, wait=0.4) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        clear_leftovers(target)
        (scratch,) = tmp_path.iterdir()
        assert names_in(scratch) == ["a.txt", "b.txt"]
        check_target(target, replace=False)
        assert process.wait() == 0
    assert names_in(target) == ["a.txt", "b.txt", "checkpoint.json"]


def test_of_two_that_may_not_replace_the_quicker_one_stays(tmp_path: Path) -> None:
    target = tmp_path / "artefact"

    def write_slowly() -> None:
        with staged(target) as scratch:
            (scratch / "a.txt").write_text("slow", encoding="utf-8")
            make(target, "quick")

    with pytest.raises(ArtifactError, match="exists already"):
        write_slowly()
    assert (target / "a.txt").read_text(encoding="utf-8") == "quick"
    assert names_in(tmp_path) == ["artefact"]


def test_many_processes_at_one_target_leave_one_whole_artefact(tmp_path: Path) -> None:
    target = tmp_path / "artefact"
    processes = [maker(target, rounds=60, number=number) for number in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert names_in(tmp_path) == ["artefact"]
    assert names_in(target) == ["a.txt", "b.txt", "checkpoint.json"]
    assert (target / "a.txt").read_text() == (target / "b.txt").read_text()


@pytest.mark.parametrize("moment", [0.0, 0.003, 0.01])
def test_a_kill_while_replacing_again_and_again_leaves_a_whole_one(
    tmp_path: Path, moment: float
) -> None:
    target = make(tmp_path / "artefact", "old")
    with maker(target, rounds=10_000) as process:
        wait_for(lambda: (target / "b.txt").is_file())
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    clear_leftovers(target)
    assert names_in(tmp_path) == ["artefact"]
    assert (target / "checkpoint.json").is_file()
    assert (target / "a.txt").read_text() == (target / "b.txt").read_text()


def test_a_file_system_without_locks_clears_nothing_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_handle: int, _how: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))  # as NFS says of a folder

    monkeypatch.setattr("fcntl.flock", no_locks)
    (tmp_path / ".artefact-new-abc").mkdir()
    assert read(make(tmp_path / "artefact")).step == 3
    assert names_in(tmp_path) == [".artefact-new-abc", "artefact"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_message_with_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    error = OSError(number, os.strerror(number))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_234_567))
    target = tmp_path / "artefact"
    message = (
        f"{target}: cannot write there ({error.strerror}: 1.2 MB free); free space and give the "
        "command again"
    )
    with pytest.raises(ArtifactError, match=re.escape(message)):
        break_off(target, error)
    assert list(tmp_path.iterdir()) == []
    message = f"({error.strerror}: 1.2 MB free, 3,000.0 MB needed); free space and wait"
    with (
        pytest.raises(ArtifactError, match=re.escape(message)),
        staged(target, needed=3_000_000_000, again="and wait"),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_other_faults_of_the_system_are_no_full_disk(tmp_path: Path) -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    message = "cannot write there (Input/output error); check space and rights"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        break_off(tmp_path / "artefact", error)


def test_what_must_last_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "artefact"
    synced: list[tuple[str, bool]] = []

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((path.name if path != tmp_path else "above", target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with staged(target, durable=True) as scratch:
        (scratch / "below").mkdir()
        (scratch / "below" / "a.txt").write_text("one", encoding="utf-8")
        name = scratch.name
    assert sorted(synced[:-1]) == sorted([("below", False), ("a.txt", False), (name, False)])
    assert synced[-1] == ("above", True)


def test_a_removed_artefact_is_gone(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    remove(target)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArtifactError, match="artefact: cannot be deleted .No such file"):
        remove(target)


def test_what_a_killed_deletion_left_is_cleared_and_never_put_back(tmp_path: Path) -> None:
    make(tmp_path / ".artefact-gone-abc")
    clear_leftovers(tmp_path / "artefact")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_swap_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    target = make(tmp_path / "artefact", "old")
    before = everything_in(target)
    calls = []
    rename = Path.replace

    def fail(path: Path, new: Path) -> Path:
        calls.append(path)
        if len(calls) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, new)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ArtifactError, match="cannot write there"):
        make(target, "new", replace=True)
    assert everything_in(target) == before
    assert names_in(tmp_path) == ["artefact"]


def test_where_nothing_can_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    message = f"cannot write there (a file, no folder, is {tmp_path / 'file'}); give another name"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        check_target(tmp_path / "file" / "deep" / "artefact", replace=False)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    message = f"cannot write there (this user may not write in {tmp_path}); give another name"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        check_target(tmp_path / "new" / "artefact", replace=False)


def test_missing_folder_names_the_command_that_makes_it(tmp_path: Path) -> None:
    message = f"{tmp_path / 'absent'}: no such folder; make it with scripts/train.py"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        read(tmp_path / "absent")


def test_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    message = f"{target}: holds no manifest.json; expected a folder made by scripts/prepare.py"
    with pytest.raises(ArtifactError, match=re.escape(message)):
        read_card(target, "manifest.json", FakeCard, made_by="scripts/prepare.py")


def test_all_missing_files_are_listed(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    (target / "a.txt").unlink()
    (target / "below" / "b.txt").unlink()
    message = (
        f"{target}: is missing 2 of 3 files: a.txt, below/b.txt; copy the whole folder, or make it "
        "again with scripts/train.py"
    )
    with pytest.raises(ArtifactError, match=re.escape(message)):
        read(target)


def test_all_changed_files_are_listed(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    (target / "c.txt").write_text("thr", encoding="utf-8")
    (target / "a.txt").write_text("One", encoding="utf-8")
    message = (
        f"{target}: changed since it was made: a.txt, c.txt; copy it again, or make it again with "
        "scripts/train.py"
    )
    with pytest.raises(ArtifactError, match=re.escape(message)):
        read(target)


def test_file_beside_the_listed_ones_does_no_harm(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    assert read(target).step == 3


def test_card_of_another_version_is_refused(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    change_card(target, format=2)
    message = (
        f"{re.escape(str(target / CARD_NAME))}: not a card that this version reads "
        r"\(format: Input should be 1\); make it again with scripts/train\.py"
    )
    with pytest.raises(ArtifactError, match=message):
        read(target)


def test_all_faults_of_a_card_are_named(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    change_card(target, step="many", color="red")
    with pytest.raises(ArtifactError, match=r"not a card .*step: Input should be.*; color: Extra"):
        read(target)


def test_card_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    target = make(tmp_path / "artefact")
    path = target / CARD_NAME
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ArtifactError, match=r"not a card that this version reads \(file: Invalid"):
        read(target)
