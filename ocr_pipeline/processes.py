"""What a process has to care for that starts others, or was started by one."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Called in a new process: Linux kills it when the one that started it is gone.

    That one may be killed, and then ends nothing itself. On other systems this does nothing. See
    prctl(2).
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve_parent() -> None:
    """Called in a new process of multiprocessing: leave Ctrl-C to its parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM wait, where Python handles them; at the end those that came act.

    For a fork: what a handler raises in the callbacks around one, Python prints and forgets, so a
    Ctrl-C would be lost. See os.register_at_fork.
    """
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere no handler runs
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for waited in came:
            signal.raise_signal(waited)
