"""API keys: who asks, and what they may do. Kept in a file as hashes: whoever reads it cannot ask. Knows no HTTP.

A line for each key: its name, its rights with commas between, the SHA-256 of the key. Keys are 256 random bits, so that
a fast hash is as good as a slow one: nothing shorter than the key can be guessed from it.
"""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from app.errors import ConfigurationError

logger = logging.getLogger("percept")

PREDICT, ADMIN = "predict", "admin"
RIGHTS = (PREDICT, ADMIN)
PREFIX, RANDOM_BYTES = "percept_", 32
NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}")
# A key that was taken out of the file is refused after so long.
LOOK_SECONDS = 1.0


class Key(NamedTuple):
    name: str
    rights: frozenset[str]
    digest: bytes


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def line_of(name: str, rights: Collection[str], key: str) -> str:
    """What the file has of it. Raises ConfigurationError for a name or a right that cannot be."""
    line = f"{name} {','.join(sorted(rights))} {digest_of(key.encode()).hex()}"
    read_keys(line, "the new key")
    return line


def read_keys(text: str, where: str) -> tuple[Key, ...]:
    """Raises ConfigurationError that names the line."""
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        fault = _fault_of(words, keys)
        if fault:
            raise ConfigurationError(f"{where}, line {number}: {fault}; `percept key` writes such lines")
        name, rights, digest = words
        keys[name] = Key(name, frozenset(rights.split(",")), bytes.fromhex(digest))
    return tuple(keys.values())


def _fault_of(words: list[str], known: Collection[str]) -> str:
    if len(words) != 3:
        return f"it has {len(words)} words; a key has three: name, rights, SHA-256"
    name, rights, digest = words
    if not NAME.fullmatch(name):
        return f"{name!r} is no name; allowed are 1 to 64 letters, digits, '.', '_', '@' and '-'"
    if name in known:
        return f"there is a key {name!r} already"
    unknown = sorted(set(rights.split(",")) - set(RIGHTS))
    if unknown:
        return f"{unknown[0]!r} is no right; allowed: {', '.join(RIGHTS)}"
    return "" if DIGEST.fullmatch(digest) else "the third word is no SHA-256, 64 digits 0 to f"


def digest_of(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class KeyFile:
    """The keys of a file, read again when it changes. A file that cannot be read any more changes nothing."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError."""
        self._path = path
        self._seen = _state_of(path)
        self._keys = self._read()
        self._look = time.monotonic() + LOOK_SECONDS

    def find(self, key: bytes) -> Key | None:
        """Compared with all, each in constant time, so that how long it takes says nothing."""
        self._follow()
        digest, found = digest_of(key), None
        for each in self._keys:
            if hmac.compare_digest(each.digest, digest):
                found = each
        return found

    def _read(self) -> tuple[Key, ...]:
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigurationError(f"PERCEPT_KEYS={self._path}: {reason}") from error
        return read_keys(text, f"PERCEPT_KEYS={self._path}")

    def _follow(self) -> None:
        now = time.monotonic()
        if now < self._look:
            return
        self._look = now + LOOK_SECONDS
        seen = _state_of(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = self._read()
        except ConfigurationError as error:
            logger.warning("the keys stay as they were: %s", error.detail)
        else:
            logger.info("%d keys read again", len(self._keys))


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """Different when the file is, also if an editor has put another one in its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
