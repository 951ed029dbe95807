"""Python environments of the other sides: made from a list with hashes, once, in the cache."""

import subprocess
import sys
import tempfile
from pathlib import Path

from ocr_pipeline.assets import cache_dir, sha256_of
from ocr_pipeline.errors import AssetError

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
"""Folder of the lists in the project's source tree."""
PEER_VERSION = (3, 11)
"""The Python that the lists are pinned for."""
_INSTALL_TIMEOUT_S = 1800


def peer_python(requirements: Path) -> Path:
    """Return the interpreter of an environment that holds what a list names; made once, cached.

    Args:
        requirements: names, versions and hashes; the file's name is part of the folder's.

    Raises:
        AssetError: this is no checkout of the sources, another Python, or pip cannot install it.
    """
    if not requirements.is_file():
        raise AssetError(
            f"{requirements}: absent; this benchmark needs the project's source tree: run it there"
        )
    key = f"{requirements.stem}-{sha256_of(requirements)[:16]}"
    target = cache_dir() / "environments" / key
    python = target / "bin" / "python"
    if python.is_file():
        return python
    if sys.version_info[:2] != PEER_VERSION:
        raise AssetError(
            f"{requirements.name} is pinned for Python {'.'.join(map(str, PEER_VERSION))}, this is "
            f"{sys.version_info[0]}.{sys.version_info[1]}; run the benchmark with that one"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".make-") as scratch:
        made = Path(scratch) / "environment"
        _run([sys.executable, "-m", "venv", "--without-pip", str(made)], requirements)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
        install = ["install", "--quiet", "--require-hashes", "--only-binary=:all:", "--requirement"]
        _run([*pip, str(made / "bin" / "python"), *install, str(requirements)], requirements)
        put_in_place(made, target)  # only its interpreter is used, and that may be moved
    return python


def put_in_place(made: Path, target: Path) -> None:
    """Give a finished folder its name, or leave it where another process was quicker.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        made.replace(target)
    except OSError:
        if not target.is_dir():  # it appears whole or not at all
            raise


def _run(command: list[str], requirements: Path) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False
        )
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        failed, reason = True, f"no answer within {_INSTALL_TIMEOUT_S} s"
    if failed:
        raise AssetError(
            f"the environment of {requirements.name} cannot be made ({reason}); check the "
            f"network, pip's settings and the space below {cache_dir()}"
        )
