"""Looking at other processes, on Linux."""

from pathlib import Path


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


def _fields(stat: Path) -> list[str]:
    """State, parent and the rest; none where it has just ended."""
    try:
        return stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
