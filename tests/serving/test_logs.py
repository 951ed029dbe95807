"""Logs: their form, their file, and that nothing about them breaks or holds up who logs."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from ocr_pipeline.errors import ConfigError
from ocr_pipeline.serving.logs import (
    DroppingHandler,
    RotatingFile,
    Stderr,
    ToService,
    formatter,
    relay,
    task_number,
)
from ocr_pipeline.serving.messages import Logged
from tests.serving import full_disk

DEADLINE_S = 20


class Target:
    """Keeps lines; ``gate`` holds it up, ``fault`` breaks it."""

    name = "target"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: OSError | None = None

    def write(self, line: str) -> None:
        assert self.gate.wait(DEADLINE_S)
        if self.fault is not None:
            raise self.fault
        self.lines.append(line)


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def made() -> Iterator[Callable[..., DroppingHandler]]:
    """Makes handlers that are closed after the test."""
    handlers: list[DroppingHandler] = []

    def make(target: Any, **options: Any) -> DroppingHandler:
        handlers.append(DroppingHandler(target, **options))
        handlers[-1].setFormatter(formatter(for_people=False))
        return handlers[-1]

    yield make
    for handler in handlers:
        handler.close()


def record(text: str, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    values = {
        "name": "test",
        "msg": text,
        "levelno": level,
        "levelname": logging.getLevelName(level),
        **more,
    }
    return logging.makeLogRecord(values)


def as_json(text: str, **more: Any) -> dict[str, Any]:
    line = formatter(for_people=False).format(record(text, **more))
    assert "\n" not in line
    values: dict[str, Any] = json.loads(line)
    return values


def test_a_line_is_one_json_object_with_what_the_record_holds() -> None:
    values = as_json("合计\n128", fields={"status": 200, "route": "/v1/ocr"}, color_message="no")
    assert datetime.fromisoformat(values.pop("timestamp")).tzinfo is not None
    assert values == {
        "event": "合计\n128",
        "level": "info",
        "logger": "test",
        "status": 200,
        "route": "/v1/ocr",
    }
    assert "合计" in formatter(for_people=False).format(record("合计"))


def test_what_is_bound_to_the_request_stands_in_each_line_of_it() -> None:
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        assert as_json("a")["request_id"] == "abc"
    assert "request_id" not in as_json("a")


@pytest.mark.parametrize("for_people", [True, False])
def test_a_trace_shows_code_and_no_values(for_people: bool) -> None:
    page = "the text of a page"
    try:
        _ = {}[page[:0]]
    except KeyError:
        fault = sys.exc_info()
    line = formatter(for_people=for_people).format(record("failed", exc_info=fault))
    assert "test_a_trace_shows_code" in line
    assert "KeyError" in line
    assert page not in line.replace(f'page = "{page}"', "")


def test_what_a_worker_says_comes_out_as_if_it_were_said_here(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[Logged] = []
    logger = logging.Logger("ocr_pipeline.worker")
    logger.addHandler(ToService(said.append))
    token = task_number.set(7)
    try:
        try:
            raise RuntimeError("segment 7")
        except RuntimeError:
            logger.exception("task %d failed", 7)
        logger.warning("broken %d", "x")  # a record that cannot be formatted
    finally:
        task_number.reset(token)
    failed, broken = said
    assert (failed.text, failed.number, failed.level) == ("task 7 failed", 7, logging.ERROR)
    assert broken.text == "broken %d"

    relay(failed, 1234, "abc")
    relay(broken, 1234, "")
    values = json.loads(formatter(for_people=False).format(caplog.records[0]))
    assert values["event"] == "task 7 failed"
    assert values["logger"] == "ocr_pipeline.worker"
    assert (values["worker"], values["request_id"]) == (1234, "abc")
    assert values["exception"].endswith("RuntimeError: segment 7")
    assert "request_id" not in vars(caplog.records[1])["fields"]


def test_what_a_worker_says_below_the_level_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    relay(Logged("ocr_pipeline.worker", logging.INFO, "quiet", "", None), 1, "")
    assert not caplog.records


def test_a_file_is_begun_anew_before_it_is_too_large_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    file = RotatingFile(path, max_bytes=100, backups=2)
    lines = [f"line {number:03}" for number in range(40)]  # 9 bytes each, with the end: 11 fit
    for line in lines:
        file.write(line)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["serve.log", "serve.log.1", "serve.log.2"]
    kept = [Path(f"{path}{end}").read_text().splitlines() for end in (".2", ".1", "")]
    assert [len(part) for part in kept] == [11, 11, 7]
    assert [line for part in kept for line in part] == lines[-29:]
    assert path.stat().st_mode & 0o007 == 0


def test_a_line_that_is_larger_than_the_file_may_be_has_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "serve.log"
    file = RotatingFile(path, max_bytes=10, backups=1)
    for line in ("short", "x" * 50, "again"):
        file.write(line)
    assert path.read_text() == "again\n"
    assert Path(f"{path}.1").read_text() == "x" * 50 + "\n"


def test_a_file_that_cannot_be_opened_stops_the_service_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="logs.file .*No such file or directory.*folder"):
        RotatingFile(tmp_path / "none" / "serve.log", max_bytes=100, backups=1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_lines_to_a_full_device_are_dropped_counted_and_told_once(
    made: Callable[..., DroppingHandler], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = made(RotatingFile(Path("/dev/full"), max_bytes=100, backups=1))
    for number in range(50):
        handler.handle(record(f"line {number}"))
    handler.close()
    assert handler.dropped == 50
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("logs: /dev/full cannot be written (No space left on device)")


def test_a_full_disk_costs_lines_until_there_is_room_and_never_half_a_line(
    tmp_path: Path, root: Path
) -> None:
    words = ["unshare", "--map-root-user", "--mount"]
    may_mount = [*words, "mount", "-t", "tmpfs", "none", tmp_path]
    try:
        subprocess.run(may_mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing may be mounted here: {error}")
    result = subprocess.run(
        [*words, sys.executable, "-m", full_disk.__name__, tmp_path],
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout)
    *events, told, last = seen["events"]
    assert 0 < seen["dropped"] < full_disk.LINES
    assert events[:-1] == [f"line {n} of a page" for n in range(full_disk.LINES - seen["dropped"])]
    assert events[-1] == "there is room"
    assert (told, last) == (f"{seen['dropped']} log lines were dropped", "and more")
    assert result.stderr.count("cannot be written (No space left on device)") == 1


def test_a_target_that_takes_nothing_holds_up_nobody_and_says_later_what_is_missing(
    made: Callable[..., DroppingHandler], target: Target
) -> None:
    target.gate.clear()
    handler = made(target, most_waiting=10)
    for number in range(100):
        handler.handle(record(f"line {number}"))
    dropped = handler.dropped
    assert dropped in (89, 90)  # one may be in the thread's hands
    target.gate.set()
    handler.close()
    events = [json.loads(line)["event"] for line in target.lines]
    assert f"{dropped} log lines were dropped" in events
    assert len(events) == 100 - dropped + 1


def test_a_target_that_never_takes_anything_does_not_keep_the_process(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocr_pipeline.serving.logs._CLOSE_S", 0.05)
    target.gate.clear()
    handler = DroppingHandler(target, most_waiting=2)
    for number in range(5):
        handler.emit(record(f"line {number}"))
    handler.close()
    assert handler._thread.is_alive()
    assert handler._thread.daemon
    target.gate.set()


def test_a_target_that_recovers_is_told_of_again_when_it_breaks_again(
    made: Callable[..., DroppingHandler], target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = made(target)
    for fault in (OSError(5, "broken once"), None, OSError(5, "broken twice")):
        handler._lines.join()
        target.fault = fault
        handler.handle(record("line"))
        handler.handle(record("line"))
    handler.close()
    told = capsys.readouterr().err
    assert told.count("(broken once)") == told.count("(broken twice)") == 1
    assert handler.dropped == 4


def test_a_record_that_cannot_be_formatted_breaks_nothing(
    made: Callable[..., DroppingHandler], target: Target
) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    handler = made(target)
    handler.handle(record("line", fields={"broken": Broken()}))
    handler.handle(record("%d", args=("x",)))
    handler.handle(record("after"))
    handler.close()
    assert handler.dropped == 2
    assert [json.loads(line)["event"] for line in target.lines] == [
        "after",
        "2 log lines were dropped",
    ]


def test_a_closed_stderr_is_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with pytest.raises(OSError, match="closed"):
        Stderr().write("line")
