"""The Paddle Lite toolchain: a Python 3.10 of its own, made by one call, used as a subprocess.

``paddlelite`` exists for old Pythons only, and with numpy 2 it computes garbage without a word. So
it lives in an environment apart, pinned with hashes, and each of its processes looks at the
versions there before anything else (:mod:`ocr_pipeline.inference.lite_start`).
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ocr_pipeline.assets import cache_dir, sha256_of
from ocr_pipeline.errors import AssetError
from ocr_pipeline.inference.lite_start import NOT_PINNED, PINNED

PYTHON_VARIABLE = "OCR_PIPELINE_LITE_PYTHON"
"""Names the interpreter of an environment made by hand; its versions are checked all the same."""
LITE_VERSION = PINNED["paddlelite"]
"""Of the tool that writes ``.nb`` files: what an ARM runtime has to match."""
REQUIREMENTS = Path(__file__).parents[2] / "deploy" / "lite" / "requirements.txt"
_START = Path(__file__).with_name("lite_start.py")
_PYTHON = (3, 10)
_INSTALL_TIMEOUT_S = 1800.0
_ASK_TIMEOUT_S = 60.0


def toolchain_python() -> Path:
    """Return the toolchain's interpreter; its environment is made once (700 MB) and cached.

    Raises:
        AssetError: the interpreter named by hand is absent; this is no source tree; there is
            neither uv nor a Python 3.10; a package cannot be installed.
    """
    if named := os.environ.get(PYTHON_VARIABLE):
        if not Path(named).is_file():
            raise AssetError(
                f"{PYTHON_VARIABLE}={named}: no such file; name the interpreter of an environment "
                "with deploy/lite/requirements.txt in it, or unset it"
            )
        return Path(named)
    if not REQUIREMENTS.is_file():
        raise AssetError(
            f"{REQUIREMENTS}: absent; the Paddle Lite toolchain is set up from the project's "
            f"source tree: work there, or name its interpreter in {PYTHON_VARIABLE}"
        )
    target = toolchain_folder()
    python = target / "bin" / "python"
    if python.is_file():
        return python
    _make_environment(target)
    return python


def toolchain_folder() -> Path:
    """Where the environment of this lock file is, or will be."""
    return cache_dir() / "environments" / f"lite-{sha256_of(REQUIREMENTS)[:16]}"


def find_python() -> Path | None:
    """Return a Python 3.10: from PATH, else one that pyenv has installed, else None."""
    version = ".".join(map(str, _PYTHON))
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    newest_first = sorted(root.glob(f"versions/{version}.*"), key=_patch_number, reverse=True)
    candidates += [folder / "bin" / f"python{version}" for folder in newest_first]
    return next((python for python in candidates if _is_that_python(python)), None)


def command(python: Path, *script: str) -> list[str]:
    """Return the command line of one of the toolchain's processes.

    Args:
        python: from :func:`toolchain_python`.
        script: a file that Python 3.10 understands, and its arguments.
    """
    # -I: neither variables nor the script's folder put packages of this Python into that one.
    return [str(python), "-I", str(_START), *script]


def check_toolchain(python: Path) -> dict[str, str]:
    """Return the versions that are pinned and found, by starting the toolchain once.

    Raises:
        AssetError: another version is installed, or the interpreter does not run; says which.
    """
    done = _run(command(python), timeout=_ASK_TIMEOUT_S)
    return dict(line.split("==") for line in done.stdout.split())


def last_line(text: str) -> str:
    """Return the last line that says something; '' if none does."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def told_by(stderr: str, returncode: int | None) -> str:
    """Say in one line why a process of the toolchain ended."""
    said = last_line(stderr) or "it said nothing"
    if returncode is None:
        return said
    ended = f"exit code {returncode}" if returncode >= 0 else f"signal {-returncode}"
    return said if returncode == NOT_PINNED else f"{said} ({ended})"


def _make_environment(target: Path) -> None:
    found = find_python()
    uv = _uv()
    if found is None and uv is None:
        raise AssetError(
            "Paddle Lite's toolchain needs Python 3.10, which is neither on PATH nor in pyenv, and "
            "there is no uv to fetch it; install either (pip install uv), or make the environment "
            f"elsewhere and name its interpreter in {PYTHON_VARIABLE}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".make-") as scratch:
            made = Path(scratch) / "environment"
            for step in _steps(made, found, uv):
                _run(step, timeout=_INSTALL_TIMEOUT_S)
            check_toolchain(made / "bin" / "python")
            made.replace(target)  # only its interpreter is used, and that may be moved
    except OSError as error:
        if not (target / "bin" / "python").is_file():  # another process was quicker
            raise AssetError(
                f"{target}: cannot be made ({error.strerror or error}); check space and rights"
            ) from None


def _steps(made: Path, found: Path | None, uv: list[str] | None) -> list[list[str]]:
    version = ".".join(map(str, _PYTHON))
    python = str(made / "bin" / "python")
    needed = ["--require-hashes", "--no-deps", "--requirement", str(REQUIREMENTS)]
    if uv is not None:
        install = [*uv, "pip", "install", "--quiet", "--only-binary=:all:", "--python", python]
        return [
            [*uv, "venv", "--quiet", "--python", str(found or version), str(made)],
            [*install, *needed],
        ]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    return [
        [str(found), "-m", "venv", "--without-pip", str(made)],
        [*pip, "install", "--quiet", "--only-binary=:all:", *needed],
    ]


def _uv() -> list[str] | None:
    if on_path := shutil.which("uv"):
        return [on_path]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    return None


def _run(step: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(step, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise AssetError(
            f"the Paddle Lite toolchain: no answer within {timeout:g} s from {step[0]}"
        ) from None
    if done.returncode:
        raise AssetError(
            f"the Paddle Lite toolchain: {told_by(done.stderr, done.returncode)}; check the "
            f"network, the package index and the space below {cache_dir()}"
            if done.returncode != NOT_PINNED
            else last_line(done.stderr)
        )
    return done


def _is_that_python(python: Path) -> bool:
    """Whether it runs and is 3.10: a shim of pyenv may stand on PATH for a version not chosen."""
    ask = [str(python), "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    try:
        done = subprocess.run(
            ask, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == ".".join(map(str, _PYTHON))


def _patch_number(folder: Path) -> int:
    number = re.fullmatch(r"\d+\.\d+\.(\d+)", folder.name)
    return int(number[1]) if number else -1
