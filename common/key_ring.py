"""Rings of named keys: from a setting, or from a file that may gain keys while processes run."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from common.files import write_atomically
from common.settings import SettingsError

KEY_BYTES = 32


class KeyRing:
    """Named secrets. The first encrypts and signs; all of them decrypt and verify.

    Args:
        text: the setting's value, `id:hex,id:hex`; if empty, `file` is read.
        file: a file with such a list; read again when an unknown key is asked for.
        variable: the setting's name, for errors.

    Raises:
        SettingsError: the keys cannot be read.
    """

    def __init__(self, text: str, file: Path, variable: str) -> None:
        self._text, self._file, self._variable = text, file, variable
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, bytes] = {}
        self._load()

    @classmethod
    def of(cls, keys: dict[str, bytes]) -> KeyRing:
        """A ring of the given keys, which never changes."""
        text = ",".join(f"{id}:{secret.hex()}" for id, secret in keys.items())
        return cls(text, Path(os.devnull), "keys")

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def first(self) -> str:
        """The id of the key that encrypts and signs.

        Raises:
            LookupError: the ring is empty.
        """
        if not self._keys:
            raise LookupError(f"{self._variable}: there is no key")
        return next(iter(self._keys))

    def find(self, id: str) -> bytes | None:
        """The secret of the key ``id``; None if the ring, read again, has none."""
        if id not in self._keys and not self._text:
            self._load()
        return self._keys.get(id)

    def _load(self) -> None:
        if self._text:
            self._keys = parse_keys(self._text, self._variable)
            return
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        # Payloads with invented key ids must not make this process parse the file every time.
        if stamp != self._stamp:
            self._keys = parse_keys(self._file.read_text(), str(self._file))
            self._stamp = stamp


def parse_keys(text: str, source: str) -> dict[str, bytes]:
    """Secrets by key id, in the order of ``text``, which is `id:hex,id:hex` or one entry a line.

    Raises:
        SettingsError: an entry has no id, a repeated id, no hexadecimal secret, or one under 32 bytes.
    """
    keys: dict[str, bytes] = {}
    for entry in filter(None, (each.strip() for each in text.replace("\n", ",").split(","))):
        id, _, value = entry.partition(":")
        if not id or id in keys:
            raise SettingsError(f"{source}: each key needs an id of its own, as `id:hex`.")
        try:
            keys[id] = bytes.fromhex(value)
        except ValueError:
            raise SettingsError(f"{source}: key {id!r} is not hexadecimal.") from None
        if len(keys[id]) < KEY_BYTES:
            raise SettingsError(f"{source}: key {id!r} is under {KEY_BYTES} bytes.")
    return keys


def rotate(file: Path) -> str:
    """Put a new key at the front of ``file``, which need not exist, and return its id.

    The older keys stay, so that what they encrypted or signed remains valid. Running processes read the file
    again when they meet the new id. It is replaced atomically, and only its owner may read it.

    Raises:
        SettingsError: the file holds something other than keys.
    """
    keys = parse_keys(file.read_text(), str(file)) if file.exists() else {}
    id = f"k{len(keys) + 1}-{secrets.token_hex(4)}"
    lines = [f"{id}:{secrets.token_hex(KEY_BYTES)}", *(f"{old}:{keys[old].hex()}" for old in keys)]
    write_atomically(file, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
    return id
