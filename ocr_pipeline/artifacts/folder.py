"""How every artefact is written (whole or not at all) and read (checked, all faults at once)."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
CardT = TypeVar("CardT", bound=Card)


def check_target(target: Path, *, replace: bool) -> None:
    """Say before long work that its result could not be written.

    Raises:
        ArtifactError: ``target`` exists and ``replace`` is false, or it is no artefact of ours.
    """
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
def staged(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes ``target`` when the block ends well.

    On an error nothing is left behind, and an existing ``target`` stays as it was.

    Raises:
        ArtifactError: ``target`` exists and ``replace`` is false, or the folder cannot be made.
    """
    check_target(target, replace=replace)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    except OSError as error:
        raise ArtifactError(f"{target}: cannot write there ({error.strerror})") from None
    try:
        yield scratch
        scratch.chmod(0o755)
        _swap_in(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _swap_in(scratch: Path, target: Path) -> None:
    if not target.exists():
        scratch.replace(target)
        return
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
    target.replace(aside / target.name)
    scratch.replace(target)
    shutil.rmtree(aside)


def hash_files(folder: Path) -> dict[str, str]:
    """Return relative path to sha256 of every file below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


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
