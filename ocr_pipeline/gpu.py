"""NVIDIA GPUs as their driver names them; nothing of Paddle is imported."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: for example "NVIDIA L4".
        capability: compute capability, "8.9" for Ada.
        driver: version of the driver.
    """

    name: str
    capability: str
    driver: str


def nvidia_gpus() -> Sequence[Gpu] | str:
    """GPUs that the driver names; empty without a driver; a sentence where it does not answer."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not answer ({type(error).__name__})"
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        return f"nvidia-smi ended with {done.returncode}: {said[-1] if said else 'no word'}"
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [Gpu(*row) for row in rows if len(row) == 3]
