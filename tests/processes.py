"""Looking at other processes, on Linux."""

import time
from pathlib import Path

_STOPPED_WITHIN_S = 10.0


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
    deadline = time.monotonic() + _STOPPED_WITHIN_S
    while time.monotonic() < deadline:
        if _fields(Path(f"/proc/{pid}/stat"))[:1] == ["T"]:
            return True
        time.sleep(0.01)
    return False


def _fields(stat: Path) -> list[str]:
    """State, parent and the rest; none where it has just ended."""
    try:
        return stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
