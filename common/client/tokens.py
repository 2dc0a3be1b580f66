"""The local token file: who may use the gateway, by the digests of their tokens."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from common.files import write_atomically
from common.names import check_person
from common.settings import Settings, SettingsError


class Scope(StrEnum):
    """What a token allows. `operator` includes the others, for every owner's agents."""

    READ = "agents:read"
    WRITE = "agents:write"
    DECIDE = "decisions:write"
    OPERATOR = "operator"


class TokenEntry(BaseModel, frozen=True):
    """The subject of a token, an opaque id, and what the token allows."""

    subject: Annotated[str, AfterValidator(check_person)]
    scopes: frozenset[Scope]


_ENTRIES = TypeAdapter(dict[str, TokenEntry])


class TokenFile:
    """`tokens.json` in the data folder maps SHA-256 digests to entries; it may change at any time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._read: tuple[int, int] | None = None
        self._entries: dict[str, TokenEntry] = {}

    @classmethod
    def of(cls, settings: Settings) -> TokenFile:
        """The token file in the data folder; it need not exist."""
        return cls(settings.data_dir / "tokens.json")

    def find(self, token: str) -> TokenEntry | None:
        """The entry of a token; None if the file has none.

        Raises:
            SettingsError: the file is not valid, or others than its owner may read it.
        """
        return self.entry(digest_of(token))

    def entry(self, digest: str) -> TokenEntry | None:
        """The entry of the token with that digest; raises as ``find`` does."""
        self._refresh()
        return self._entries.get(digest)

    def add(self, subject: str, scopes: Sequence[Scope], token: str = "") -> str:
        """Add ``token`` (a new one if empty) for ``subject`` and return it."""
        self._refresh()
        token = token or secrets.token_urlsafe(32)
        entries = {**self._entries, digest_of(token): TokenEntry(subject=subject, scopes=frozenset(scopes))}
        self._write(entries)
        return token

    def revoke(self, subject: str) -> int:
        """Drop all tokens of ``subject``, and return how many there were."""
        self._refresh()
        kept = {digest: entry for digest, entry in self._entries.items() if entry.subject != subject}
        if revoked := len(self._entries) - len(kept):
            self._write(kept)
        return revoked

    def _write(self, entries: dict[str, TokenEntry]) -> None:
        write_atomically(self.file, to_json(entries, indent=2) + b"\n")

    def _refresh(self) -> None:
        try:
            with self.file.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_mode & 0o077:
                    raise SettingsError(f"{self.file} can be read by others; `chmod 600` it.")
                if self._read != (status.st_mtime_ns, status.st_ino):
                    self._entries = _ENTRIES.validate_json(file.read())
                    self._read = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            self._entries, self._read = {}, None
        except (OSError, ValidationError):
            raise SettingsError(
                f"{self.file} cannot be read as tokens; move it away for a new one."
            ) from None


def digest_of(token: str) -> str:
    """The digest by which the file knows a token; with 256 random bits, a token needs no salt."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def operator_token(settings: Settings) -> str:
    """The embedded stack's operator token, from `operator.token` in the data folder; created if missing.

    Raises:
        SettingsError: the token file is not valid.
    """
    tokens, kept = TokenFile.of(settings), settings.data_dir / "operator.token"
    token = kept.read_text().strip() if kept.exists() else ""
    if not token:
        token = secrets.token_urlsafe(32)
        write_atomically(kept, token.encode() + b"\n")
    if tokens.find(token) != TokenEntry(subject=settings.user, scopes=frozenset({Scope.OPERATOR})):
        tokens.add(settings.user, [Scope.OPERATOR], token)
    return token
