"""API keys: who may come in, from a file that may change while we run.

The file holds a JSON object per line: id, SHA-256 of the key, tenant, principals, scopes.  A key has 256 random bits,
so its hash cannot be guessed back and needs no slow function (docs/adr/0016).  A changed file counts within a second;
one that cannot be read is complained of, and the keys that were read last hold on.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from runtime.logs import logger
from runtime.settings import SettingsError
from topics.identity import DEFAULT_TENANT

Scope: TypeAlias = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
LOOK_SECONDS = 1.0
_KEY = re.compile(rf"freshet_({KEY_ID.pattern})_[0-9a-f]{{64}}")
_log = logger("gateway.keys")


class Key(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the file.  The key itself is nowhere: ``sha256`` is all that is kept."""

    id: str
    sha256: str
    scopes: list[Scope]
    tenant: str = DEFAULT_TENANT
    principals: list[str] = []
    created: datetime
    expires: datetime | None = None
    note: str | None = None

    def expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now


def mint(key_id: str) -> str:
    """A new key; its id can be read from it."""
    return f"freshet_{key_id}_{secrets.token_hex(32)}"


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(text: bytes, tenants: frozenset[str] | None = None) -> dict[str, Key]:
    """The keys of a file by id; ValueError names the line that is wrong.  Tenants are checked where they are given."""
    found: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            key = msgspec.json.decode(line, type=Key)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"line {number}: {error}") from None
        if wrong := _wrong(key, tenants):
            raise ValueError(f"line {number}: {wrong}")
        if key.id in found:
            raise ValueError(f"line {number}: a second key {key.id}")
        found[key.id] = key
    return found


def _wrong(key: Key, tenants: frozenset[str] | None) -> str | None:
    if not KEY_ID.fullmatch(key.id):
        return "an id has up to 40 of a-z, 0-9 and -"
    if not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
        return "sha256 is not 64 hexadecimal digits"
    if any(moment is not None and moment.tzinfo is None for moment in (key.created, key.expires)):
        return "a time says no zone: end it with Z"
    if tenants is not None and key.tenant not in tenants:
        return f"tenant {key.tenant!r} is not in FRESHET_TENANTS"
    return None


def write_keys(keys: Iterable[Key]) -> bytes:
    """As :func:`read_keys` reads them."""
    return b"".join(msgspec.json.encode(key) + b"\n" for key in keys)


class KeyRing:
    """The keys of one file, as it is now."""

    def __init__(self, path: Path, tenants: frozenset[str]) -> None:
        self._path, self._tenants = path, tenants
        try:
            self._seen, self._keys = self._read()
        except (OSError, ValueError) as error:
            raise SettingsError(f"FRESHET_API_KEYS_FILE={path}: {_plain(error)}") from None
        self._looked, self._wrong = time.monotonic(), ""

    def find(self, text: str) -> Key | None:
        """The key that this is, if it is one and has not expired."""
        self._look()
        shape = _KEY.fullmatch(text)
        key = self._keys.get(shape[1]) if shape else None
        # An unknown id takes as long as a known one.
        same = hmac.compare_digest(digest(text), key.sha256 if key else "0" * 64)
        return key if same and key and not key.expired(datetime.now(UTC)) else None

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            if self._stamp() == self._seen:
                return
            self._seen, self._keys = self._read()
            self._wrong = ""
            _log.info("API keys read", keys=len(self._keys))
        except (OSError, ValueError) as error:
            if _plain(error) != self._wrong:
                self._wrong = _plain(error)
                _log.error("API keys cannot be read: those before still hold", file=str(self._path), why=self._wrong)

    def _read(self) -> tuple[tuple[int, int, int], dict[str, Key]]:
        seen = self._stamp()  # before reading: a change in between is seen next time
        return seen, read_keys(self._path.read_bytes(), self._tenants)

    def _stamp(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


def _plain(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
