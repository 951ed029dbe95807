"""Ctrl-C in the midst of a fork; who ends with a parent is tested where it is started."""

import os
import signal
from collections.abc import Callable

import pytest

from ocr_pipeline.processes import signals_held_back


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def test_ctrl_c_in_a_fork_is_not_lost(in_a_fork: list[Callable[[], None]]) -> None:
    in_a_fork.append(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), signals_held_back():
        fork()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_is_called_once_the_fork_is_over(in_a_fork: list[Callable[[], None]]) -> None:
    said: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda *_: said.append("SIGTERM"))
    try:
        in_a_fork.append(lambda: signal.raise_signal(signal.SIGTERM))
        with signals_held_back():
            fork()
            said.append("forked")
        assert said == ["forked", "SIGTERM"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_nobody_handles_ends_the_process_at_once() -> None:
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with signals_held_back():
            signal.raise_signal(signal.SIGTERM)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
