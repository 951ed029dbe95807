"""Looking at other processes, on Linux."""

import time
from collections.abc import Callable
from pathlib import Path

_SOON_S = 10.0


def children(parent: int) -> list[int]:
    """Processes that another one started, in the order of their numbers."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _fields(stat)
        if fields and int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return sorted(found)


def lives(pid: int) -> bool:
    """Whether it is there and has not ended."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[0] != "Z"


def stops(pid: int) -> bool:
    """Whether it stands still soon: a signal comes only when the process has its next turn."""
    return _soon(lambda: _fields(Path(f"/proc/{pid}/stat"))[:1] == ["T"])


def ends(pid: int) -> bool:
    """Whether it has ended soon."""
    return _soon(lambda: not lives(pid))


def _soon(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SOON_S
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _fields(stat: Path) -> list[str]:
    """State, parent and the rest; none where it has just ended."""
    try:
        return stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
