"""How much memory training takes and has."""

import contextlib
import gc
from pathlib import Path

import paddle

_CGROUP = Path("/sys/fs/cgroup")
_OUT_OF_MEMORY = ("ResourceExhausted", "Out of memory error on GPU")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Paddle could not get memory; which type it raises depends on where."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | SystemError)
        and any(words in str(error) for words in _OUT_OF_MEMORY)
    )


def free_unused() -> None:
    """Give back what a failed step has left."""
    gc.collect()
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.cuda.empty_cache()


def wait_for_device() -> None:
    """Return when the device has done what it was told; on CPU nothing is done later."""
    if paddle.device.get_device().startswith("gpu"):
        paddle.device.cuda.synchronize()


class PeakMemory:
    """Largest memory of this process on its device since :meth:`restart`, bytes.

    On GPU what Paddle has reserved, on CPU the resident set (Linux; 0 elsewhere).
    """

    def __init__(self) -> None:
        self._on_gpu = paddle.device.get_device().startswith("gpu")
        self._status = Path("/proc/self/status")

    def restart(self) -> None:
        """Forget what was, where that can be: else the peak is that since the start."""
        free_unused()
        if self._on_gpu:
            if hasattr(paddle.device.cuda, "reset_max_memory_reserved"):  # not in Paddle 2.6
                paddle.device.cuda.reset_max_memory_reserved()
        elif self._status.exists():
            with contextlib.suppress(OSError):  # some containers forbid it
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def read(self) -> int:
        """The peak."""
        if self._on_gpu:
            return int(paddle.device.cuda.max_memory_reserved())
        return _status_bytes(self._status, "VmHWM")

    def capacity(self) -> int:
        """What the device has for this process: its memory, less what others use of it."""
        if self._on_gpu:
            return int(paddle.device.cuda.get_device_properties().total_memory)
        if not self._status.exists():
            return 0
        own = _status_bytes(self._status, "VmRSS")
        available = _status_bytes(Path("/proc/meminfo"), "MemAvailable")
        return min([available + own, *_limits()])


def _status_bytes(path: Path, name: str) -> int:
    """A field in kB of one of the kernel's tables, in bytes."""
    if not path.exists():
        return 0
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _limits() -> list[int]:
    """Of the container, where there is one."""
    found = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = _CGROUP / name
        if path.exists() and (text := path.read_text(encoding="ascii").strip()).isdigit():
            found.append(int(text))
    return found
