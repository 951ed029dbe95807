"""What makes Paddle compute faster on CPU: variables, set before its import, and the allocator."""

import ctypes
import os
import sys
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4  # malloc.h
_TOP_PAD_BYTES = 64 << 20
_LARGE_BYTES = 4 << 20


def paddle_environment() -> dict[str, str]:
    """Return variables and values for this machine.

    ``FLAGS_use_mkldnn``: oneDNN where Paddle has a kernel of it (in training with 3.2.2 hardly
    anywhere). ``MKL_DEBUG_CPU_TYPE``: the MKL inside Paddle's wheel takes its slowest path on
    processors of AMD unless told otherwise (5: AVX2); matrix products, 1x1 convolutions among them,
    then take half the time.
    """
    variables = {"FLAGS_use_mkldnn": "1"}
    if _is_amd_with_avx2():
        variables["MKL_DEBUG_CPU_TYPE"] = "5"
    return variables


def set_paddle_environment() -> None:
    """Set the variables that the user has not set."""
    for name, value in paddle_environment().items():
        os.environ.setdefault(name, value)


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors; return whether it will.

    Paddle's tensors on CPU come straight from ``malloc``, and glibc gives large ones back to the
    system at once: each result of each layer is then mapped page by page again, which costs more
    than computing it. For training only: a process keeps the most it ever held.
    """
    return _set_allocator((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, _TOP_PAD_BYTES))


def keep_large_blocks_apart() -> bool:
    """Let large blocks never share memory with small ones; return whether they will not.

    For reading. Left alone, glibc learns from the first large blocks that are freed to take later
    ones from the heap, where what outlives them keeps their place from going back: a process that
    reads pages held 1,360 MB with this, and 1,560 to 1,680 without.
    """
    return _set_allocator((_M_MMAP_THRESHOLD, _LARGE_BYTES))


def _set_allocator(*settings: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl has not
    if mallopt is None:
        return False
    return all(mallopt(option, value) == 1 for option, value in settings)


def return_freed_memory() -> bool:
    """Give freed memory back to the system; return whether this system can be told to.

    Pictures of many sizes leave holes of many sizes: where nobody asks for them back, a process
    that reads for days holds more and more.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
    if trim is None:
        return False
    trim(0)
    return True


def _is_amd_with_avx2() -> bool:
    try:
        processor = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: MKL's own choice stays
        return False
    return "AuthenticAMD" in processor and " avx2 " in processor
