"""What the processes of one group use, as Linux tells it; nothing where it is not told."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROCESSES = Path("/proc")


class Memory(NamedTuple):
    """Resident memory of all processes of a group, MB (10^6 bytes); shared pages count in each.

    Attributes:
        now: held at this moment.
        peak: the sum of what each that still runs ever held.
    """

    now: float
    peak: float


def cpu_seconds(group: int) -> float:
    """CPU time that the running processes of a group have used, and those that they outlived."""
    ticks = sum(sum(map(int, values[11:15])) for _, values in _members(group))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(group: int) -> Memory:
    """What the processes of a group hold."""
    found = [_resident(folder) for folder, _ in _members(group)]
    return Memory(sum(now for now, _ in found), sum(peak for _, peak in found))


def _members(group: int) -> Iterator[tuple[Path, list[str]]]:
    """Folder of each process, and proc_pid_stat(5) from the third field on."""
    for stat in PROCESSES.glob("[0-9]*/stat"):
        try:
            values = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(values[2]) == group:
            yield stat.parent, values


def _resident(folder: Path) -> Memory:
    sizes = {"VmRSS": 0.0, "VmHWM": 0.0}
    try:
        status = (folder / "status").read_text(encoding="ascii", errors="replace")
    except OSError:  # it has ended
        return Memory(0.0, 0.0)
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024 / 1e6
    return Memory(sizes["VmRSS"], sizes["VmHWM"])
