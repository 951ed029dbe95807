"""How every artefact is written (whole or not at all) and read (checked, all faults at once)."""

import errno
import fcntl
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ocr_pipeline.assets import sha256_of
from ocr_pipeline.config.base import Config
from ocr_pipeline.errors import ArtifactError


class Card(Config):
    """What every artefact says of itself."""

    format: int
    """Version of the card's layout."""
    made_by: dict[str, str]
    """Version of each library that had a part in it."""
    files: dict[str, str] = {}
    """Relative path (with ``/``) to hex sha256, of every other file in the folder."""


_CARD_NAMES = ("manifest.json", "checkpoint.json", "exported.json")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or the largest allowed file is full."""
CardT = TypeVar("CardT", bound=Card)


def check_target(target: Path, *, replace: bool) -> None:
    """Say before long work that its result could not be written.

    What a killed process left behind is cleared away first; see :func:`clear_leftovers`.

    Raises:
        ArtifactError: ``target`` exists and ``replace`` is false, or it is no artefact of ours, or
            cannot be made there.
    """
    above = next(path for path in target.absolute().parents if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        why = "this user may not write in" if above.is_dir() else "a file, no folder, is"
        raise ArtifactError(f"{target}: cannot write there ({why} {above}); give another name")
    clear_leftovers(target)
    if target.exists() and not replace:
        raise ArtifactError(
            f"{target}: exists already; give another name, delete it, or say --overwrite"
        )
    if target.exists() and not any((target / name).is_file() for name in _CARD_NAMES):
        raise ArtifactError(
            f"{target}: will not be overwritten: it holds none of {', '.join(_CARD_NAMES)}, so it "
            "was not made by this pipeline; give another name"
        )


@contextmanager
def staged(
    target: Path,
    *,
    replace: bool = False,
    durable: bool = False,
    needed: int | None = None,
    again: str = "and give the command again",
) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes ``target`` when the block ends well.

    On an error nothing is left behind, and an existing ``target`` stays as it was. What a killed
    process left behind is cleared away by the next one that writes the same ``target``.

    Args:
        target: the folder that is to be.
        replace: an existing one may go.
        durable: it is on the disk itself before it gets its name, so that a power cut spares it.
        needed: bytes that will be written, for the message of a full disk.
        again: what to do once there is space.

    Raises:
        ArtifactError: ``target`` exists and ``replace`` is false, or it cannot be written.
    """
    check_target(target, replace=replace)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _fresh(target, "new") as scratch:
            yield scratch
            scratch.chmod(0o755)
            if durable:
                _sync(scratch)
            check_target(target, replace=replace)  # another process may have been quicker
            _swap_in(scratch, target)
        if durable:
            _sync_one(target.parent)
    except OSError as error:
        if is_full(error):
            raise ArtifactError(full_disk(target, error, needed=needed, again=again)) from error
        raise ArtifactError(
            f"{target}: cannot write there ({error.strerror or error}); check space and rights"
        ) from error


def is_full(error: OSError) -> bool:
    """Whether there was no space."""
    return error.errno in _FULL


def full_disk(path: Path, error: OSError, *, needed: int | None = None, again: str) -> str:
    """What to say where ``path`` could not be written for want of space.

    Args:
        path: file or folder; one above it exists.
        error: of the system.
        needed: bytes that were to be written, where it is known.
        again: what to do once there is space.
    """
    above = next(folder for folder in path.absolute().parents if folder.is_dir())
    figures = f"{shutil.disk_usage(above).free / 1e6:,.1f} MB free"
    if needed is not None:
        figures += f", {needed / 1e6:,.1f} MB needed"
    return f"{path}: cannot write there ({error.strerror}: {figures}); free space {again}"


def remove(target: Path) -> None:
    """Delete an artefact: whenever this process is killed, it is whole or gone.

    What is left of it then goes with :func:`clear_leftovers`.

    Raises:
        ArtifactError: it cannot be deleted.
    """
    aside = target.with_name(f".{target.name}-gone-{secrets.token_hex(4)}")
    try:
        target.replace(aside)
    except OSError as error:
        raise ArtifactError(
            f"{target}: cannot be deleted ({error.strerror or error}); check rights"
        ) from error
    shutil.rmtree(aside, ignore_errors=True)


def clear_leftovers(target: Path) -> None:
    """Remove the unfinished folders of processes that were killed while they wrote ``target``.

    One that was killed between taking the old ``target`` away and putting the new one in has its
    old one put back. Folders that a living process holds are left alone.
    """
    for aside in target.parent.glob(f".{glob.escape(target.name)}-old-*"):
        with _held(aside) as alone:
            kept = aside / target.name
            if alone and kept.exists() and not target.exists():
                with suppress(OSError):  # another process has written it just now
                    kept.replace(target)
            if alone and (target.exists() or not kept.exists()):
                shutil.rmtree(aside, ignore_errors=True)
    for scratch in target.parent.glob(f".{glob.escape(target.name)}-new-*"):
        with _held(scratch) as alone:
            if alone:
                shutil.rmtree(scratch, ignore_errors=True)
    for aside in target.parent.glob(f".{glob.escape(target.name)}-gone-*"):
        shutil.rmtree(aside, ignore_errors=True)  # whoever else deletes it wants the same


@contextmanager
def _fresh(target: Path, kind: str) -> Iterator[Path]:
    """A hidden folder beside ``target`` that this process holds; removed when the block ends."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-{kind}-"))
        with _held(folder, wait=True):
            if not folder.exists():  # taken for a leftover before it was held
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock on a folder that ends with this process.

    False where another process holds it or has just moved the folder away, and where the file
    system knows no locks (some of those across a network).
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        yield _lock(handle, wait=wait)
    finally:
        os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _sync(folder: Path) -> None:
    """Wait until all that is in a folder is on the disk."""
    for path in (*folder.rglob("*"), folder):
        _sync_one(path)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot wait for a folder
            raise
    finally:
        os.close(handle)


def _swap_in(scratch: Path, target: Path) -> None:
    if not target.exists():
        scratch.replace(target)
        return
    with _fresh(target, "old") as aside:
        kept = aside / target.name
        try:
            target.replace(kept)
            scratch.replace(target)
        finally:
            if kept.exists() and not target.exists():
                kept.replace(target)


def hash_files(folder: Path, *, skip: str | None = None) -> dict[str, str]:
    """Return relative path to sha256 of every file below ``folder``; not in sub-folder ``skip``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: sha256_of(path) for name, path in names.items() if name.split("/")[0] != skip}


def write_card(card: Card, folder: Path, filename: str) -> None:
    """Write ``card`` last: a folder with a card is complete."""
    text = card.model_dump_json(indent=2) + "\n"
    (folder / filename).write_text(text, encoding="utf-8")


def read_card(folder: Path, filename: str, card_type: type[CardT], *, made_by: str) -> CardT:
    """Read and check an artefact: its card, its version, all its files, their hashes.

    Args:
        folder: the artefact.
        filename: of the card.
        card_type: its type; its ``format`` default is the one version understood.
        made_by: the command that makes such a folder, for messages.

    Raises:
        ArtifactError: no such folder or card, another version, or files that are missing (all
            listed) or changed (all listed).
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such folder; make it with {made_by}")
    path = folder / filename
    if not path.is_file():
        raise ArtifactError(f"{folder}: holds no {filename}; expected a folder made by {made_by}")
    try:
        card = card_type.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}"
            for fault in error.errors(include_url=False)[:5]
        )
        raise ArtifactError(
            f"{path}: not a card that this version reads ({faults}); make it again with {made_by}"
        ) from None
    _check_files(folder, card, made_by)
    return card


def _check_files(folder: Path, card: Card, made_by: str) -> None:
    missing = [name for name in card.files if not (folder / name).is_file()]
    if missing:
        raise ArtifactError(
            f"{folder}: is missing {len(missing)} of {len(card.files)} files: "
            f"{', '.join(missing)}; copy the whole folder, or make it again with {made_by}"
        )
    changed = [name for name, digest in card.files.items() if sha256_of(folder / name) != digest]
    if changed:
        raise ArtifactError(
            f"{folder}: changed since it was made: {', '.join(changed)}; copy it again, or make it "
            f"again with {made_by}"
        )
