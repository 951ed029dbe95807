"""API keys: a file of their digests, and what a key looks like."""

import hashlib
import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from ocr_pipeline.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_LINE = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})")
_MOST_KEYS = 10_000
_MOST_BYTES = 2 * 1024 * 1024
_LOOK_EVERY_S = 1.0
_KEY_BYTES = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """An API key, without the key itself.

    Attributes:
        name: of whoever has it; two keys may have one name while one replaces the other.
        digest: sha256 of the key, hex. A key is 32 random bytes, so no slow hash is needed.
    """

    name: str
    digest: str


def new_key(name: str) -> tuple[str, str]:
    """Make a random key.

    Returns:
        The key, and its line for the keys file.

    Raises:
        ConfigError: the name has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"key name {name!r}: 1 to 64 letters, digits, '.', '_' and '-' are allowed"
        )
    key = f"ocr_{secrets.token_urlsafe(_KEY_BYTES)}"
    return key, f"{name}:{_digest(key)}"


def read_keys(path: Path) -> list[Key]:
    """Read a keys file: lines ``name:sha256-hex``; empty ones and those after ``#`` do not count.

    Raises:
        ConfigError: it cannot be read, a line has another form, or there is no key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"keys file {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"keys file {path}: not UTF-8 (byte {error.start})") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"keys file {path}: has more than {_MOST_BYTES:,} bytes")
    keys, wrong = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        match = _LINE.fullmatch(stripped)
        if match:
            keys.append(Key(match[1], match[2]))
        elif stripped and not stripped.startswith("#"):
            wrong.append(number)
    if wrong or not 1 <= len(keys) <= _MOST_KEYS:
        fault = f"line {wrong[0]} is no 'name:sha256-hex'" if wrong else f"has {len(keys)} keys"
        raise ConfigError(
            f"keys file {path}: {fault}; allowed: 1 to {_MOST_KEYS:,} lines as "
            "`ocr-pipeline key NAME` prints them"
        )
    return keys


class KeyRing:
    """The keys of a file that is read anew when it changes; a broken one changes nothing.

    Args:
        path: the file.

    Raises:
        ConfigError: see :func:`read_keys`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._keys = read_keys(path)
        self._looked = time.monotonic()

    def name_of(self, presented: str) -> str | None:
        """Name of the key; None: there is no such key. Takes the same time whichever it is."""
        self._look()
        digest = _digest(presented)
        name = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                name = key.name
        return name

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = read_keys(self._path)
        except ConfigError as error:
            _log.error("%s; the keys before it stay valid", error)
        else:
            _log.info("keys file %s: %d keys are valid now", self._path, len(self._keys))

    def _stamp(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8")).hexdigest()
